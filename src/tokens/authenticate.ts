import type { FastifyRequest } from 'fastify'
import { InvalidTokenError, MissingTokenError, SessionRequiredError } from '../errors.js'
import type { Principal } from './principal.js'
import type { TokenService } from './service.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request this is; null on routes that don't ask. */
    token: Principal | null
  }
}

/** The onRequest hook of routes that need a live token; it runs before a body is read. RFC 6750 2.1: the header is the one transport. */
export function createAuthenticate (tokens: TokenService) {
  return async (request: FastifyRequest): Promise<void> => {
    const header = request.headers.authorization
    if (header === undefined || !/^bearer( |$)/i.test(header)) throw new MissingTokenError()
    request.token = await tokens.authenticate(header.slice('Bearer '.length))
    if (request.token === null) throw new InvalidTokenError()
  }
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
