import { now } from '../platform.js'
import type { Answer } from './principal.js'

/** Each is a principal; the oldest go first. */
const most = 1_000

/** Answers of before, for while nobody can say. Times are those of `now()`. */
export interface Memory {
  /** Remembers an answer until then. A token that was found dead isn't live again by an answer that took longer. */
  keep (hash: string, answer: Answer, until: number): void
  /** The live answer that still counts, or null. */
  recall (hash: string): Answer | null
}

export function createMemory (): Memory {
  const kept = new Map<string, { answer: Answer, until: number }>()

  return {
    keep (hash, answer, until) {
      const before = kept.get(hash)
      const isOlder = before !== undefined && before.until > now() && (!before.answer.active || before.until > until)
      if (isOlder && answer.active) return
      kept.delete(hash)
      kept.set(hash, { answer, until })
      const [oldest] = kept.keys()
      if (kept.size > most && oldest !== undefined) kept.delete(oldest)
    },
    recall (hash) {
      const found = kept.get(hash)
      return found === undefined || found.until <= now() || !found.answer.active ? null : found.answer
    }
  }
}
