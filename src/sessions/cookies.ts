import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CrossSiteError } from '../shared/errors.js'
import type { IssuedTokens } from './opening.js'

interface CookieOptions { secure: boolean, publicUrl: string | undefined, corsOrigins: string[] }

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
}

export function createCookies ({ secure, publicUrl, corsOrigins }: CookieOptions): Cookies {
  // Browsers accept this prefix only from this very host and over TLS: a neighbouring subdomain can't set it (RFC 6265bis 4.1.3).
  const prefix = secure ? '__Host-' : ''
  const names = { access: `${prefix}latchkey`, refresh: `${prefix}latchkey-refresh` }
  const origins = new Set([...corsOrigins, ...publicUrl === undefined ? [] : [new URL(publicUrl).origin]])
  const attributes = { path: '/', httpOnly: true, secure, sameSite: 'strict' } as const

  function read (request: FastifyRequest, which: 'access' | 'refresh'): string | null {
    const header = request.headers.cookie
    if (header === undefined) return null
    const name = names[which]
    if (header.split(';').filter(pair => pair.split('=', 1)[0]?.trim() === name).length !== 1) return null
    return fastifyCookie.parse(header)[name] ?? null
  }

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

  function isOwnSite ({ headers: { origin, 'sec-fetch-site': site } }: FastifyRequest): boolean {
    return site === 'same-origin' || (origin !== undefined && origins.has(origin))
  }

  function requireOwnSite (request: FastifyRequest): void {
    if (!isOwnSite(request)) throw new CrossSiteError()
  }

  return { read, set, clear, isOwnSite, requireOwnSite }
}
