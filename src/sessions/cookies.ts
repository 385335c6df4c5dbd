import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CrossSiteError } from '../shared/errors.js'
import type { Opened } from './opening.js'

interface Parts { secure: boolean, publicUrl: string | undefined, corsOrigins: string[] }

/** Tokens in cookies, for SPAs on the same site: HttpOnly, so no script reads them, and counted only for requests of our own pages. */
export type Cookies = ReturnType<typeof createCookies>

export function createCookies ({ secure, publicUrl, corsOrigins }: Parts) {
  // With the prefix a browser takes the cookie from this host alone, over TLS alone: a neighbouring subdomain can't plant one (RFC 6265bis 4.1.3).
  const prefix = secure ? '__Host-' : ''
  const names = { access: `${prefix}latchkey`, refresh: `${prefix}latchkey-refresh` }
  const origins = new Set([...corsOrigins, ...publicUrl === undefined ? [] : [new URL(publicUrl).origin]])
  const attributes = { path: '/', httpOnly: true, secure, sameSite: 'strict' } as const

  /** The token of that cookie; null when there is none, or more than one: somebody else may have set the other. */
  function read (request: FastifyRequest, which: 'access' | 'refresh'): string | null {
    const header = request.headers.cookie
    if (header === undefined) return null
    const name = names[which]
    if (header.split(';').filter(pair => pair.split('=', 1)[0]?.trim() === name).length !== 1) return null
    return fastifyCookie.parse(header)[name] ?? null
  }

  return {
    read,

    set (reply: FastifyReply, { access, refresh }: Opened): void {
      reply.header('set-cookie', [
        fastifyCookie.serialize(names.access, access.plain.reveal(), { ...attributes, maxAge: access.expiresInSeconds }),
        refresh === null ? cleared('refresh') : fastifyCookie.serialize(names.refresh, refresh.plain.reveal(), { ...attributes, maxAge: refresh.expiresInSeconds })
      ])
    },

    /** Both, whichever the request carried. */
    clear (reply: FastifyReply): void {
      reply.header('set-cookie', [cleared('access'), cleared('refresh')])
    },

    isOwnSite,

    /** Throws CrossSiteError unless a page of our own origin, or of one in CORS_ORIGINS, made the request. */
    requireOwnSite (request: FastifyRequest): void {
      if (!isOwnSite(request)) throw new CrossSiteError()
    }
  }

  function isOwnSite ({ headers: { origin, 'sec-fetch-site': site } }: FastifyRequest): boolean {
    return site === 'same-origin' || (origin !== undefined && origins.has(origin))
  }

  function cleared (which: 'access' | 'refresh'): string {
    return fastifyCookie.serialize(names[which], '', { ...attributes, maxAge: 0 })
  }
}
