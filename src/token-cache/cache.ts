import type { Log } from '../observability/logger.js'
import type { CacheEpoch, Trust } from '../revocation/epoch.js'
import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import type { Found } from '../tokens/lookup-store.js'
import type { AnyPrincipal, Principal } from '../tokens/principal.js'
import type { TokenHash } from '../tokens/token.js'
import { type CacheLink, type Identity, RefusedCommandError } from './backend.js'
import type { Bypass, Counters } from './counters.js'
import { createReader, newLease } from './entry.js'

/** Long enough to read the database; a reader that is slower than this fills nothing. */
const leaseMs = 2_000
/** A revoked token is refused without I/O on the database for so long. */
const revokedMs = 60_000

/**
 * What the cache says of a token. `database`: the database has to be asked; and where `fill` is given, told what it answered: this reader
 * holds the lease, and nobody else will fill.
 */
export type Reading =
  | { verdict: 'accept', principal: AnyPrincipal }
  | { verdict: 'refuse' }
  | { verdict: 'database', fill: ((found: Found) => void) | null }

/** So long the next refusals of single commands go without a line in the log. */
const refusalGapMs = 10_000

export interface CacheParts {
  link: CacheLink
  epoch: Pick<CacheEpoch, 'trust' | 'still' | 'suspect'>
  clock: Clock
  counters: Counters
  log: Pick<Log, 'warn'>
  keyPrefix: string
  cacheTtlSeconds: number
}

/**
 * Leases and entries: one round trip on a hit. A key holds `L<nonce>` (a lease: somebody reads the database and may fill),
 * `V<generation>|<json>` (an entry) or `R` (revoked: final).
 */
export type TokenCache = ReturnType<typeof createTokenCache>

export function createTokenCache ({ link, epoch, clock, counters, log, keyPrefix, cacheTtlSeconds }: CacheParts) {
  const known = createReader()
  let refusedAt = Number.NEGATIVE_INFINITY
  const keyOf = (hash: TokenHash) => `${keyPrefix}token:${hash.hex()}`

  async function read (hash: TokenHash): Promise<Reading> {
    // Captured BEFORE the database is read: an entry filled later says which generation its reader knew.
    const before = epoch.trust()
    if (before === null) return bypass('untrusted')
    const key = keyOf(hash)
    try {
      const there = await link.look(key)
      if (there !== null) return judge(key, there, before)
      const lease = newLease()
      const since = await link.takeLease(key, lease, leaseMs)
      return since === null ? miss(key, lease, before) : judge(key, since, before)
    } catch (error) {
      return failed(error)
    }
  }

  /** What is at `key`, once it is something. */
  function judge (key: string, there: string, before: Trust): Reading | Promise<Reading> {
    // Another connection may lead to another server: what was read here proves nothing there.
    if (link.connection !== before.connection) return bypass('moved')
    if (there === 'R') {
      counters.refusals++
      return { verdict: 'refuse' }
    }
    switch (there[0]) {
      case 'V': return readEntry(key, there, before)
      case 'L': return bypass('leased')
      default: return bypass('unreadable')
    }
  }

  function readEntry (key: string, there: string, before: Trust): Reading | Promise<Reading> {
    const bar = there.indexOf('|')
    const generation = Number(there.slice(1, bar))
    if (bar < 2 || !Number.isSafeInteger(generation)) return bypass('unreadable')
    // Its writer has polled later than we have: overwriting it would undo what it knows.
    if (generation > before.generation) return bypass('newer')
    // Written before the last bump, so it may be a revoked token's.
    if (generation < before.generation) return replace(key, there, before)
    const principal = known.read(key, there.slice(bar + 1))
    if (principal === null || principal.expiresAtMs <= clock.now()) return bypass('unreadable')
    // The reply took its time, and a revocation only waits for readers who believed their poll when they accepted.
    if (!epoch.still(before)) return bypass('moved')
    // Idle, as far as this entry knows: the database knows of uses since.
    if (principal.idleAtMs !== undefined && principal.idleAtMs <= clock.now()) return replace(key, there, before)
    counters.hits++
    return { verdict: 'accept', principal }
  }

  /** Turns an entry into our lease, where it still stands. */
  async function replace (key: string, there: string, before: Trust): Promise<Reading> {
    const lease = newLease()
    try {
      return await link.compareAndSet(key, there, lease, leaseMs) ? miss(key, lease, before) : bypass('leased')
    } catch (error) {
      return failed(error)
    }
  }

  function miss (key: string, lease: string, before: Trust): Reading {
    if (link.connection !== before.connection) return bypass('moved')
    counters.misses++
    return { verdict: 'database', fill: found => { void fill(key, lease, before, found) } }
  }

  /** Only where our lease still stands: a revocation has replaced it by `R`, an eviction or its end has removed it. */
  async function fill (key: string, lease: string, before: Trust, found: Found): Promise<void> {
    if (link.connection !== before.connection || found.state === 'disabled' || found.state === 'over') return
    try {
      if (found.state !== 'live') {
        await link.compareAndSet(key, lease, 'R', revokedMs)
        return
      }
      // Up to a tenth less, so that entries made together don't end together.
      const longestMs = cacheTtlSeconds * 1000 * (1 - Math.random() * 0.1)
      const ttlMs = Math.floor(Math.min(longestMs, found.principal.expiresAtMs - clock.now()))
      if (ttlMs <= 0) return
      if (await link.compareAndSet(key, lease, `V${before.generation}|${JSON.stringify(found.principal)}`, ttlMs)) counters.fills++
    } catch (error) {
      note(error)
    }
  }

  function bypass (why: Bypass): Reading {
    counters.bypasses[why]++
    return { verdict: 'database', fill: null }
  }

  function failed (error: unknown): Reading {
    note(error)
    return bypass('failed')
  }

  function note (error: unknown): void {
    if (!(error instanceof RefusedCommandError)) {
      epoch.suspect(error)
      return
    }
    // A server that is full refuses each write: one line stands for all.
    if (clock.monotonic() - refusedAt < refusalGapMs) return
    refusedAt = clock.monotonic()
    log.warn({ cause: describe(error) }, 'the cache refused a command')
  }

  return {
    read,

    /**
     * For a token about to be issued: takes its lease, before the COMMIT that makes it known, and returns its fill; null without a lease.
     * Taken after the COMMIT it could follow a revocation that has already passed this key.
     */
    async prepare (hash: TokenHash): Promise<((principal: Principal) => void) | null> {
      const before = epoch.trust()
      if (before === null) return null
      const key = keyOf(hash)
      const lease = newLease()
      try {
        if (await link.takeLease(key, lease, leaseMs) !== null) return null
      } catch (error) {
        note(error)
        return null
      }
      return principal => { void fill(key, lease, before, { state: 'live', principal }) }
    },

    /** Makes every reader of this server refuse these tokens, or forget them; returns who answered. Rejects unless all of it was done. */
    async overwrite (hashes: TokenHash[], mark: 'revoked' | 'forgotten'): Promise<Identity> {
      return await link.overwrite(hashes.map(keyOf), mark === 'revoked' ? revokedMs : null)
    }
  }
}
