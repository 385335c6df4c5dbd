import type { Limit } from '../config/values.js'
import { type CounterStorage, consume, createCounter } from '../redis/counter.js'

/** Far more than an app with many tabs needs, and few enough for a session's rows of a week to be deleted in time. */
const refreshesPerMinute = 120

/** Limits how often a session's refresh tokens are exchanged. */
export interface RefreshLimiter {
  /** Counts one exchange in the session; throws RateLimitedError past the limit. */
  consume (sessionId: string): Promise<void>
}

export function createRefreshLimiter (storage: CounterStorage): RefreshLimiter {
  const counter = createCounter({ points: refreshesPerMinute, seconds: 60 }, 'refresh', { ...storage, final: true })
  return { consume: sessionId => consume(counter, sessionId) }
}

/**
 * Limits what is written in a session: each write is a transaction, and most are a settlement. Writes that share `name` share a count.
 * `admit` counts one and throws RateLimitedError past the limit; null is none.
 */
export function createWriteLimiter (limit: Limit | null, name: 'session-data' | 'write', storage: CounterStorage) {
  if (limit === null) return { async admit (_sessionId: string): Promise<void> {} }
  const counter = createCounter(limit, name, { ...storage, final: true })
  return { admit: (sessionId: string): Promise<void> => consume(counter, sessionId) }
}
