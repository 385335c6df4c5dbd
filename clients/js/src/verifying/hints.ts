import { after, now } from '../platform.js'
import { uncached } from './introspection.js'
import { httpUrl } from './presented.js'
import { type Answer, isAnswer } from './principal.js'

/** Past an outage each check would wait for it. */
const pauseMs = 1_000

/** Where the server writes hints: its UPSTASH_REDIS_REST_URL, with a token that may only read. */
export interface UpstashOptions {
  url: string
  token: string
  /** The server's REDIS_KEY_PREFIX; `lk:` unless given. */
  keyPrefix?: string | undefined
  /** How long a hint is waited for, in milliseconds, before Latchkey is asked; 500 unless given. */
  timeoutMs?: number | undefined
}

/** What was said of a token, and until when it counts, in milliseconds since 1970. Null: ask. */
export type Hint = { answer: Answer, until: number } | null

/** The hint for the token with this SHA-256; null where there is none, and where Upstash doesn't answer. */
export type ReadHint = (hash: string) => Promise<Hint>

interface Reader { mget (...keys: string[]): Promise<unknown> }

/** Reads hints by the package `@upstash/redis`, loaded with the first check. Throws TypeError for bad options; reading, where it is missing. */
export function createHintReader ({ url, token, keyPrefix = 'lk:', timeoutMs = 500 }: UpstashOptions): ReadHint {
  const { origin, pathname } = httpUrl('upstash.url', url)
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw new TypeError('upstash.token must be the token of the REST API')
  if (!(timeoutMs > 0)) throw new TypeError('upstash.timeoutMs must be a number of milliseconds')
  let reader: Promise<Reader> | null = null
  let pausedUntil = 0

  async function open (): Promise<Reader> {
    const { Redis } = await load()
    // A signal that isn't made anew makes every read after the first time-out resolve with null, as if no key were there.
    const signal = () => {
      const abort = new AbortController()
      after(timeoutMs, () => abort.abort())
      return abort.signal
    }
    // Workers may not share a request between those that they answer, so nothing is pipelined. `retry: false` would send twice.
    return new Redis({
      url: origin + pathname.replace(/\/+$/, ''),
      token,
      signal,
      retry: { retries: 0 },
      automaticDeserialization: false,
      enableAutoPipelining: false,
      enableTelemetry: false,
      readYourWrites: false,
      keepAlive: false
    })
  }

  return async hash => {
    if (now() < pausedUntil) return null
    const redis = await (reader ??= open())
    try {
      const values = await redis.mget(`${keyPrefix}hint:${hash}`, `${keyPrefix}hints:pause`)
      if (!Array.isArray(values) || values.length !== 2) throw new Error('another answer')
      return values[1] === null ? read(values[0], hash) : null
    } catch {
      pausedUntil = now() + pauseMs
      return null
    }
  }
}

/** Bundlers leave it out where it isn't installed, because it stands in a `try`. */
async function load (): Promise<{ Redis: new (options: object) => Reader }> {
  try {
    // The entry for all runtimes says `cache: 'no-store'`, which older workers refuse.
    if (uncached().cache === undefined) return await import('@upstash/redis/cloudflare') as never
    return await import('@upstash/redis') as never
  } catch (error) {
    throw new TypeError('upstash needs the package @upstash/redis', { cause: error })
  }
}

function read (value: unknown, hash: string): Hint {
  if (value === 'ended') return { answer: { active: false }, until: 0 }
  const { hash: of, until, answer } = parse(value)
  // Keys end by Upstash's clock; this is the server's.
  if (of !== hash || typeof until !== 'number' || until <= Date.now() || !isAnswer(answer) || !answer.active) return null
  return { answer, until }
}

function parse (value: unknown): { hash?: unknown, until?: unknown, answer?: unknown } {
  try {
    return Object(JSON.parse(String(value))) as ReturnType<typeof parse>
  } catch {
    return {}
  }
}
