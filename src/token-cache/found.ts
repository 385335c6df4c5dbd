/** What a cache entry can stand for: it says itself until when it may be believed. */
export interface Cacheable {
  /** Milliseconds since 1970; the largest safe integer for no end. */
  expiresAtMs: number
  /** When its session ends for lack of use, as far as its last use was known; absent without SESSION_IDLE_TTL. */
  idleAtMs?: number
}

/**
 * What the database says. Only `revoked` is final for every instance: clocks differ about `over`, and a disabled user may be enabled again.
 */
export type Found<Value extends Cacheable> = { state: 'live', value: Value }
  | { state: 'revoked' }
  | { state: 'over' }
  | { state: 'disabled' }
  | { state: 'unknown' }
