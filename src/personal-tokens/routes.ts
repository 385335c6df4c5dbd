import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { deviceOf } from '../http/device.js'
import { Abilities, closed, factorProof, failures, Id, LongPage, longPageOf, Moment, Name, nullable, Password } from '../http/schemas.js'
import { NotFoundError } from '../shared/errors.js'
import { isUuid } from '../shared/ids.js'
import { guarded, requireSession, type Writes } from '../tokens/authenticate.js'
import type { PersonalToken as Shown } from '../tokens/service.js'
import type { PersonalTokenService } from './service.js'

const hundredYears = 3_153_600_000

const Body = Type.Object({
  name: Name,
  abilities: Type.Optional(Abilities),
  expiresIn: Type.Optional(Type.Integer({
    minimum: 1,
    maximum: hundredYears,
    description: 'Seconds; without it the token lives until it is revoked'
  })),
  password: Type.Optional(Password),
  ...factorProof
}, {
  ...closed,
  title: 'NewPersonalToken',
  examples: [{ name: 'backup script', abilities: ['orders:read'], expiresIn: 2_592_000, password: 'correct horse battery staple' }]
})

const PersonalToken = Type.Object({
  id: Id,
  name: Type.String(),
  abilities: Type.Array(Type.String()),
  createdAt: Moment,
  expiresAt: nullable(Moment),
  lastUsedAt: nullable(Moment)
}, { title: 'PersonalToken' })

interface Options {
  personalTokens: PersonalTokenService
  writes: Writes
  authenticate (request: FastifyRequest): Promise<void>
}

/** Personal tokens: make, list, end. Only a session may. */
export const personalTokenRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { personalTokens, writes, authenticate }) => {
  const caller = guarded('session', authenticate, { writes })
  const security = [{ bearer: [] }, { cookie: [] }]

  app.post('/v1/tokens', {
    ...caller,
    schema: {
      tags: ['personal tokens'],
      summary: 'Make a personal token',
      operationId: 'createPersonalToken',
      security,
      body: Body,
      response: {
        201: Type.Object({ accessToken: Type.String({ description: 'Shown once' }), token: PersonalToken }),
        ...failures(400, 401, 403, 409, 413, 415, 429, 503)
      }
    }
  }, async (request, reply) => {
    const { plain, token } = await personalTokens.create(requireSession(request), request.body, deviceOf(request))
    return await reply.code(201).send({ accessToken: plain.reveal(), token: show(token) })
  })

  app.get('/v1/tokens', {
    ...caller,
    schema: {
      tags: ['personal tokens'],
      summary: "The caller's live personal tokens, newest first",
      operationId: 'listPersonalTokens',
      security,
      querystring: LongPage,
      response: {
        200: Type.Object({ tokens: Type.Array(PersonalToken), nextCursor: nullable(Type.String()) }),
        ...failures(400, 401, 403, 503)
      }
    }
  }, async request => {
    const { entries, nextCursor } = await personalTokens.list(requireSession(request), longPageOf(request.query))
    return { tokens: entries.map(show), nextCursor }
  })

  app.delete('/v1/tokens/:id', {
    ...caller,
    schema: {
      tags: ['personal tokens'],
      summary: 'End a personal token',
      operationId: 'endPersonalToken',
      security,
      params: Type.Object({ id: Type.String() }),
      response: { 204: Type.Null(), ...failures(401, 403, 404, 429, 503) }
    }
  }, async (request, reply) => {
    const principal = requireSession(request)
    if (!isUuid(request.params.id)) throw new NotFoundError()
    await personalTokens.end(principal, request.params.id, deviceOf(request))
    return await reply.code(204).send(null)
  })
}

function show ({ createdAt, expiresAt, lastUsedAt, ...token }: Shown) {
  return {
    ...token,
    createdAt: createdAt.toISOString(),
    expiresAt: expiresAt?.toISOString() ?? null,
    lastUsedAt: lastUsedAt?.toISOString() ?? null
  }
}
