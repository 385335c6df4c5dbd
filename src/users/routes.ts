import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { failures, Id, Moment, nullable, User } from '../schemas.js'
import { requirePrincipal } from '../tokens/authenticate.js'

const Me = Type.Object({
  user: User,
  session: nullable(Type.Object({ id: Id, deviceName: nullable(Type.String()), createdAt: Moment, expiresAt: Moment })),
  token: Type.Object({ id: Id, kind: Type.String(), abilities: Type.Array(Type.String()), expiresAt: nullable(Moment) })
})

/** Who am I: the request that every client makes most. */
export const userRoutes: FastifyPluginAsyncTypebox<{ authenticate (request: FastifyRequest): Promise<void> }> = async (app, { authenticate }) => {
  app.get('/v1/me', {
    onRequest: authenticate,
    schema: { tags: ['account'], summary: 'The user, session and token of this request', security: [{ bearer: [] }, { cookie: [] }], response: { 200: Me, ...failures(401, 403, 503) } }
  }, async request => requirePrincipal(request))
}
