import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { EventList, toEvent } from '../audit/schemas.js'
import type { Audit } from '../audit/service.js'
import { ProofBody } from '../factors/schemas.js'
import { deviceOf } from '../http/device.js'
import { failures, LongPage, limitOf, longPageOf, momentOf } from '../http/schemas.js'
import { SessionList, toSessionList } from '../sessions/schemas.js'
import type { SessionService } from '../sessions/service.js'
import { NotFoundError } from '../shared/errors.js'
import { isUuid } from '../shared/ids.js'
import { guarded, requireRole } from '../tokens/authenticate.js'
import type { Overview } from './overview.js'
import {
  Created, EventQuery, hoursOf, NewUserBody, OneUser, OverviewQuery, OverviewReply, RevokeBody, RoleBody, Stats, UserList, UserParams,
  UserQuery
} from './schemas.js'
import type { AdminActor, AdminService } from './service.js'
import type { TokenStats } from './stats.js'

interface Options {
  admin: AdminService
  tokenStats: TokenStats
  overview: Overview
  sessions: Pick<SessionService, 'list'>
  audit: Pick<Audit, 'list'>
  authenticate (request: FastifyRequest): Promise<void>
}

/** For administrators, with the token of a session: users, their sessions, events, statistics, and the emergency switch. */
export const adminRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  const { admin, tokenStats, overview, sessions, audit, authenticate } = options
  const administrator = guarded('admin', authenticate)
  const common = { tags: ['admin'], security: [{ bearer: [] }, { cookie: [] }] }
  const Done = Type.Null({ description: 'Done, and true on every instance' })
  const params = UserParams

  app.get('/v1/admin/users', {
    ...administrator,
    schema: {
      ...common,
      summary: 'Users: by the beginning of their address, or all, newest first',
      operationId: 'listUsers',
      querystring: UserQuery,
      response: { 200: UserList, ...failures(400, 401, 403, 503) }
    }
  }, async request => admin.list({ email: request.query.email, cursor: request.query.cursor, limit: limitOf(request.query) }))

  app.post('/v1/admin/users', {
    ...administrator,
    config: { ...administrator.config, passwordField: 'currentPassword' },
    schema: {
      ...common,
      summary: 'Make an account, whatever REGISTRATION says; one with role admin needs a recent login or the password',
      operationId: 'createUser',
      body: NewUserBody,
      response: { 201: Created, ...failures(400, 401, 403, 409, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { currentPassword: password, totp, recoveryCode, ...account } = request.body
    return await reply.code(201).send({ user: await admin.create(actorOf(request), account, { password, totp, recoveryCode }) })
  })

  app.get('/v1/admin/users/:id', {
    ...administrator,
    schema: { ...common, summary: 'One user', operationId: 'getUser', params, response: { 200: OneUser, ...failures(401, 403, 404, 503) } }
  }, async request => ({ user: await admin.requireUser(userIdOf(request.params)) }))

  app.get('/v1/admin/users/:id/sessions', {
    ...administrator,
    schema: {
      ...common,
      summary: "A user's live sessions, newest first",
      operationId: 'listSessionsOfUser',
      params,
      querystring: LongPage,
      response: { 200: SessionList, ...failures(400, 401, 403, 404, 503) }
    }
  }, async request => {
    const userId = userIdOf(request.params)
    await admin.requireUser(userId)
    const current = requireRole(request, 'admin').session?.id
    return toSessionList(await sessions.list(userId, longPageOf(request.query)), current)
  })

  app.post('/v1/admin/users/:id/revoke', {
    ...administrator,
    schema: {
      ...common,
      summary: "End a user's sessions, and on request their personal tokens",
      operationId: 'revokeUser',
      params,
      body: RevokeBody,
      response: { 204: Done, ...failures(400, 401, 403, 404, 413, 415, 503) }
    }
  }, async (request, reply) => {
    await admin.revoke(actorOf(request), userIdOf(request.params), { personalTokens: request.body?.personalTokens === true })
    return await reply.code(204).send(null)
  })

  app.post('/v1/admin/users/:id/disable', {
    ...administrator,
    schema: {
      ...common,
      summary: 'Disable a user: sessions end, personal tokens stop working until the user is enabled',
      operationId: 'disableUser',
      params,
      response: { 204: Done, ...failures(401, 403, 404, 409, 503) }
    }
  }, async (request, reply) => {
    await admin.disable(actorOf(request), userIdOf(request.params))
    return await reply.code(204).send(null)
  })

  app.post('/v1/admin/users/:id/enable', {
    ...administrator,
    schema: {
      ...common,
      summary: 'Enable a user again, and clear their failed logins',
      operationId: 'enableUser',
      params,
      response: { 204: Done, ...failures(401, 403, 404, 503) }
    }
  }, async (request, reply) => {
    await admin.enable(actorOf(request), userIdOf(request.params))
    return await reply.code(204).send(null)
  })

  app.delete('/v1/admin/users/:id/factors', {
    ...administrator,
    schema: {
      ...common,
      summary: "Remove a user's second factors, for one who has lost them; their sessions end: needs a recent login or the password",
      operationId: 'resetFactorsOfUser',
      params,
      body: ProofBody,
      response: { 204: Done, ...failures(400, 401, 403, 404, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    await admin.resetFactors(actorOf(request), userIdOf(request.params), request.body ?? {})
    return await reply.code(204).send(null)
  })

  app.put('/v1/admin/users/:id/role', {
    ...administrator,
    schema: {
      ...common,
      summary: "Change a user's role: needs a recent login or the password",
      operationId: 'setRoleOfUser',
      params,
      body: RoleBody,
      response: { 204: Done, ...failures(400, 401, 403, 404, 409, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { role, ...proof } = request.body
    await admin.setRole(actorOf(request), userIdOf(request.params), role, proof)
    return await reply.code(204).send(null)
  })

  app.get('/v1/admin/events', {
    ...administrator,
    schema: {
      ...common,
      summary: 'The audit trail of all accounts, newest first; or of one, of one type, of some time',
      operationId: 'listAllEvents',
      querystring: EventQuery,
      response: { 200: EventList, ...failures(400, 401, 403, 503) }
    }
  }, async request => {
    const { userId = null, type = null, from, until } = request.query
    const { events, nextCursor } = await audit.list({
      userId,
      type,
      from: momentOf(from, 'from'),
      until: momentOf(until, 'until'),
      cursor: request.query.cursor,
      limit: limitOf(request.query)
    })
    return { events: events.map(toEvent), nextCursor }
  })

  app.get('/v1/admin/token-stats', {
    ...administrator,
    schema: {
      ...common,
      summary: 'Statistics of tokens and cache',
      operationId: 'getTokenStats',
      response: { 200: Stats, ...failures(401, 403, 503) }
    }
  }, async () => tokenStats())

  app.get('/v1/admin/overview', {
    ...administrator,
    schema: {
      ...common,
      summary: 'What a page for administrators shows: sign-ins and failures by hour, users, sessions, tokens, cache and settlements',
      operationId: 'getOverview',
      querystring: OverviewQuery,
      response: { 200: OverviewReply, ...failures(400, 401, 403, 503) }
    }
  }, async request => overview(hoursOf(request.query)))

  app.post('/v1/admin/cache/clear', {
    ...administrator,
    schema: {
      ...common,
      summary: 'Void every cache entry, on every instance: for when the cache itself is in doubt',
      operationId: 'clearCache',
      response: { 204: Done, ...failures(401, 403, 503) }
    }
  }, async (request, reply) => {
    await admin.clearCache(actorOf(request))
    return await reply.code(204).send(null)
  })
}

function actorOf (request: FastifyRequest): AdminActor {
  return { caller: requireRole(request, 'admin'), device: deviceOf(request) }
}

/** Throws NotFoundError for anything but an id. */
function userIdOf ({ id }: { id: string }): string {
  if (!isUuid(id)) throw new NotFoundError()
  return id.toLowerCase()
}
