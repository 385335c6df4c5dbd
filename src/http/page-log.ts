import type { FastifyRequest } from 'fastify'
import { isOrigin, isPlainHttp, isWebOrigin } from '../config/values.js'
import type { Clock } from '../shared/clock.js'

/** A page is named once in this time, and only so many are: whoever sends a request chooses the origin. */
const intervalMs = 60_000
const linesPerInterval = 10

/** Lines about pages that cannot log in with cookies: why, and what to do. In the browser nothing says so. */
export interface PageLog {
  /** A login with cookies; `trusted`: from our own origin or one in CORS_ORIGINS. */
  cookieLogin (request: FastifyRequest, trusted: boolean): void
  /** A preflight of an origin that may not send cookies. If it asks for a login with cookies, the browser does not even send that. */
  preflight (request: FastifyRequest): void
}

/** `secure`: whether cookies are Secure. */
export function createPageLog ({ secure, clock }: { secure: boolean, clock: Pick<Clock, 'monotonic'> }): PageLog {
  let intervalEnd = 0
  const named = new Set<string>()

  function isNew (origin: string): boolean {
    const now = clock.monotonic()
    if (now >= intervalEnd) {
      intervalEnd = now + intervalMs
      named.clear()
    }
    if (named.size >= linesPerInterval || named.has(origin)) return false
    named.add(origin)
    return true
  }

  function report (request: FastifyRequest, trusted: boolean): void {
    const { origin = '', 'sec-fetch-site': site } = request.headers
    if (origin.length > 255 || !(origin === 'null' || isOrigin(origin))) return
    const problem = findProblem(origin, site, trusted, secure)
    if (problem === null || !isNew(origin)) return
    const line = `a page at ${origin} cannot log in with cookies: ${problem} (docs/CLIENTS.md)`
    if (trusted) request.log.warn({ origin }, line)
    else request.log.info({ origin }, line)
  }

  return {
    cookieLogin: report,
    preflight (request) {
      const isLogin = /\/v1\/(login|register)(\?|$)/.test(request.url) && request.headers['access-control-request-method'] === 'POST'
      if (isLogin) report(request, false)
    }
  }
}

const proxy = "have the page's own server pass /v1 on to this one"

function findProblem (origin: string, site: string | string[] | undefined, trusted: boolean, secure: boolean): string | null {
  if (origin === 'null') return 'it has no origin, as pages opened from a file have none; serve it over http'
  if (!isWebOrigin(origin)) return 'it belongs to an app, which keeps none; use bearer tokens'
  if (site === 'cross-site') {
    return 'it is on another site, from which browsers keep no cookies of this one; ' +
      `${proxy}, open both at one host (localhost and 127.0.0.1 are two), or use bearer tokens`
  }
  if (!trusted) return `it is not in CORS_ORIGINS; add it there, or ${proxy}`
  return secure && isPlainHttp(new URL(origin)) ? 'over http browsers keep no Secure ones; serve https, or set COOKIE_SECURE=false' : null
}
