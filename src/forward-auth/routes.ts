import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { answerError, setRefusalHeaders } from '../http/errors.js'
import { insufficientScope } from '../http/refusal.js'
import { failures } from '../http/schemas.js'
import { InsufficientAbilityError, InvalidRequestError } from '../shared/errors.js'
import { requirePrincipal } from '../tokens/authenticate.js'
import { can } from '../tokens/principal.js'
import { type Asking, type Forwarded, isNavigation, isQueryPassedOn } from './forwarded.js'
import { Passed, Query, Refused, ToSignIn, toHeaders } from './schemas.js'
import type { SignIn } from './sign-in.js'

interface Options {
  forwardAuth: {
    /** As on every route, but that the method of the request asked about counts. */
    authenticate (request: FastifyRequest): Promise<void>
    forwarded (asking: Asking): Forwarded
    signIn: SignIn | null
  }
}

/** For proxies, which ask before they let a request through (nginx's auth_request, Caddy's forward_auth). Limited like GET /v1/me. */
export const forwardAuthRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { forwardAuth }) => {
  const { authenticate, forwarded, signIn } = forwardAuth

  app.get('/v1/forward-auth', {
    config: { guard: 'token' },
    onRequest: async request => {
      // About the application's answer, not this one: nginx makes a 500 of a 304.
      if (request.headers['if-none-match'] !== undefined) delete request.headers['if-none-match']
      await authenticate(request)
    },
    preValidation: async request => { if (isQueryPassedOn(forwarded(request), request)) request.query = withoutCallers(request.query) },
    errorHandler: refuse,
    schema: {
      tags: ['forward auth'],
      summary: 'Whose request it is that a proxy holds back, and whether it may pass',
      operationId: 'authorizeForwarded',
      security: [{ bearer: [] }, { cookie: [] }],
      querystring: Query,
      response: { 200: Passed, 302: ToSignIn, ...failures(400, 403, 503), 401: Refused }
    }
  }, async (request, reply) => {
    const principal = requirePrincipal(request)
    const { ability } = request.query
    if (ability !== undefined && !can(principal, ability)) {
      reply.header('www-authenticate', insufficientScope(ability))
      throw new InsufficientAbilityError(ability)
    }
    return await reply.headers(toHeaders(principal)).send()
  })

  /** A 401 has no body: with one, nginx would close the connection. */
  function refuse (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
    if (error.statusCode !== 401) {
      answerError(error, request, reply)
      return
    }
    const asked = forwarded(request)
    const page = signIn !== null && isNavigation(asked, request) ? signIn(asked.url) : null
    const { redirect } = request.query as { redirect?: string }
    if (page !== null && redirect === 'true' && !isQueryPassedOn(asked, request)) {
      reply.redirect(page)
      return
    }
    setRefusalHeaders(reply, error)
    if (page !== null) reply.header('x-auth-sign-in', page)
    reply.code(401).send()
  }
}

/** Nothing in a caller's query is meant for us. With an ability in it, it may as well be the proxy's own, which the caller repeats. */
function withoutCallers (query: { ability?: unknown }): object {
  if (query.ability === undefined) return {}
  const message = "This query is the caller's too: give the proxy's request one of its own, like ?redirect=false&ability=…"
  throw new InvalidRequestError(message, 'ability', 'not_allowed')
}
