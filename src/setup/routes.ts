import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { deviceOf } from '../http/device.js'
import { failures } from '../http/schemas.js'
import type { Cookies } from '../sessions/cookies.js'
import { TokenReply, toTokenReply } from '../sessions/schemas.js'
import { SetupBody } from './schemas.js'
import type { Setup } from './service.js'

interface Options { setup: Setup, cookies: Cookies }

/** The first administrator, by the link that the start of a server prints. */
export const setupRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { setup, cookies }) => {
  app.post('/v1/admin/setup', {
    config: { guard: 'anyone', limitByAddress: true },
    schema: {
      tags: ['admin'],
      summary: 'Make the first administrator with the token that the start of a server without one prints, and open their first session',
      operationId: 'createFirstAdministrator',
      body: SetupBody,
      response: { 201: TokenReply, ...failures(400, 403, 409, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { cookies: byCookie = false } = request.body
    if (byCookie) cookies.requireOwnPage(request)
    const issued = await setup.complete(request.body, deviceOf(request))
    if (byCookie) cookies.set(reply, issued)
    return await reply.code(201).send(toTokenReply(issued, byCookie))
  })
}
