import { ConfigError } from '../config/config.js'
import { batchPerTurn } from '../token-cache/batch.js'
import { unavailable } from './unavailable.js'
import type { IntrospectedPrincipal, Source, VerifierStats } from './verifier.js'

/** Longer than the server takes for an answer that is still worth having. */
const timeoutMs = 5_000
/** What `POST /v1/introspections` takes at once. */
const maxTokens = 100
/** What our tokens look like: anything else is refused without asking. */
const shape = /^lkp?_[0-9A-Za-z]{50}$/

/** Where Latchkey answers, and a service token with the ability `introspect` (`npm run services:create`). */
export interface RemoteOptions { url: string, token: string }

/** What `GET /v1/session/data` answers to tokens of which `find` would say null, and to those without a session. */
const refusals = /^AUTH_(INVALID_TOKEN|SESSION_REPLACED|SESSION_REQUIRED)$/

/** What the server says about one token: RFC 7662 2.2. */
type Answer = { active: false } | {
  active: true
  sub: string
  scope: string
  iat: number
  exp?: number
  sid?: string
  amr?: string[]
  acr?: string | null
  email_verified?: boolean
  username?: string
}

/**
 * Asks Latchkey over HTTP: all look-ups of an event-loop turn in one request, on a kept connection. No answer is kept, so a revoked token
 * is refused as strictly as by the server itself. Throws ConfigError.
 */
export function createRemote ({ url, token }: RemoteOptions): Source<IntrospectedPrincipal> {
  const address = addressOf(url)
  if (!/^lkp_[0-9A-Za-z]{50}$/.test(token)) throw new ConfigError('The token of a verifier must be a service token: lkp_…')
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json' }
  const stats: VerifierStats = { verified: 0, hits: 0, asked: 0, cache: null }
  const ending = new AbortController()

  const lookUp = batchPerTurn<Answer>(async tokens => {
    const distinct = [...new Set(tokens)]
    const parts: string[][] = []
    for (let from = 0; from < distinct.length; from += maxTokens) parts.push(distinct.slice(from, from + maxTokens))
    const answers = (await Promise.all(parts.map(ask))).flat()
    const byToken = new Map(distinct.map((one, i) => [one, answers[i] as Answer]))
    return tokens.map(one => byToken.get(one) as Answer)
  })

  async function ask (tokens: string[]): Promise<Answer[]> {
    const reply = await send('introspections', { method: 'POST', headers, body: JSON.stringify({ tokens }) })
    if (reply.status !== 200) {
      void reply.body?.cancel().catch(() => {})
      throw refused(reply)
    }
    const { results } = await bodyOf<{ results?: unknown }>(reply)
    if (!Array.isArray(results) || results.length !== tokens.length || !results.every(isAnswer)) throw unavailable('another answer')
    return results
  }

  async function send (path: string, init: RequestInit): Promise<Response> {
    stats.asked++
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), ending.signal])
    const once = () => fetch(address + path, { ...init, redirect: 'error', signal })
    try {
      // A kept connection may have been closed by the server just now; asking changes nothing, so it is asked once more.
      return await once().catch(error => signal.aborted ? Promise.reject(error) : once())
    } catch (error) {
      throw unavailable('no answer', 1, error)
    }
  }

  return {
    async find (candidate) {
      stats.verified++
      if (!shape.test(candidate)) return null
      const answer = await lookUp(candidate)
      return answer.active ? principalOf(answer) : null
    },

    /** As the session itself: it alone may read its data. */
    async sessionData (candidate) {
      stats.verified++
      if (!shape.test(candidate)) return null
      const reply = await send('session/data', { headers: { authorization: `Bearer ${candidate}`, accept: 'application/json' } })
      const { data, code } = await bodyOf<{ data?: unknown, code?: unknown }>(reply)
      if (reply.status === 200 && typeof data === 'object' && data !== null && !Array.isArray(data)) return data as Record<string, unknown>
      if (refusals.test(String(code))) return null
      throw refused(reply)
    },

    /** Resolves once the server accepts the service token. */
    async ready () {
      await ask([token])
    },

    stats: () => ({ ...stats }),

    async close () {
      ending.abort()
    }
  }
}

/** A body of JSON; empty where it is no object. */
async function bodyOf<Body extends object> (reply: Response): Promise<Partial<Body>> {
  const body = await reply.json().catch(error => { throw unavailable('no JSON', 1, error) }) as unknown
  return typeof body === 'object' && body !== null ? body : {}
}

const refused = ({ status, headers }: Response) => unavailable(`HTTP ${status}`, Number(headers.get('retry-after') ?? 1))

/** Where its routes begin. Throws ConfigError. */
function addressOf (url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.username !== '' || parsed.search !== '' || parsed.hash !== '') {
    throw new ConfigError('The url of a verifier must be that of a Latchkey: http or https, without user, query and fragment')
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/+$/, '')}/v1/`
}

function isAnswer (value: unknown): value is Answer {
  const { active, sub, scope, iat } = (value ?? {}) as Partial<Extract<Answer, { active: true }>>
  if (active as unknown === false) return true
  return active === true && typeof sub === 'string' && typeof scope === 'string' && typeof iat === 'number'
}

function principalOf (
  { sub, scope, iat, exp, sid, amr = [], acr = null, email_verified: emailVerified = false, username }: Extract<Answer, { active: true }>
): IntrospectedPrincipal {
  return {
    issuedAtMs: iat * 1000,
    expiresAtMs: exp === undefined ? Number.MAX_SAFE_INTEGER : exp * 1000,
    amr,
    acr,
    emailVerified,
    token: { abilities: scope === '' ? [] : scope.split(' ') },
    session: sid === undefined ? null : { id: sid },
    user: { id: sub, ...username === undefined ? {} : { email: username }, emailVerified }
  }
}
