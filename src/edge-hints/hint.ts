import type { TokenHash } from '../tokens/token.js'

/** Longer than any write can be under way: a hint that a token has ended outlives every hint that it was live. */
const marginMs = 10_000

/** One key to write. A hint of a live token takes no other's place: the one that is there may say that the token has ended. */
export interface Hint {
  key: string
  value: string
  /** When it is over, in milliseconds since 1970 by this server's clock. */
  until: number
  /** Whether it says that a token is live. */
  live: boolean
}

/**
 * The keys and values that edges read; clients/js/src/verifying/hints.ts is their reader. `ended`: the token is dead. `ask`: what was said
 * of it has changed. Else JSON: what introspection said of the token with this `hash`, and `until` when that counts.
 */
export function createHints ({ keyPrefix, ttlMs }: { keyPrefix: string, ttlMs: number }) {
  const keyOf = (hash: TokenHash) => `${keyPrefix}hint:${hash.hex()}`

  return {
    keyOf,
    live (hash: TokenHash, answer: object, until: number): Hint {
      return { key: keyOf(hash), value: JSON.stringify({ hash: hash.hex(), until, answer }), until, live: true }
    },
    ended: (hash: TokenHash, now: number): Hint => ({ key: keyOf(hash), value: 'ended', until: now + ttlMs + marginMs, live: false }),
    changed: (hash: TokenHash, now: number): Hint => ({ key: keyOf(hash), value: 'ask', until: now + ttlMs + marginMs, live: false }),
    /** While it is there, no hint counts: more tokens have ended than can be named. */
    pause: (now: number): Hint => ({ key: `${keyPrefix}hints:pause`, value: 'ask', until: now + ttlMs + marginMs, live: false })
  }
}
