import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { PageLog } from '../http/page-log.js'
import { isOwnPage, readTokenCookie, tokenCookieNames } from '../http/token-cookie.js'
import { CrossSiteError } from '../shared/errors.js'
import type { IssuedTokens } from './opening.js'

/** `origins`: those whose pages may send the cookies, besides our own. */
interface CookieOptions { secure: boolean, origins: string[], pages: Pick<PageLog, 'cookieLogin'> }

/**
 * Tokens in cookies, for single-page apps on the same site. They are HttpOnly, so scripts can't read them, and they count only in requests
 * from our own pages.
 */
export interface Cookies {
  /** The token in that cookie; null when there is none, or more than one: somebody else may have set the second. */
  read (request: FastifyRequest, which: 'access' | 'refresh'): string | null
  set (reply: FastifyReply, issued: IssuedTokens): void
  /** Clears both cookies, whether or not the request had them. */
  clear (reply: FastifyReply): void
  /** Whether a page of our own origin, or of one in CORS_ORIGINS, made the request. */
  isOwnSite (request: FastifyRequest): boolean
  /** Throws CrossSiteError unless `isOwnSite`. */
  requireOwnSite (request: FastifyRequest): void
  /** The same for a login that sets cookies; a page that could not keep them is named in the log. */
  requireOwnPage (request: FastifyRequest): void
}

export function createCookies ({ secure, origins, pages }: CookieOptions): Cookies {
  const names = tokenCookieNames(secure)
  const trusted = new Set(origins)
  const attributes = { path: '/', httpOnly: true, secure, sameSite: 'strict' } as const

  const read = ({ headers }: FastifyRequest, which: 'access' | 'refresh') => readTokenCookie(headers.cookie, names[which])

  function set (reply: FastifyReply, { access, refresh }: IssuedTokens): void {
    reply.header('set-cookie', [
      fastifyCookie.serialize(names.access, access.plain.reveal(), { ...attributes, maxAge: access.expiresInSeconds }),
      refresh === null
        ? cleared('refresh')
        : fastifyCookie.serialize(names.refresh, refresh.plain.reveal(), { ...attributes, maxAge: refresh.expiresInSeconds })
    ])
  }

  function clear (reply: FastifyReply): void {
    reply.header('set-cookie', [cleared('access'), cleared('refresh')])
  }

  function cleared (which: 'access' | 'refresh'): string {
    return fastifyCookie.serialize(names[which], '', { ...attributes, maxAge: 0 })
  }

  const isOwnSite = ({ headers }: FastifyRequest) => isOwnPage(headers, trusted)

  function requireOwnSite (request: FastifyRequest): void {
    if (!isOwnSite(request)) throw new CrossSiteError()
  }

  function requireOwnPage (request: FastifyRequest): void {
    pages.cookieLogin(request, isOwnSite(request))
    requireOwnSite(request)
  }

  return { read, set, clear, isOwnSite, requireOwnSite, requireOwnPage }
}
