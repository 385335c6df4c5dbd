import type { Clock } from '../shared/clock.js'
import type { TokenReader } from '../tokens/service.js'
import type { SessionStore } from './store.js'

/** Answers remembered, and questions put to the database in a second: a flood of refused tokens must not reach it. */
const mostRemembered = 1_000
const questionsPerSecond = 20

/**
 * Whether the refused token `candidate` belongs to a session that a login past SESSION_LIMIT ended. False when that is not known: for
 * anything that isn't a token of ours, past a few questions a second, and when the database doesn't answer.
 */
export type IsReplaced = (candidate: string) => Promise<boolean>

interface ReplacedDependencies {
  store: Pick<SessionStore, 'isTokenReplaced'>
  tokens: Pick<TokenReader, 'parse'>
  clock: Clock
}

export function createIsReplaced ({ store, tokens, clock }: ReplacedDependencies): IsReplaced {
  const known = new Map<string, boolean>()
  let second = Number.NEGATIVE_INFINITY
  let asked = 0

  function mayAsk (): boolean {
    const now = Math.floor(clock.monotonic() / 1000)
    if (now !== second) [second, asked] = [now, 0]
    return ++asked <= questionsPerSecond
  }

  return async candidate => {
    const hash = tokens.parse(candidate)?.hash()
    if (hash === undefined) return false
    const answer = known.get(hash.hex())
    if (answer !== undefined) return answer
    if (!mayAsk()) return false
    try {
      const replaced = await store.isTokenReplaced(hash)
      if (known.size >= mostRemembered) known.clear()
      known.set(hash.hex(), replaced)
      return replaced
    } catch {
      return false
    }
  }
}
