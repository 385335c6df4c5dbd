import type { Database } from '../database/database.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { traced } from '../shared/traced.js'
import { type CacheBackend, noBackend } from '../token-cache/backend.js'
import { createTokenCache, type TokenCache } from '../token-cache/cache.js'
import type { CacheCounters } from '../token-cache/counters.js'
import { createNamespace, inNamespace } from '../token-cache/namespace.js'
import type { RevocationCounters } from './counters.js'
import { type CacheEpoch, createEpoch } from './epoch.js'
import { createRevocation, type Revocation } from './revocation.js'
import { createSettle, type Settle } from './settle.js'
import { createEpochStore } from './store.js'

/** One instance's part in the revocation protocol. */
export interface Protocol {
  epoch: CacheEpoch
  cache: TokenCache
  settle: Settle
  revocation: Revocation
  /** Settles every revocation under way, then ends the poll. */
  stop (): Promise<void>
}

interface ProtocolNeeds {
  database: Database
  backend: CacheBackend
  clock: Clock
  counters: CacheCounters & RevocationCounters
  log: Log
  keyPrefix: string
  cacheTtlSeconds: number
  /** Tests break it. */
  wrapSettle (real: Settle): Settle
  spans: { cache (real: TokenCache): TokenCache, settle (real: Settle): Settle, revocation (real: Revocation): Revocation } | null
}

/** The epoch, the cache that trusts it, and the revocations that are settled in every cache before they are answered. */
export async function createProtocol ({
  database,
  backend: server,
  clock,
  counters,
  log,
  keyPrefix,
  cacheTtlSeconds,
  wrapSettle,
  spans
}: ProtocolNeeds): Promise<Protocol> {
  const store = createEpochStore(database)
  const namespace = createNamespace(keyPrefix)
  // An instance that can't ask takes no part in the cache of a copy until its first poll.
  if (server !== noBackend) await store.identify().then(namespace.adopt, () => {})
  const backend = server === noBackend ? noBackend : inNamespace(server, namespace)
  const epoch = createEpoch({ store, backend, namespace, clock, counters, log, onSettlementsWaiting: () => { void settle.assist() } })
  const cache = traced(createTokenCache({ backend, epoch, clock, counters, log, cacheTtlSeconds }), spans?.cache)
  const settle: Settle = traced(wrapSettle(createSettle({ store, cache, backend, epoch, clock, counters })), spans?.settle)
  const revocation = traced(createRevocation({ transactions: database, store, settle, log }), spans?.revocation)
  return {
    epoch,
    cache,
    settle,
    revocation,
    async stop () {
      await revocation.drain()
      await epoch.stop()
      await store.close()
    }
  }
}
