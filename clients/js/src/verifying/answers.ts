import { now } from '../platform.js'
import { createHintReader, type UpstashOptions } from './hints.js'
import { createIntrospection, type IntrospectionOptions } from './introspection.js'
import { createMemory } from './memory.js'
import type { Answer } from './principal.js'
import { UnavailableError } from './unavailable.js'

/** Where answers come from. With `url` and `token` alone each is Latchkey's own, and strict. */
export interface AnswerOptions extends IntrospectionOptions {
  /**
   * Reads what the server wrote to Upstash, and asks the server only where that says nothing. Revoked tokens may be accepted for up to
   * the server's EDGE_TTL. Needs the package `@upstash/redis`.
   */
  upstash?: UpstashOptions | undefined
  /** How long, in seconds, an answer counts while neither Upstash nor Latchkey gives one: the server's EDGE_TTL at most. 0: not at all. */
  memorySeconds?: number | undefined
}

/** What is known of a token: a hint, else what Latchkey says, else what is remembered. Throws UnavailableError. */
export function createAnswers ({ upstash, memorySeconds = 0, ...options }: AnswerOptions): (token: string) => Promise<Answer> {
  const introspect = createIntrospection(options)
  if (!(memorySeconds >= 0 && memorySeconds <= 300)) throw new TypeError('memorySeconds must be from 0 to 300')
  const readHint = upstash === undefined ? null : createHintReader(upstash)
  const memory = memorySeconds === 0 ? null : createMemory()
  if (readHint === null && memory === null) return introspect
  const memoryMs = memorySeconds * 1000

  return async token => {
    const hash = await sha256(token)
    const hint = await readHint?.(hash) ?? null
    if (hint !== null) {
      memory?.keep(hash, hint.answer, now() + (hint.answer.active ? Math.min(hint.until - Date.now(), memoryMs) : memoryMs))
      return hint.answer
    }
    const askedAt = now()
    try {
      const answer = await introspect(token)
      memory?.keep(hash, answer, askedAt + memoryMs)
      return answer
    } catch (error) {
      const known = error instanceof UnavailableError ? memory?.recall(hash) ?? null : null
      if (known === null || isOver(known)) throw error
      return known
    }
  }
}

function isOver (answer: Answer): boolean {
  return !answer.active || (answer.exp !== undefined && answer.exp * 1000 <= Date.now())
}

async function sha256 (text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, '0')).join('')
}
