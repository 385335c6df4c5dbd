import type { Limit } from '../config/values.js'
import { type CounterStorage, consume, createCounter } from '../redis/counter.js'
import type { WriteLimiter } from './service.js'

/** SESSION_DATA_LIMIT: each write is a transaction and a settlement. Null: no limit. */
export function createWriteLimiter (limit: Limit | null, storage: CounterStorage): WriteLimiter {
  if (limit === null) return { async admit () {} }
  const counter = createCounter(limit, 'session-data', { ...storage, final: true })
  return { admit: sessionId => consume(counter, sessionId) }
}
