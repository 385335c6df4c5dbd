import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { deviceOf } from '../http/device.js'
import { failures, Id, LongPage, longPageOf, Moment, nullable } from '../http/schemas.js'
import { NotFoundError } from '../shared/errors.js'
import { isUuid } from '../shared/ids.js'
import { guarded, requireRole } from '../tokens/authenticate.js'
import type { ServiceTokenService } from './service.js'

const Service = Type.Object({ id: Id, name: Type.String(), createdAt: Moment, lastUsedAt: nullable(Moment) }, { title: 'Service' })

interface Options {
  serviceTokens: ServiceTokenService
  authenticate (request: FastifyRequest): Promise<void>
}

/** Services that may check tokens: list, end. Only a command makes them. */
export const serviceTokenRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { serviceTokens, authenticate }) => {
  const administrator = guarded('admin', authenticate)
  const security = [{ bearer: [] }, { cookie: [] }]

  app.get('/v1/admin/services', {
    ...administrator,
    schema: {
      tags: ['admin'],
      summary: 'The services that may check tokens, newest first',
      operationId: 'listServices',
      security,
      querystring: LongPage,
      response: {
        200: Type.Object({ services: Type.Array(Service), nextCursor: nullable(Type.String()) }),
        ...failures(400, 401, 403, 503)
      }
    }
  }, async request => {
    const { entries, nextCursor } = await serviceTokens.list(longPageOf(request.query))
    return {
      nextCursor,
      services: entries.map(({ createdAt, lastUsedAt, ...service }) =>
        ({ ...service, createdAt: createdAt.toISOString(), lastUsedAt: lastUsedAt?.toISOString() ?? null }))
    }
  })

  app.delete('/v1/admin/services/:id', {
    ...administrator,
    schema: {
      tags: ['admin'],
      summary: 'End a service: its token stops working at once',
      operationId: 'endService',
      security,
      params: Type.Object({ id: Type.String() }),
      response: { 204: Type.Null(), ...failures(401, 403, 404, 503) }
    }
  }, async (request, reply) => {
    const principal = requireRole(request, 'admin')
    if (!isUuid(request.params.id)) throw new NotFoundError()
    await serviceTokens.end(principal, request.params.id, deviceOf(request))
    return await reply.code(204).send(null)
  })
}
