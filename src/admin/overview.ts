import type { RevocationCounters } from '../revocation/counters.js'
import type { Clock } from '../shared/clock.js'
import { reused } from '../shared/reused.js'
import type { Activity } from './activity.js'
import type { CacheFigures } from './cache-figures.js'
import type { AdminStore } from './store.js'

/** Pages ask every few seconds: counts are reused for this long, and for longer where they take the database long. */
const freshMs = 2_000
const share = 0.05

interface OverviewDependencies {
  store: Pick<AdminStore, 'users' | 'sessions' | 'tokens'>
  activity: Activity
  cache: CacheFigures
  counters: Pick<RevocationCounters, 'settlements' | 'settleMsMax' | 'trustLosses'>
  clock: Clock
}

/**
 * What a page for administrators shows. A count that takes the database longer than two seconds is null. Figures of the cache and of
 * settlements are this instance's own, since it started.
 */
export type Overview = ReturnType<typeof createOverview>

export function createOverview ({ store, activity, cache, counters, clock }: OverviewDependencies) {
  const startedAt = new Date(clock.now()).toISOString()
  const rows = reused(countRows, clock, { freshMs, share })

  async function countRows () {
    const now = new Date(clock.now())
    const users = await store.users()
    const sessions = await store.sessions(now)
    const tokens = await store.tokens(now)
    return {
      users,
      sessions,
      tokens: tokens === null
        ? null
        : Object.fromEntries(tokens.map(({ kind, active, expired, revoked }) => [kind, { active, expired, revoked }]))
    }
  }

  return async (hours: number) => {
    const series = await activity(hours)
    const { state, trusted, hitRatio, lookUps, answered, keys, memoryBytes, openSettlements, overdueSettlements } = await cache()
    return {
      at: new Date(clock.now()).toISOString(),
      hours: series,
      ...await rows(),
      cache: { state, trusted, hitRatio, lookUps, answered, trustLosses: counters.trustLosses, keys, memoryBytes },
      settlements: {
        pending: openSettlements,
        overdue: overdueSettlements,
        done: counters.settlements,
        longestSeconds: Math.round(counters.settleMsMax) / 1000
      },
      instance: { startedAt }
    }
  }
}
