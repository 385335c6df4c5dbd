import type { FastifyRequest } from 'fastify'
import { bearerOf } from '../http/credentials.js'
import {
  FactorOwedError, ForbiddenError, InsufficientAbilityError, InvalidTokenError, MissingTokenError, SessionReplacedError,
  SessionRequiredError
} from '../shared/errors.js'
import { nextEventLoopTurn } from '../shared/event-loop.js'
import { isSafeMethod } from '../shared/safe-method.js'
import { can, type Principal } from './principal.js'
import type { TokenReader } from './reader.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may use the route; every route declares it. */
    guard?: Guard
    /** Open to users who must have a second factor and haven't used one yet. */
    enrolling?: true
  }
}

/**
 * Who may use a route: anybody, holders of a live token, users with a session, administrators with one; or clients, by OAuth's own rules.
 */
export type Guard = 'anyone' | 'token' | 'session' | 'admin' | 'client'

/** WRITE_LIMIT: counts a session's writes. Throws RateLimitedError past it. */
export interface Writes { admit (sessionId: string): Promise<void> }

/** What authenticate needs of cookies. */
export interface TokenCookies {
  read (request: FastifyRequest, which: 'access'): string | null
  requireOwnSite (request: FastifyRequest): void
}

/**
 * The onRequest hook of routes that need a live token; it runs before a body is read. With a Bearer header no cookie is read. With a
 * cookie, a request that `isUnsafe` has to come from a page of our own.
 */
export function createAuthenticate (
  tokens: Pick<TokenReader, 'authenticate'>,
  cookies: TokenCookies,
  { isReplaced, owesFactor }: { isReplaced (candidate: string): Promise<boolean>, owesFactor (principal: Principal): boolean },
  isUnsafe: (request: FastifyRequest) => boolean = ({ method }) => !isSafeMethod(method)
) {
  return async (request: FastifyRequest): Promise<void> => {
    const candidate = candidateOf(request)
    const principal = await tokens.authenticate(candidate)
    // Made-up tokens are refused without I/O; the replies to a flood of them should still leave together.
    if (principal === null) await nextEventLoopTurn()
    if (principal === null && await isReplaced(candidate)) throw new SessionReplacedError()
    // Cookies carry only tokens of sessions: personal tokens belong in a header.
    if (principal === null || (request.byCookie && principal.session === null)) throw new InvalidTokenError()
    // Service tokens have no user; only /oauth accepts them.
    if (principal.user === null) throw new SessionRequiredError()
    if (owesFactor(principal) && request.routeOptions.config?.enrolling !== true) throw new FactorOwedError()
    request.token = principal
  }

  function candidateOf (request: FastifyRequest): string {
    // URL and body are never read for tokens.
    const bearer = bearerOf(request.headers.authorization)
    if (bearer !== null) return bearer
    const cookie = cookies.read(request, 'access')
    if (cookie === null) throw new MissingTokenError()
    // Browsers send cookies along with requests that other sites' pages make.
    if (isUnsafe(request)) cookies.requireOwnSite(request)
    request.byCookie = true
    return cookie
  }
}

/**
 * The options of a route with this guard: the declaration, and the hook that enforces it before a body is read. Routes of administrators
 * need a token with the ability `admin`, and `ability` is what another route needs: a login with fewer abilities can do less here, too.
 * `writes` counts the request, if it is to write.
 */
export function guarded (
  guard: Exclude<Guard, 'anyone' | 'client'>,
  authenticate: (request: FastifyRequest) => Promise<void>,
  { ability, writes }: { ability?: 'account', writes?: Writes } = {}
) {
  const onRequest = guard === 'token' ? authenticate : async (request: FastifyRequest): Promise<void> => {
    await authenticate(request)
    const principal = guard === 'admin' ? requireRole(request, 'admin') : requireSession(request)
    const needed = guard === 'admin' ? 'admin' : ability
    if (needed !== undefined && !can(principal, needed)) throw new InsufficientAbilityError(needed)
    if (writes !== undefined && principal.session !== null && !isSafeMethod(request.method)) await writes.admit(principal.session.id)
  }
  return { config: { guard }, onRequest }
}

/** The principal of a request that passed `authenticate`. */
export function requirePrincipal (request: FastifyRequest): Principal {
  if (request.token === null) throw new MissingTokenError()
  return request.token
}

/** The same for routes that need a session: throws SessionRequiredError for other kinds of token. */
export function requireSession (request: FastifyRequest): Principal {
  const principal = requirePrincipal(request)
  if (principal.session === null) throw new SessionRequiredError()
  return principal
}

/** The same for a user with that role, which the cache knows as strictly as the token. Throws SessionRequiredError, ForbiddenError. */
export function requireRole (request: FastifyRequest, role: 'admin'): Principal {
  const principal = requireSession(request)
  if (principal.user.role !== role) throw new ForbiddenError()
  return principal
}
