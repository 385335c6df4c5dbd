import type { Clock } from '../shared/clock.js'
import type { CacheBackend } from './backend.js'
import type { CacheCounters } from './counters.js'
import type { Cacheable, Found } from './found.js'
import type { Trust } from './trust.js'

/** Readers refuse a revoked token without asking the database for this long. */
export const revokedMs = 60_000

/** A lease that we hold: `value` stands at `key`, and `trust` was captured before the database was read. */
export interface HeldLease { key: string, value: string, trust: Trust }

interface Needs {
  backend: CacheBackend
  clock: Clock
  counters: CacheCounters
  cacheTtlSeconds: number
  onError (error: unknown): void
}

/** Replaces our lease by what the database said. If the lease is gone, a revocation or an eviction came first, and nothing is written. */
export type Fill = (lease: HeldLease, found: Found<Cacheable>) => Promise<void>

export function createFill ({ backend, clock, counters, cacheTtlSeconds, onError }: Needs): Fill {
  /** Up to a tenth less than CACHE_TTL, so that entries made together don't end together. */
  const longestMs = () => cacheTtlSeconds * 1000 * (1 - Math.random() * 0.1)

  async function write ({ key, value, trust }: HeldLease, found: Found<Cacheable>): Promise<void> {
    if (found.state !== 'live') {
      await backend.compareAndSet(key, value, 'R', revokedMs)
      return
    }
    const ttlMs = Math.floor(Math.min(longestMs(), found.value.expiresAtMs - clock.now()))
    if (ttlMs <= 0) return
    if (await backend.compareAndSet(key, value, `V${trust.generation}|${JSON.stringify(found.value)}`, ttlMs)) counters.fills++
  }

  return async (lease, found) => {
    if (backend.connection !== lease.trust.connection || found.state === 'disabled' || found.state === 'over') return
    await write(lease, found).catch(onError)
  }
}
