import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { bearerOf } from '../http/credentials.js'
import { deviceOf } from '../http/device.js'
import { answerError } from '../http/errors.js'
import { Accepted, failures, LongPage, longPageOf } from '../http/schemas.js'
import type { MailService } from '../mail/service.js'
import { InvalidTokenError, MissingTokenError, NotFoundError, SessionRequiredError, type Superseded } from '../shared/errors.js'
import { isUuid } from '../shared/ids.js'
import { guarded, requireSession, type Writes } from '../tokens/authenticate.js'
import type { Cookies } from './cookies.js'
import type { IssuedTokens } from './opening.js'
import {
  ChangePasswordBody,
  CurrentSession,
  LoginBody,
  RefreshBody,
  RegisterBody,
  SecondStepBody,
  SessionList,
  SessionParams,
  TokenReply,
  toSessionList,
  toTokenReply
} from './schemas.js'
import type { SessionService } from './service.js'

interface Options {
  sessions: SessionService
  /** Registrations that a mail has to confirm, and whether it has to. */
  mail: Pick<MailService, 'register' | 'confirms'>
  cookies: Cookies
  writes: Writes
  authenticate (request: FastifyRequest): Promise<void>
}

/** Everything that opens, renews or ends a session. */
export const sessionRoutes: FastifyPluginAsyncTypebox<Options> = async (
  app, { sessions, mail, cookies, writes, authenticate }
) => {
  const anyone = { config: { guard: 'anyone' as const, limitByAddress: true as const } }
  const caller = guarded('session', authenticate, { writes })
  /** Nothing keeps anybody from logging out. */
  const leaving = guarded('session', authenticate)
  /** Requests to log out whose access token was refused, and that may carry a refresh token. */
  const refusals = new WeakMap<FastifyRequest, FastifyError>()
  const security = [{ bearer: [] }, { cookie: [] }]
  const Done = Type.Null({ description: 'Done, and true on every instance' })

  app.post('/v1/register', {
    ...anyone,
    schema: {
      tags: ['sessions'],
      summary: 'Create an account and open its first session; with REGISTRATION=confirm a mail has to confirm it first',
      operationId: 'register',
      body: RegisterBody,
      response: { 201: TokenReply, 202: Accepted, ...failures(400, 403, 409, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    if (request.body.cookies === true) cookies.requireOwnPage(request)
    if (mail.confirms) {
      await mail.register(request.body, deviceOf(request))
      return await reply.code(202).send({})
    }
    return await give(reply.code(201), await sessions.register(request.body, deviceOf(request)), request.body.cookies)
  })

  app.post('/v1/login', {
    ...anyone,
    schema: {
      tags: ['sessions'],
      summary: 'Open a session; past SESSION_LIMIT the oldest ends',
      operationId: 'login',
      body: LoginBody,
      response: { 200: TokenReply, ...failures(400, 401, 403, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    // Before the password is looked at: another site's page must not log its visitor in as somebody else.
    if (request.body.cookies === true) cookies.requireOwnPage(request)
    return await give(reply, await sessions.logIn(request.body, deviceOf(request)), request.body.cookies)
  })

  app.post('/v1/login/second-factor', {
    ...anyone,
    schema: {
      tags: ['second factors'],
      summary: 'Finish a login that answered 403 AUTH_SECOND_FACTOR_REQUIRED: with its challenge and a code',
      operationId: 'finishLogin',
      body: SecondStepBody,
      response: { 200: TokenReply, ...failures(400, 401, 403, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    if (request.body.cookies === true) cookies.requireOwnPage(request)
    return await give(reply, await sessions.finishLogin(request.body, deviceOf(request)), request.body.cookies)
  })

  app.post('/v1/refresh', {
    ...anyone,
    onError: clearDeadCookies,
    schema: {
      tags: ['sessions'],
      summary: 'Exchange a refresh token, from the body or its cookie, for new tokens',
      operationId: 'refresh',
      body: RefreshBody,
      response: { 200: TokenReply, ...failures(400, 401, 403, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { token, byCookie } = presentedRefresh(request)
    return await give(reply, await sessions.refresh(token, deviceOf(request)), byCookie)
  })

  for (const [url, operationId, everywhere, summary] of [
    ['/v1/logout', 'logout', false, 'End this session'],
    ['/v1/logout-all', 'logoutEverywhere', true, 'End every session of the caller']
  ] as const) {
    app.post(url, {
      config: { guard: 'session', enrolling: true, limitByAddress: request => !hasAccessToken(request) },
      onError: clearDeadCookies,
      // A refused access token stays the reason where the body holds no refresh token, whatever else is wrong with it.
      errorHandler: (error, request, reply) => answerError(isAboutBody(error) ? refusals.get(request) ?? error : error, request, reply),
      onRequest: async request => { if (hasAccessToken(request)) await authenticateOrRefresh(request) },
      schema: {
        tags: ['sessions'],
        summary: `${summary}: by access token, or by refresh token from the body or its cookie`,
        operationId,
        security: [...security, {}],
        body: RefreshBody,
        response: { 204: Done, ...failures(400, 401, 403, 413, 415, 429, 503) }
      }
    }, async (request, reply) => {
      if (request.token !== null) await (everywhere
        ? sessions.endAll(requireSession(request), deviceOf(request))
        : sessions.logOut(requireSession(request), deviceOf(request)))
      else await sessions.logOutByRefresh(presentedRefresh(request).token, everywhere, deviceOf(request))
      if (request.headers.cookie !== undefined) cookies.clear(reply)
      return await reply.code(204).send(null)
    })
  }

  app.put('/v1/password', {
    ...caller,
    config: { ...caller.config, passwordField: 'currentPassword' },
    schema: {
      tags: ['sessions'],
      summary: 'Change the password: every other session ends, this one goes on under new tokens',
      operationId: 'changePassword',
      security,
      body: ChangePasswordBody,
      response: { 200: TokenReply, ...failures(400, 401, 403, 413, 415, 429, 503) }
    }
  }, async (
    request,
    reply
  ) => give(reply, await sessions.changePassword(requireSession(request), request.body, deviceOf(request)), request.byCookie))

  app.get('/v1/session', {
    config: { guard: 'anyone', enrolling: true },
    onRequest: authenticateIfPossible,
    schema: {
      tags: ['sessions'],
      summary: 'Who is signed in, if anybody: for an application that starts',
      operationId: 'getCurrentSession',
      security: [{}, ...security],
      response: { 200: CurrentSession, ...failures(503) }
    }
  }, async request => ({
    user: request.token?.user ?? null,
    session: request.token?.session ?? null,
    refreshable: !hasBearer(request) && cookies.read(request, 'refresh') !== null,
    ...request.token?.session == null ? {} : { expiresIn: sessions.secondsLeft(request.token) }
  }))

  app.get('/v1/sessions', {
    ...caller,
    schema: {
      tags: ['sessions'],
      summary: "The caller's live sessions, newest first",
      operationId: 'listSessions',
      security,
      querystring: LongPage,
      response: { 200: SessionList, ...failures(400, 401, 403, 503) }
    }
  }, async request => {
    const { user, session } = requireSession(request)
    return toSessionList(await sessions.list(user.id, longPageOf(request.query)), session?.id)
  })

  app.delete('/v1/sessions', {
    ...caller,
    schema: {
      tags: ['sessions'],
      summary: 'End every session but this one',
      operationId: 'endOtherSessions',
      security,
      response: { 204: Done, ...failures(401, 403, 429, 503) }
    }
  }, async (request, reply) => {
    await sessions.endOthers(requireSession(request), deviceOf(request))
    return await reply.code(204).send(null)
  })

  app.delete('/v1/sessions/:id', {
    ...caller,
    schema: {
      tags: ['sessions'],
      summary: 'End one session of the caller',
      operationId: 'endSession',
      security,
      params: SessionParams,
      response: { 204: Done, ...failures(401, 403, 404, 429, 503) }
    }
  }, async (request, reply) => {
    const principal = requireSession(request)
    if (!isUuid(request.params.id)) throw new NotFoundError()
    await sessions.endOne(principal, request.params.id, deviceOf(request))
    if (request.byCookie && request.params.id.toLowerCase() === principal.session?.id) cookies.clear(reply)
    return await reply.code(204).send(null)
  })

  /** Without a header or an access cookie only a refresh token can say whose session is meant. */
  function hasAccessToken (request: FastifyRequest): boolean {
    return hasBearer(request) || cookies.read(request, 'access') !== null
  }

  /** Leaves `request.token` null where no live token of a user came. */
  async function authenticateIfPossible (request: FastifyRequest): Promise<void> {
    try {
      await authenticate(request)
    } catch (error) {
      if ((error as FastifyError).statusCode !== 401 && !(error instanceof SessionRequiredError)) throw error
    }
  }

  /** An access token that is no longer live doesn't matter where a refresh token may come: in the body, or in its cookie. */
  async function authenticateOrRefresh (request: FastifyRequest): Promise<void> {
    try {
      await leaving.onRequest(request)
    } catch (error) {
      const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
      const hasBody = encoding !== undefined || (length !== undefined && length !== '0')
      const hasCookie = !hasBearer(request) && cookies.read(request, 'refresh') !== null
      if (!(error instanceof InvalidTokenError) || !(hasBody || hasCookie)) throw error
      refusals.set(request, error as FastifyError)
    }
  }

  /** The refresh token in the body, or else in its cookie; a Bearer header rules the cookie out. */
  function presentedRefresh (request: FastifyRequest<{ Body?: unknown }>): { token: string, byCookie: boolean } {
    const { refreshToken } = (request.body ?? {}) as { refreshToken?: string }
    if (refreshToken !== undefined) return { token: refreshToken, byCookie: false }
    const cookie = hasBearer(request) ? null : cookies.read(request, 'refresh')
    if (cookie === null) throw new MissingTokenError()
    cookies.requireOwnSite(request)
    return { token: cookie, byCookie: true }
  }

  /** What a browser would send again and again in vain; not at another site's bidding, and not what another tab has just renewed. */
  async function clearDeadCookies (request: FastifyRequest, reply: FastifyReply, error: FastifyError & Superseded): Promise<void> {
    const { refreshToken } = (request.body ?? {}) as { refreshToken?: string }
    if (error.statusCode !== 401 || error.sessionGoesOn === true) return
    if (request.headers.cookie !== undefined &&
      !hasBearer(request) &&
      refreshToken === undefined &&
      cookies.isOwnSite(request)) cookies.clear(reply)
  }

  async function give (reply: FastifyReply, issued: IssuedTokens, byCookie = false) {
    if (byCookie) cookies.set(reply, issued)
    return await reply.send(toTokenReply(issued, byCookie))
  }
}

/** No refresh token in the body, or none that could be read. */
function isAboutBody (error: FastifyError): boolean {
  return error instanceof MissingTokenError || [400, 413, 415].includes(error.statusCode ?? 500)
}

function hasBearer ({ headers }: FastifyRequest): boolean {
  return bearerOf(headers.authorization) !== null
}
