import { after, platform } from './platform.js'
import type { AuthError, Result } from './types.js'

interface Parts { url: string, byCookie: boolean, fetch: typeof globalThis.fetch }

export type Transport = ReturnType<typeof createTransport>

/** How long Latchkey may take for what the client asks by itself. */
const timeoutMs = 10_000

/** Requests to Latchkey that carry no access token, and the reading of replies. */
export function createTransport ({ url, byCookie, fetch }: Parts) {
  /** Ends in a slash. Late, because a server that renders pages has no location, and sends nothing. */
  const base = () => new URL(url.replace(/\/*$/, '/'), platform.location?.href)
  const addressOf = (path: string) => `${base()}v1/${path}`
  const credentials = byCookie ? { credentials: 'include' as const } : {}

  return {
    base,
    /** Of a route, whose `path` is what stands behind /v1/. */
    addressOf,
    credentials,

    /** A request and what came of it. One that is not answered in time counts as not answered. */
    async send<T> (method: string, path: string, body?: object): Promise<Result<T>> {
      const abort = new AbortController()
      const stop = after(timeoutMs, () => abort.abort())
      try {
        return await readReply<T>(fetch(addressOf(path), { method, ...credentials, ...jsonOf(body), signal: abort.signal }))
      } finally {
        stop()
      }
    }
  }
}

/** The parts of a request that has `body` as JSON; none without one. */
export function jsonOf (body: object | undefined) {
  return body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
}

/** What a reply says. Data is null for 204 and for 202, which promise nothing. */
export async function readReply<T> (pending: Promise<Response>): Promise<Result<T>> {
  let reply: Response
  let text: string
  try {
    reply = await pending
    text = await reply.text()
  } catch (error) {
    return refuse('NETWORK', String(error))
  }
  const { status, ok } = reply
  if (ok && (status === 204 || status === 202)) return { data: null as T, error: null }
  const body = parse(text)
  if (ok) return body === null
    ? refuse('UNEXPECTED_REPLY', 'Not an answer of Latchkey: is the url right?', status)
    : { data: body as T, error: null }
  return { data: null, error: errorOf(reply, body) }
}

export const refuse = (
  code: string,
  message: string,
  status = 0
): { data: null, error: AuthError } => ({ data: null, error: { code, status, message } })

/** The refusal in a reply. What stands between, such as a proxy, may have answered in words of its own. */
export function errorOf ({ status, statusText, headers }: Response, body: Partial<AuthError> | null): AuthError {
  const { code, message = statusText, field, reason, challenge, factors } = body ?? {}
  // A date, or nothing, is no number of seconds.
  const retryAfterSeconds = Number.parseInt(headers.get('retry-after') ?? '', 10)
  // By way of JSON, which leaves out what is undefined.
  return JSON.parse(JSON.stringify({
    code: typeof code === 'string' ? code : status >= 500 ? 'AUTH_UNAVAILABLE' : status === 429 ? 'AUTH_RATE_LIMITED' : 'UNEXPECTED_REPLY',
    status,
    message,
    field,
    reason,
    challenge,
    factors,
    retryAfterSeconds: retryAfterSeconds >= 0 ? retryAfterSeconds : undefined
  } satisfies { [name in keyof AuthError]: unknown }))
}

/** A JSON object, or null. */
export function parse (text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' ? value as Record<string, unknown> | null : null
  } catch {
    return null
  }
}
