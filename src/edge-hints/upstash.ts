import { Redis } from '@upstash/redis'
import type { Hint } from './hint.js'

/** What became of one hint: null for written, `kept` where another one was there, else the first word of the server's refusal. */
export type Written = null | 'kept' | { refusal: string }

/** Writes these hints in one request. Rejects with WriteError unless each was answered. */
export type WriteHints = (hints: Hint[], now: number) => Promise<Written[]>

/** Why a request was not answered: a word or two, without what was sent. */
export class WriteError extends Error {
  override name = 'WriteError'
  constructor (readonly code: string) { super('the hints were not written') }
}

const timeoutMs = 2_000

/** Upstash's REST, or what speaks it. One request a call, without repeating. */
export function createUpstash ({ url, token }: { url: string, token: string }): WriteHints {
  const redis = new Redis({
    url,
    token,
    // `false` would send twice.
    retry: { retries: 0 },
    // A signal that isn't made anew for each request would have every later one resolve, too, as if it had succeeded.
    signal: () => AbortSignal.timeout(timeoutMs),
    automaticDeserialization: false,
    enableTelemetry: false,
    readYourWrites: false,
    // What `fetch` calls so limits a body to 64 KB; connections are kept all the same.
    keepAlive: false
  })

  return async (hints, now) => {
    const pipeline = redis.pipeline()
    for (const { key, value, until, live } of hints) pipeline.set(key, value, live ? { nx: true, px: until - now } : { px: until - now })
    const replies: unknown = await pipeline.exec({ keepErrors: true }).catch(error => { throw new WriteError(nameOf(error)) })
    if (!Array.isArray(replies) || replies.length !== hints.length) throw new WriteError('another answer')
    return replies.map(({ result, error }: { result?: unknown, error?: unknown }, i) => {
      if (error !== undefined) return { refusal: firstWord(error) }
      if (result === 'OK') return null
      return result === null && hints[i]?.live === true ? 'kept' : { refusal: 'another answer' }
    })
  }
}

/** Messages of Upstash's client contain the commands, and so hashes and addresses of users. */
function nameOf (error: unknown): string {
  const { name, message, cause } = error as { name?: string, message?: unknown, cause?: { code?: unknown } }
  if (name === 'UpstashError') return `refused: ${firstWord(message)}`
  return typeof cause?.code === 'string' ? cause.code : String(name)
}

/** Like WRONGPASS or NOPERM. */
function firstWord (text: unknown): string {
  return /^[A-Za-z]{2,32}/.exec(String(text))?.[0] ?? 'unknown'
}
