import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { NotSupportedError } from '../errors.js'
import { failures } from '../schemas.js'
import { requireSession } from '../tokens/authenticate.js'
import { ChangePasswordBody, LoginBody, RegisterBody, SessionList, SessionParams, TokenReply } from './schemas.js'
import type { Device, Opened, SessionService } from './service.js'

interface Options {
  sessions: SessionService
  authenticate (request: FastifyRequest): Promise<void>
  limitByAddress (request: FastifyRequest, reply: FastifyReply): Promise<void>
}

/** Everything that opens or ends a session. */
export const sessionRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { sessions, authenticate, limitByAddress }) => {
  const anyone = { onRequest: limitByAddress }
  const caller = { onRequest: authenticate }
  const bearer = [{ bearer: [] }]
  const Empty = Type.Null({ description: 'Done, and true on every instance' })

  app.post('/v1/register', {
    ...anyone,
    schema: { tags: ['sessions'], summary: 'Create an account and open its first session', body: RegisterBody, response: { 201: TokenReply, ...failures(400, 403, 409, 413, 415, 429, 503) } }
  }, async (request, reply) => {
    requireSupported(request.body)
    return await reply.code(201).send(toReply(await sessions.register(request.body, deviceOf(request))))
  })

  app.post('/v1/login', {
    ...anyone,
    schema: { tags: ['sessions'], summary: 'Open a session; past SESSION_LIMIT the oldest ends', body: LoginBody, response: { 200: TokenReply, ...failures(400, 401, 403, 413, 415, 429, 503) } }
  }, async request => {
    requireSupported(request.body)
    return toReply(await sessions.logIn(request.body, deviceOf(request)))
  })

  app.post('/v1/logout', {
    ...caller,
    schema: { tags: ['sessions'], summary: 'End this session', security: bearer, response: { 204: Empty, ...failures(401, 403, 503) } }
  }, async (request, reply) => {
    await sessions.logOut(requireSession(request))
    return await reply.code(204).send(null)
  })

  app.post('/v1/logout-all', {
    ...caller,
    schema: { tags: ['sessions'], summary: 'End every session of the caller', security: bearer, response: { 204: Empty, ...failures(401, 403, 503) } }
  }, async (request, reply) => {
    await sessions.endAll(requireSession(request))
    return await reply.code(204).send(null)
  })

  app.put('/v1/password', {
    ...caller,
    schema: { tags: ['sessions'], summary: 'Change the password: every other session ends, this one goes on under a new token', security: bearer, body: ChangePasswordBody, response: { 200: TokenReply, ...failures(400, 401, 403, 413, 415, 429, 503) } }
  }, async request => toReply(await sessions.changePassword(requireSession(request), request.body, deviceOf(request))))

  app.get('/v1/sessions', {
    ...caller,
    schema: { tags: ['sessions'], summary: "The caller's live sessions, newest first", security: bearer, response: { 200: SessionList, ...failures(401, 403, 503) } }
  }, async request => {
    const principal = requireSession(request)
    const live = await sessions.list(principal)
    return {
      sessions: live.map(session => ({
        ...session,
        createdAt: session.createdAt.toISOString(),
        lastUsedAt: session.lastUsedAt.toISOString(),
        expiresAt: session.expiresAt.toISOString(),
        current: session.id === principal.session?.id
      }))
    }
  })

  app.delete('/v1/sessions', {
    ...caller,
    schema: { tags: ['sessions'], summary: 'End every session but this one', security: bearer, response: { 204: Empty, ...failures(401, 403, 503) } }
  }, async (request, reply) => {
    await sessions.endOthers(requireSession(request))
    return await reply.code(204).send(null)
  })

  app.delete('/v1/sessions/:id', {
    ...caller,
    schema: { tags: ['sessions'], summary: 'End one session of the caller', security: bearer, params: SessionParams, response: { 204: Empty, ...failures(401, 403, 404, 503) } }
  }, async (request, reply) => {
    await sessions.endOne(requireSession(request), request.params.id)
    return await reply.code(204).send(null)
  })
}

function requireSupported ({ refresh, cookies }: { refresh?: boolean | undefined, cookies?: boolean | undefined }): void {
  if (refresh === true) throw new NotSupportedError('Refresh tokens are not supported yet')
  if (cookies === true) throw new NotSupportedError('Cookies are not supported yet')
}

function deviceOf (request: FastifyRequest): Device {
  return { address: request.ip, userAgent: request.headers['user-agent']?.slice(0, 512) ?? null }
}

function toReply ({ plain, expiresInSeconds, session, user }: Opened) {
  return {
    tokenType: 'Bearer' as const,
    accessToken: plain.reveal(),
    expiresIn: expiresInSeconds,
    session: { id: session.id, deviceName: session.deviceName, createdAt: session.createdAt.toISOString(), expiresAt: session.expiresAt.toISOString() },
    user
  }
}
