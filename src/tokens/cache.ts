import { randomFillSync } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import type { Bypass, Counters } from './counters.js'
import type { CacheEpoch, Trust } from './epoch.js'
import { type CacheLink, type Identity, RefusedCommandError } from './link.js'
import { type AnyPrincipal, isPrincipal, type Principal } from './principal.js'
import type { Found } from './store.js'
import type { TokenHash } from './token.js'

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

export interface CacheParts {
  link: CacheLink
  epoch: Pick<CacheEpoch, 'trust' | 'still' | 'suspect'>
  clock: Clock
  counters: Counters
  keyPrefix: string
  cacheTtlSeconds: number
}

/**
 * Leases and entries: one round trip on a hit. A key holds `L<nonce>` (a lease: somebody reads the database and may fill),
 * `V<generation>|<json>` (an entry) or `R` (revoked: final).
 */
export type TokenCache = ReturnType<typeof createTokenCache>

export function createTokenCache ({ link, epoch, clock, counters, keyPrefix, cacheTtlSeconds }: CacheParts) {
  const known = createReader()
  const keyOf = (hash: TokenHash) => `${keyPrefix}token:${hash.hex()}`

  async function read (hash: TokenHash): Promise<Reading> {
    // Captured BEFORE the database is read: an entry filled later says which generation its reader knew.
    const before = epoch.trust()
    if (before === null) return bypass('untrusted')
    const key = keyOf(hash)
    const lease = newLease()
    let there: string | null
    try {
      there = await link.takeLease(key, lease, leaseMs)
    } catch (error) {
      return failed(error)
    }
    // Another connection may lead to another server: what was read here proves nothing there.
    if (link.connection !== before.connection) return bypass('moved')
    if (there === null) return miss(key, lease, before)
    if (there === 'R') {
      counters.refusals++
      return { verdict: 'refuse' }
    }
    switch (there[0]) {
      case 'V': return readEntry(key, there, lease, before)
      case 'L': return bypass('leased')
      default: return bypass('unreadable')
    }
  }

  function readEntry (key: string, there: string, lease: string, before: Trust): Reading | Promise<Reading> {
    const bar = there.indexOf('|')
    const generation = Number(there.slice(1, bar))
    if (bar < 2 || !Number.isSafeInteger(generation)) return bypass('unreadable')
    // Its writer has polled later than we have: overwriting it would undo what it knows.
    if (generation > before.generation) return bypass('newer')
    // Written before the last bump, so it may be a revoked token's.
    if (generation < before.generation) return replace(key, there, lease, before)
    const principal = known.read(key, there.slice(bar + 1))
    if (principal === null || principal.expiresAtMs <= clock.now()) return bypass('unreadable')
    // The reply took its time, and a revocation only waits for readers who believed their poll when they accepted.
    if (!epoch.still(before)) return bypass('moved')
    // Idle, as far as this entry knows: the database knows of uses since.
    if (principal.idleAtMs !== undefined && principal.idleAtMs <= clock.now()) return replace(key, there, lease, before)
    counters.hits++
    return { verdict: 'accept', principal }
  }

  /** Turns an entry into our lease, where it still stands. */
  async function replace (key: string, there: string, lease: string, before: Trust): Promise<Reading> {
    try {
      return await link.compareAndSet(key, there, lease, leaseMs) ? miss(key, lease, before) : bypass('leased')
    } catch (error) {
      return failed(error)
    }
  }

  function miss (key: string, lease: string, before: Trust): Reading {
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
    if (!(error instanceof RefusedCommandError)) epoch.suspect()
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

const nonceBytes = 12
const random = Buffer.alloc(nonceBytes * 512)
let used = random.length

/** 96 random bits: nobody else's compare-and-set matches it. They are drawn many at a time, as each call of the system costs. */
function newLease (): string {
  if (used === random.length) {
    randomFillSync(random)
    used = 0
  }
  used += nonceBytes
  return `L${random.toString('base64url', used - nonceBytes, used)}`
}

/** So many entries are remembered as they were last read. */
const remembered = 10_000

/**
 * Reads entries: an entry that is the same text as at the last look-up is the same principal, which costs a comparison in place of parsing and
 * checking it. What is remembered is what a text means, never whether it counts: that is the cache's to say, each time.
 */
function createReader () {
  const last = new LRUCache<string, { json: string, principal: AnyPrincipal }>({ max: remembered })
  return {
    read (key: string, json: string): AnyPrincipal | null {
      const same = last.get(key)
      if (same?.json === json) return same.principal
      const principal = parseEntry(json)
      if (principal !== null) last.set(key, { json, principal })
      return principal
    }
  }
}

/** Null for whatever isn't an entry of ours, in whole: the database will know. */
function parseEntry (json: string): AnyPrincipal | null {
  try {
    const entry: unknown = JSON.parse(json)
    return isPrincipal(entry) ? frozen(entry) : null
  } catch {
    return null
  }
}

/** Several requests have it in their hands. */
function frozen (principal: AnyPrincipal): AnyPrincipal {
  Object.freeze(principal.token.abilities)
  for (const part of [principal.token, principal.session, principal.user]) Object.freeze(part)
  return Object.freeze(principal)
}
