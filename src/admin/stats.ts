import type { Clock } from '../shared/clock.js'
import { reused } from '../shared/reused.js'
import type { CacheFigures } from './cache-figures.js'
import type { AdminStore } from './store.js'

/** A count is reused for this long, so that frequent requests cost the database no more than one. */
const freshMs = 10_000
const reuseDays = 30
const dayMs = 86_400_000

interface TokenStatsDependencies {
  store: Pick<AdminStore, 'users' | 'tokens' | 'sessions' | 'reuses' | 'estimatedTokens'>
  cache: CacheFigures
  clock: Clock
}

/**
 * Statistics for operators. A count that takes the database longer than two seconds is null and `exact` is false; `total` is then
 * PostgreSQL's estimate. Cache hits are counted by this process since its start.
 */
export type TokenStats = ReturnType<typeof createTokenStats>

export function createTokenStats ({ store, cache, clock }: TokenStatsDependencies) {
  const rows = reused(countRows, clock, { freshMs })

  async function countRows () {
    const now = new Date(clock.now())
    const byKind = await store.tokens(now)
    const sessions = await store.sessions(now)
    const users = await store.users()
    const reuses = await store.reuses(new Date(now.getTime() - reuseDays * dayMs))
    const sum = (field: 'active' | 'expired' | 'revoked') => byKind === null ? null : byKind.reduce((total, line) => total + line[field], 0)
    const [active, expired, revoked] = [sum('active'), sum('expired'), sum('revoked')]
    const exact = active !== null && expired !== null && revoked !== null
    const unused = byKind?.find(({ kind }) => kind === 'personal')?.neverUsed ?? 0
    return {
      exact: exact && sessions !== null && users !== null && reuses !== null,
      total: exact ? active + expired + revoked : await store.estimatedTokens(),
      active,
      expired,
      revoked,
      neverUsed: byKind === null || sessions === null ? null : unused + sessions.neverUsed,
      byKind: byKind === null
        ? null
        : Object.fromEntries(byKind.map(({ kind, active, expired, revoked }) => [kind, { active, expired, revoked }])),
      sessions,
      users,
      refreshTokenReuses: reuses
    }
  }

  return async () => ({ database: await rows(), cache: await cache() })
}
