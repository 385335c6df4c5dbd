import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { deviceOf } from '../http/device.js'
import { Accepted, failures } from '../http/schemas.js'
import { guarded, requireSession, type Writes } from '../tokens/authenticate.js'
import { ForgotBody, ResetBody, VerifyBody } from './schemas.js'
import type { MailService } from './service.js'

interface Options {
  mail: MailService
  writes: Writes
  authenticate (request: FastifyRequest): Promise<void>
}

/** What mails are asked for, and what their tokens do. */
export const mailRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { mail, writes, authenticate }) => {
  const anyone = { config: { guard: 'anyone' as const, limitByAddress: true as const } }
  const Done = Type.Null({ description: 'Done, and true on every instance' })

  app.post('/v1/password/forgot', {
    ...anyone,
    schema: {
      tags: ['mail'],
      summary: 'Ask for a mail that resets the password; the answer is the same for every address',
      operationId: 'forgotPassword',
      body: ForgotBody,
      response: { 202: Accepted, ...failures(400, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    await mail.forgot(request.body.email, deviceOf(request))
    return await reply.code(202).send({})
  })

  app.post('/v1/password/reset', {
    ...anyone,
    schema: {
      tags: ['mail'],
      summary: 'Set a new password with the token of a mail, and a code where the account has a second factor; every session ends',
      operationId: 'resetPassword',
      body: ResetBody,
      response: { 204: Done, ...failures(400, 401, 403, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    await mail.reset(request.body, deviceOf(request))
    return await reply.code(204).send(null)
  })

  app.post('/v1/email/verify', {
    ...anyone,
    schema: {
      tags: ['mail'],
      summary: 'Confirm an address, a new address or a registration with the token of a mail',
      operationId: 'verifyEmail',
      body: VerifyBody,
      response: { 204: Done, ...failures(400, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    await mail.verify(request.body, deviceOf(request))
    return await reply.code(204).send(null)
  })

  app.post('/v1/email/verify/send', {
    ...guarded('session', authenticate, { writes }),
    schema: {
      tags: ['mail'],
      summary: "Ask for another mail that confirms the caller's address",
      operationId: 'sendVerification',
      security: [{ bearer: [] }, { cookie: [] }],
      response: { 202: Accepted, ...failures(401, 403, 429, 503) }
    }
  }, async (request, reply) => {
    await mail.sendVerification(requireSession(request).user, deviceOf(request))
    return await reply.code(202).send({})
  })
}
