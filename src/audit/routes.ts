import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { failures, limitOf, Page } from '../http/schemas.js'
import { guarded, requireSession } from '../tokens/authenticate.js'
import { EventList, toEvent } from './schemas.js'
import type { Audit } from './service.js'

interface Options { audit: Audit, authenticate (request: FastifyRequest): Promise<void> }

/** The caller's own audit trail. */
export const auditRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { audit, authenticate }) => {
  app.get('/v1/events', {
    ...guarded('session', authenticate),
    schema: {
      tags: ['account'],
      summary: "What happened to the caller's account, newest first",
      operationId: 'listEvents',
      security: [{ bearer: [] }, { cookie: [] }],
      querystring: Page,
      response: { 200: EventList, ...failures(400, 401, 403, 503) }
    }
  }, async request => {
    const { user } = requireSession(request)
    const { events, nextCursor } = await audit.list({ userId: user.id, cursor: request.query.cursor, limit: limitOf(request.query) })
    return { events: events.map(toEvent), nextCursor }
  })
}
