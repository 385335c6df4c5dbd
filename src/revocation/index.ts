import type { Database } from '../database/database.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { traced } from '../shared/traced.js'
import { type CacheBackend, noBackend } from '../token-cache/backend.js'
import { type Cache, createCache, createTokenCache, type TokenCache } from '../token-cache/cache.js'
import type { CacheCounters } from '../token-cache/counters.js'
import type { EntryParser } from '../token-cache/entry.js'
import type { Cacheable } from '../token-cache/found.js'
import { createNamespace, inNamespace } from '../token-cache/namespace.js'
import type { RevocationCounters } from './counters.js'
import { type CacheEpoch, createEpoch } from './epoch.js'
import { createRevocation, type Revocation } from './revocation.js'
import { type Copies, createSettle, type Settle } from './settle.js'
import { createEpochStore, type EpochStore } from './store.js'

/** What is read by the protocol. */
export interface Reading {
  epoch: CacheEpoch
  cache: TokenCache
  /**
   * The same cache for values of another kind, under hashes that no token has: the same leases, generations and settlements hold for them.
   * `parse` must refuse what `cache` would accept.
   */
  cacheOf<Value extends Cacheable> (parse: EntryParser<Value>, counters: CacheCounters): Cache<Value>
}

/** One instance's part in the revocation protocol. */
export interface Protocol extends Reading {
  settle: Settle
  revocation: Revocation
  /** Settles every revocation under way, then ends the poll. */
  stop (): Promise<void>
}

interface ReadingNeeds {
  database: Database
  backend: CacheBackend
  clock: Clock
  counters: CacheCounters & RevocationCounters
  log: Pick<Log, 'info' | 'warn'>
  keyPrefix: string
  cacheTtlSeconds: number
}

interface ProtocolNeeds extends ReadingNeeds {
  log: Log
  /** Null: nobody reads elsewhere. */
  copies?: Copies | null
  /** Tests break it. */
  wrapSettle (real: Settle): Settle
  spans: {
    cache<Value extends Cacheable> (real: Cache<Value>): Cache<Value>
    settle (real: Settle): Settle
    revocation (real: Revocation): Revocation
  } | null
}

/** The epoch, the cache that trusts it, and the revocations that are settled in every cache before they are answered. */
export async function createProtocol ({ wrapSettle, spans, log, copies = null, ...rest }: ProtocolNeeds): Promise<Protocol> {
  const needs = { ...rest, log }
  const { database, clock, counters } = needs
  const store = createEpochStore(database)
  const reading = await createReading(needs, store, { registry: store, onSettlementsWaiting: () => { void settle.assist() } })
  const { epoch, backend } = reading
  const inSpans = <Value extends Cacheable>(real: Cache<Value>) => spans === null ? real : spans.cache(real)
  const cache = inSpans(reading.cache)
  const settle: Settle = traced(wrapSettle(createSettle({ store, cache, backend, epoch, clock, counters, copies })), spans?.settle)
  const revocation = traced(createRevocation({ transactions: database, store, settle, log }), spans?.revocation)
  return {
    epoch,
    cache,
    cacheOf: (parse, counters) => inSpans(reading.cacheOf(parse, counters)),
    settle,
    revocation,
    async stop () {
      await revocation.drain()
      await epoch.stop()
      await store.close()
    }
  }
}

/** The part of an instance that only reads: it registers no server, settles nothing and bumps nothing. */
export async function createObserver (needs: ReadingNeeds): Promise<Reading & Pick<Protocol, 'stop'>> {
  const store = createEpochStore(needs.database)
  const reading = await createReading(needs, store, { registry: null, onSettlementsWaiting () {} })
  return {
    ...reading,
    async stop () {
      await reading.epoch.stop()
      await store.close()
    }
  }
}

/** What every instance reads by; `registry` and `onSettlementsWaiting` are its part in what is written. */
async function createReading (
  { backend: server, clock, counters, log, keyPrefix, cacheTtlSeconds }: ReadingNeeds,
  store: EpochStore,
  part: { registry: EpochStore | null, onSettlementsWaiting (): void }
): Promise<Reading & { backend: CacheBackend }> {
  const namespace = createNamespace(keyPrefix)
  // An instance that can't ask takes no part in the cache of a copy until its first poll.
  if (server !== noBackend) await store.identify(part.registry !== null).then(namespace.adopt, () => {})
  const backend = server === noBackend ? noBackend : inNamespace(server, namespace)
  const epoch = createEpoch({ store, backend, namespace, clock, counters, log, ...part })
  const common = { backend, epoch, clock, log, cacheTtlSeconds }
  return {
    backend,
    epoch,
    cache: createTokenCache({ ...common, counters }),
    cacheOf: (parse, counters) => createCache({ ...common, counters, parse })
  }
}
