import type { FastifyRequest } from 'fastify'
import { ForbiddenError, InvalidTokenError, MissingTokenError, SessionRequiredError } from '../shared/errors.js'
import { nextTurn } from '../shared/event-loop.js'
import type { Principal } from './principal.js'
import type { TokenService } from './service.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whom the route serves; each one says so. */
    guard?: Guard
  }
}

/** Whom a route serves: anybody, whoever has a live token, a person at a session, an administrator at one; a client, by OAuth's own rules. */
export type Guard = 'anyone' | 'token' | 'session' | 'admin' | 'client'

/** What authenticate needs of cookies. */
export interface TokenCookies {
  read (request: FastifyRequest, which: 'access'): string | null
  requireOwnSite (request: FastifyRequest): void
}

/** The onRequest hook of routes that need a live token; it runs before a body is read. An Authorization header wins: then no cookie is read. */
export function createAuthenticate (tokens: TokenService, cookies: TokenCookies) {
  return async (request: FastifyRequest): Promise<void> => {
    const principal = await tokens.authenticate(candidateOf(request))
    // A made-up token is refused without I/O: a flood of them has nothing else to wait for together.
    if (principal === null) await nextTurn()
    // A cookie carries a session's tokens alone: a personal one belongs in a header.
    if (principal === null || (request.byCookie && principal.session === null)) throw new InvalidTokenError()
    // A service is nobody: it has no business outside /oauth.
    if (principal.user === null) throw new SessionRequiredError()
    request.token = principal
  }

  function candidateOf (request: FastifyRequest): string {
    const header = request.headers.authorization
    // RFC 6750 2.1; the URL and the body are never looked at.
    if (header !== undefined && /^bearer( |$)/i.test(header)) return header.slice('Bearer '.length)
    const cookie = header === undefined ? cookies.read(request, 'access') : null
    if (cookie === null) throw new MissingTokenError()
    // A browser sends a cookie along with requests that other sites' pages make.
    if (request.method !== 'GET' && request.method !== 'HEAD') cookies.requireOwnSite(request)
    request.byCookie = true
    return cookie
  }
}

/** The options of a route for `guard`: what it declares and the hooks that make it true, before a body is read. */
export function guarded (guard: Exclude<Guard, 'anyone' | 'client'>, authenticate: (request: FastifyRequest) => Promise<void>) {
  const onRequest = guard === 'token' ? authenticate : async (request: FastifyRequest): Promise<void> => {
    await authenticate(request)
    if (guard === 'admin') requireRole(request, 'admin')
    else requireSession(request)
  }
  return { config: { guard }, onRequest }
}

/** The principal of a route behind `authenticate`. */
export function requirePrincipal (request: FastifyRequest): Principal {
  if (request.token === null) throw new MissingTokenError()
  return request.token
}

/** The same for routes that only a person at a session may use: throws SessionRequiredError for other kinds of token. */
export function requireSession (request: FastifyRequest): Principal {
  const principal = requirePrincipal(request)
  if (principal.session === null) throw new SessionRequiredError()
  return principal
}

/** A session of somebody with that role; the cache is as strict about it as about the token. Throws SessionRequiredError, ForbiddenError. */
export function requireRole (request: FastifyRequest, role: 'admin'): Principal {
  const principal = requireSession(request)
  if (principal.user.role !== role) throw new ForbiddenError()
  return principal
}
