import type { CacheEpoch } from '../revocation/epoch.js'
import type { Clock } from '../shared/clock.js'
import type { CacheCounters } from '../token-cache/counters.js'
import type { AdminStore } from './store.js'

/** How full a cache is. For Redis: all keys of the logical database and the memory of the whole server, other programs' included. */
export interface CacheSize { keys: number, memoryBytes: number | null }

/** A count is reused for this long, so that frequent requests cost the database no more than one. */
const freshMs = 10_000
const reuseDays = 30
const dayMs = 86_400_000

interface TokenStatsDependencies {
  store: Pick<AdminStore, 'tokens' | 'sessions' | 'reuses' | 'estimatedTokens' | 'epoch'>
  counters: CacheCounters
  epoch: Pick<CacheEpoch, 'state'>
  /** Null where there is no cache; rejects when it doesn't answer. */
  measure: (() => Promise<CacheSize>) | null
  clock: Clock
}

/**
 * Statistics for operators. A count that takes the database longer than two seconds is null and `exact` is false; `total` is then
 * PostgreSQL's estimate. Cache hits are counted by this process since its start.
 */
export type TokenStats = ReturnType<typeof createTokenStats>

export function createTokenStats ({ store, counters, epoch, measure, clock }: TokenStatsDependencies) {
  let counted: { at: number, rows: ReturnType<typeof countRows> } | null = null

  /** Shares a count that is under way or fresh. */
  function rows (): ReturnType<typeof countRows> {
    if (counted === null || clock.monotonic() - counted.at >= freshMs) {
      const current = { at: clock.monotonic(), rows: countRows() }
      counted = current
      current.rows.catch(() => { if (counted === current) counted = null })
    }
    return counted.rows
  }

  async function countRows () {
    const now = new Date(clock.now())
    const byKind = await store.tokens(now)
    const sessions = await store.sessions(now)
    const reuses = await store.reuses(new Date(now.getTime() - reuseDays * dayMs))
    const sum = (field: 'active' | 'expired' | 'revoked') => byKind === null ? null : byKind.reduce((total, line) => total + line[field], 0)
    const [active, expired, revoked] = [sum('active'), sum('expired'), sum('revoked')]
    const exact = active !== null && expired !== null && revoked !== null
    const unused = byKind?.find(({ kind }) => kind === 'personal')?.neverUsed ?? 0
    return {
      exact: exact && sessions !== null && reuses !== null,
      total: exact ? active + expired + revoked : await store.estimatedTokens(),
      active,
      expired,
      revoked,
      neverUsed: byKind === null || sessions === null ? null : unused + sessions.neverUsed,
      byKind: byKind === null
        ? null
        : Object.fromEntries(byKind.map(({ kind, active, expired, revoked }) => [kind, { active, expired, revoked }])),
      sessions,
      refreshTokenReuses: reuses
    }
  }

  async function describeCache () {
    const { generation, incarnation, settlements } = await store.epoch()
    const size = measure === null ? null : await measure().catch(() => null)
    const { hits, refusals, misses, bypasses } = counters
    const lookUps = hits + refusals + misses + Object.values(bypasses).reduce((sum, each) => sum + each, 0)
    const state = epoch.state()
    return {
      state,
      trusted: state === 'trusted',
      generation,
      registered: incarnation !== null,
      openSettlements: settlements,
      hitRatio: lookUps === 0 ? null : Math.round((hits + refusals) / lookUps * 10_000) / 10_000,
      lookUps,
      keys: size?.keys ?? null,
      memoryBytes: size?.memoryBytes ?? null
    }
  }

  return async () => ({ database: await rows(), cache: await describeCache() })
}
