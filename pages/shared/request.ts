import type { AuthError } from 'latchkey-client'
import { client } from './session.js'
import { base } from './settings.js'

/** What a route of the API answers, for those that the client has no call for; nothing is thrown. `path` is like `v1/events`. */
export async function send<T> (
  method: string,
  path: string,
  body?: object
): Promise<{ data: T, error: null } | { data: null, error: AuthError }> {
  try {
    const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    const reply = await client.fetch(base + path, { method, ...json })
    const text = await reply.text()
    const data = (reply.status === 204 || text === '' ? null : JSON.parse(text)) as T
    if (reply.ok) return { data, error: null }
    const retryAfter = Number.parseInt(reply.headers.get('retry-after') ?? '', 10)
    const waiting = retryAfter >= 0 ? { retryAfterSeconds: retryAfter } : {}
    return { data: null, error: { ...data as AuthError, status: reply.status, ...waiting } }
  } catch (error) {
    return { data: null, error: { code: 'NETWORK', status: 0, message: String(error) } }
  }
}
