import { after } from '../platform.js'
import { httpUrl } from './presented.js'
import { type Answer, isAnswer } from './principal.js'
import { UnavailableError } from './unavailable.js'

/** Longer than the server takes for an answer that is still worth having. */
const timeoutMs = 5_000

/** Where Latchkey answers, and a service token with the ability `introspect` (`npm run services:create`). */
export interface IntrospectionOptions {
  url: string
  token: string
  fetch?: typeof globalThis.fetch | undefined
}

/** What Latchkey says about this token now. Throws UnavailableError. */
export type Introspect = (token: string) => Promise<Answer>

/**
 * Asks Latchkey by one POST a token: workers may not share an answer between requests. Nothing is kept, so a revoked token is refused as
 * strictly as by the server itself. Throws TypeError for bad options.
 */
export function createIntrospection ({ url, token: service, fetch = globalThis.fetch }: IntrospectionOptions): Introspect {
  const { origin, pathname } = httpUrl('url', url)
  const address = `${origin}${pathname.replace(/\/+$/, '')}/v1/introspections`
  if (!/^lkp_[0-9A-Za-z]{50}$/.test(service)) throw new TypeError('token must be a service token: lkp_…')
  const headers = { authorization: `Bearer ${service}`, 'content-type': 'application/json', accept: 'application/json' }
  // A redirect is no answer. Workers refuse `redirect: 'error'`, and some would carry the service token to another host.
  const init = { method: 'POST', headers, redirect: 'manual' as const, ...uncached() }

  async function post (body: string): Promise<{ status: number, text: string, retryAfter: string | null }> {
    const abort = new AbortController()
    const stop = after(timeoutMs, () => abort.abort())
    const send = () => fetch(address, { ...init, body, signal: abort.signal })
    try {
      // A kept connection may have been closed by the server just now; asking changes nothing, so it is asked once more.
      const reply = await send().catch(error => abort.signal.aborted ? Promise.reject(error) : send())
      return { status: reply.status, text: await reply.text(), retryAfter: reply.headers.get('retry-after') }
    } catch (error) {
      throw new UnavailableError('no answer', 1, error)
    } finally {
      stop()
    }
  }

  return async token => {
    const { status, text, retryAfter } = await post(JSON.stringify({ tokens: [token] }))
    if (status !== 200) throw new UnavailableError(`HTTP ${status}`, Number(retryAfter ?? 1))
    const { results } = parse(text)
    if (!Array.isArray(results) || results.length !== 1 || !isAnswer(results[0])) throw new UnavailableError('another answer')
    return results[0]
  }
}

/** Next.js before 15 may keep what `fetch` gives, unless told not to; older workers throw for being told anything. */
export function uncached (): { cache?: 'no-store' } {
  const said = { method: 'POST', cache: 'no-store' as const }
  try {
    new Request('https://localhost/', said)
    return { cache: said.cache }
  } catch {
    return {}
  }
}

function parse (text: string): { results?: unknown } {
  try {
    return Object(JSON.parse(text)) as { results?: unknown }
  } catch (error) {
    throw new UnavailableError('no JSON', 1, error)
  }
}
