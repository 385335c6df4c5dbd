import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Registry } from 'prom-client'
import { setRefusalHeaders } from '../http/errors.js'
import type { Health } from '../http/health.js'
import { insufficientAuthentication, insufficientScope } from '../http/refusal.js'
import type { SessionDataAccess } from '../session-data/access.js'
import { InsufficientAbilityError, SecondFactorRequiredError } from '../shared/errors.js'
import { can, type Principal, requireAbilityName, usedFactor } from '../tokens/principal.js'

/** What an application sees of the Latchkey that it mounts. */
export interface Mounted {
  /** Sets `request.token`, or throws a 401, 403 or 503 whose headers the caller has to set, as `authenticate` does. */
  authenticate (request: FastifyRequest): Promise<void>
  /** For the application's own probes. */
  health: Health
  /** For the application's own Prometheus endpoint. */
  metrics: Registry
  /** What the application keeps with the session of `request.token`. */
  sessionData: SessionDataAccess
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request this is; null on routes that don't authenticate. */
    token: Principal | null
    /** Whether the token came in a cookie: then replies put new tokens there too. */
    byCookie: boolean
  }
  interface FastifyInstance {
    /** The Latchkey mounted in this scope, or in one around it. */
    latchkey: Mounted
  }
}

/**
 * An onRequest hook for an application's own routes. It sets `request.token`, or refuses: with 401 and a challenge, with 403 for a
 * cookie from another site, with 503 and Retry-After. The reply is `no-store` unless the handler says otherwise.
 */
export async function authenticate (request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { latchkey } = request.server
  if (latchkey === undefined) throw new Error('Latchkey is not registered in the scope of this route, nor in one around it')
  reply.header('cache-control', 'no-store')
  try {
    await latchkey.authenticate(request)
  } catch (error) {
    setRefusalHeaders(reply, error as Error)
    throw error
  }
}

/** The same, and 403 with a challenge (RFC 6750 3.1) for tokens without `ability`. A token with `*` has every ability but `introspect`. */
export function requireAbility (ability: string): typeof authenticate {
  requireAbilityName(ability)
  return async (request, reply) => {
    if (request.token === null) await authenticate(request, reply)
    if (request.token !== null && can(request.token, ability)) return
    reply.header('www-authenticate', insufficientScope(ability))
    throw new InsufficientAbilityError(ability)
  }
}

/** The same, and 403 with a challenge (RFC 9470 3) for sessions that were opened without a second factor, and for personal tokens. */
export function requireFactor (): typeof authenticate {
  return async (request, reply) => {
    if (request.token === null) await authenticate(request, reply)
    if (request.token !== null && usedFactor(request.token.amr)) return
    reply.header('www-authenticate', insufficientAuthentication)
    throw new SecondFactorRequiredError()
  }
}
