import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import type { AnyPrincipal } from '../tokens/principal.js'
import type { TokenHash } from '../tokens/token.js'
import { type CacheBackend, type Identity, RefusedCommandError } from './backend.js'
import type { Bypass, CacheCounters } from './counters.js'
import { createEntryParser, type EntryParser, newLease } from './entry.js'
import { createFill, type HeldLease, revokedMs } from './fill.js'
import type { Cacheable, Found } from './found.js'
import type { CacheTrust, Trust } from './trust.js'

/** Long enough to read the database; a slower reader fills nothing. */
const leaseMs = 2_000
/** After a refused command was logged, further ones aren't for this long. */
const refusalLogPauseMs = 10_000

/**
 * What the cache says about a hash. `database`: ask the database; where `fill` is given, pass its answer on, for this reader holds the
 * lease and nobody else will fill.
 */
export type CacheAnswer<Value extends Cacheable> =
  | { verdict: 'accept', value: Value }
  | { verdict: 'refuse' }
  | { verdict: 'database', fill: ((found: Found<Value>) => void) | null }

/**
 * Values by the hash that names them: one round trip on a hit. A key holds `L<nonce>` (a lease: somebody reads the database and may fill),
 * `V<generation>|<json>` (an entry) or `R` (revoked, final).
 */
export interface Cache<Value extends Cacheable> {
  read (hash: TokenHash): Promise<CacheAnswer<Value>>
  /**
   * For a token about to be issued: takes its lease before the COMMIT and returns the function that fills it; null without a lease.
   * A lease taken after the COMMIT could follow a revocation that has already passed this key.
   */
  prepare (hash: TokenHash): Promise<((value: Value) => void) | null>
  /** Makes every reader of this server refuse these hashes, or forget them; returns who answered. Rejects unless all of it was done. */
  overwrite (hashes: TokenHash[], mark: 'revoked' | 'forgotten'): Promise<Identity>
}

/** Cached tokens, each with its principal. */
export type TokenCache = Cache<AnyPrincipal>

export interface CacheNeeds {
  backend: CacheBackend
  epoch: CacheTrust
  clock: Clock
  counters: CacheCounters
  log: Pick<Log, 'warn'>
  cacheTtlSeconds: number
}

export const createTokenCache = (needs: CacheNeeds): TokenCache => createCache({ ...needs, parse: createEntryParser() })

export function createCache<Value extends Cacheable> (
  { backend, epoch, clock, counters, log, cacheTtlSeconds, parse }: CacheNeeds & { parse: EntryParser<Value> }
): Cache<Value> {
  const fill = createFill({ backend, clock, counters, cacheTtlSeconds, onError: noteFailure })
  let refusalLoggedAt = Number.NEGATIVE_INFINITY
  const keyOf = (hash: TokenHash) => `token:${hash.hex()}`

  async function read (hash: TokenHash): Promise<CacheAnswer<Value>> {
    // Captured BEFORE the database is read: an entry filled later carries the generation that its reader knew.
    const before = epoch.trust()
    if (before === null) return bypass('untrusted')
    const key = keyOf(hash)
    try {
      const value = await backend.get(key)
      if (value !== null) return interpret(key, value, before)
      const lease = newLease()
      const since = await backend.takeLease(key, lease, leaseMs)
      return since === null ? miss({ key, value: lease, trust: before }) : interpret(key, since, before)
    } catch (error) {
      return failed(error)
    }
  }

  function interpret (key: string, value: string, before: Trust): CacheAnswer<Value> | Promise<CacheAnswer<Value>> {
    // Another connection may lead to another server: what was read here proves nothing there.
    if (backend.connection !== before.connection) return bypass('moved')
    if (value === 'R') {
      counters.refusals++
      return { verdict: 'refuse' }
    }
    switch (value[0]) {
      case 'V': return readEntry(key, value, before)
      case 'L': return bypass('leased')
      default: return bypass('unreadable')
    }
  }

  function readEntry (key: string, value: string, before: Trust): CacheAnswer<Value> | Promise<CacheAnswer<Value>> {
    const bar = value.indexOf('|')
    const generation = Number(value.slice(1, bar))
    if (bar < 2 || !Number.isSafeInteger(generation)) return bypass('unreadable')
    // Its writer has polled more recently than we have: overwriting it would undo what they know.
    if (generation > before.generation) return bypass('newer')
    // Written before the last bump: it may be a revoked token's.
    if (generation < before.generation) return replace(key, value, before)
    const found = parse(key, value.slice(bar + 1))
    if (found === null || found.expiresAtMs <= clock.now()) return bypass('unreadable')
    // The reply took its time, and a revocation waits only for readers who believed their poll when they accepted.
    if (!epoch.still(before)) return bypass('moved')
    // Idle as far as this entry knows; the database knows of later uses.
    if (found.idleAtMs !== undefined && found.idleAtMs <= clock.now()) return replace(key, value, before)
    counters.hits++
    return { verdict: 'accept', value: found }
  }

  /** Turns an entry into our lease, if it is still there. */
  async function replace (key: string, entry: string, before: Trust): Promise<CacheAnswer<Value>> {
    const lease = newLease()
    try {
      return await backend.compareAndSet(key, entry, lease, leaseMs) ? miss({ key, value: lease, trust: before }) : bypass('leased')
    } catch (error) {
      return failed(error)
    }
  }

  function miss (lease: HeldLease): CacheAnswer<Value> {
    if (backend.connection !== lease.trust.connection) return bypass('moved')
    counters.misses++
    return { verdict: 'database', fill: found => { void fill(lease, found) } }
  }

  function bypass (why: Bypass): CacheAnswer<Value> {
    counters.bypasses[why]++
    return { verdict: 'database', fill: null }
  }

  function failed (error: unknown): CacheAnswer<Value> {
    noteFailure(error)
    return bypass('failed')
  }

  function noteFailure (error: unknown): void {
    if (!(error instanceof RefusedCommandError)) {
      epoch.suspect(error)
      return
    }
    // A full server refuses every write: one line stands for all.
    if (clock.monotonic() - refusalLoggedAt < refusalLogPauseMs) return
    refusalLoggedAt = clock.monotonic()
    log.warn({ cause: describe(error) }, 'the cache refused a command')
  }

  return {
    read,

    async prepare (hash) {
      const trust = epoch.trust()
      if (trust === null) return null
      const lease = { key: keyOf(hash), value: newLease(), trust }
      try {
        if (await backend.takeLease(lease.key, lease.value, leaseMs) !== null) return null
      } catch (error) {
        noteFailure(error)
        return null
      }
      return value => { void fill(lease, { state: 'live', value }) }
    },

    overwrite: (hashes, mark) => backend.overwrite(hashes.map(keyOf), mark === 'revoked' ? revokedMs : null)
  }
}
