import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { deviceOf } from '../http/device.js'
import { failures } from '../http/schemas.js'
import { guarded, requireSession, type Writes } from '../tokens/authenticate.js'
import { ConfirmBody, FactorList, NewTotp, ProofBody, RecoveryCodes } from './schemas.js'
import type { FactorService } from './service.js'

interface Options {
  factors: FactorService
  writes: Writes
  authenticate (request: FastifyRequest): Promise<void>
  cookies: { clear (reply: FastifyReply): void }
}

/** The caller's own second factors. Those who must enrol may use the routes that they need for it. */
export const factorRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { factors, writes, authenticate, cookies }) => {
  const reader = guarded('session', authenticate)
  const caller = guarded('session', authenticate, { ability: 'account', writes })
  const enrolling = { ...caller, config: { ...caller.config, enrolling: true as const } }
  const common = { tags: ['second factors'], security: [{ bearer: [] }, { cookie: [] }] }

  app.get('/v1/factors', {
    ...reader,
    config: { ...reader.config, enrolling: true },
    schema: {
      ...common,
      summary: "The caller's second factors",
      operationId: 'listFactors',
      response: { 200: FactorList, ...failures(401, 403, 503) }
    }
  }, async request => {
    const { totp, recoveryCodesLeft } = await factors.list(requireSession(request))
    return { totp: totp === null ? null : { confirmedAt: totp.confirmedAt.toISOString() }, recoveryCodesLeft }
  })

  app.post('/v1/totp', {
    ...enrolling,
    schema: {
      ...common,
      summary: 'Begin to add an authenticator app; it counts once a code has confirmed it. Needs a recent login or the password',
      operationId: 'beginTotp',
      body: ProofBody,
      response: { 201: NewTotp, ...failures(400, 401, 403, 409, 413, 415, 429, 503) }
    }
  }, async (request, reply) =>
    reply.code(201).send(await factors.beginTotp(requireSession(request), request.body ?? {}, deviceOf(request))))

  app.post('/v1/totp/confirm', {
    ...enrolling,
    schema: {
      ...common,
      summary: 'Confirm the app with a code: logins ask for one from now on',
      operationId: 'confirmTotp',
      body: ConfirmBody,
      response: { 200: RecoveryCodes, ...failures(400, 401, 403, 404, 409, 413, 415, 429, 503) }
    }
  }, async request => ({
    recoveryCodes: await factors.confirmTotp(requireSession(request), request.body.code, deviceOf(request))
  }))

  app.delete('/v1/totp', {
    ...caller,
    schema: {
      ...common,
      summary: 'Remove the app and the recovery codes: every session that they opened ends. Needs a recent login with one, or a code',
      operationId: 'removeTotp',
      body: ProofBody,
      response: { 204: Type.Null({ description: 'Done, and true on every instance' }), ...failures(400, 401, 403, 404, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { endedOwn } = await factors.removeTotp(requireSession(request), request.body ?? {}, deviceOf(request))
    if (endedOwn && request.byCookie) cookies.clear(reply)
    return await reply.code(204).send(null)
  })

  app.post('/v1/recovery-codes', {
    ...caller,
    schema: {
      ...common,
      summary: 'Make ten new recovery codes; the old ones are void. Needs a recent login with a second factor, or a code',
      operationId: 'renewRecoveryCodes',
      body: ProofBody,
      response: { 201: RecoveryCodes, ...failures(400, 401, 403, 404, 413, 415, 429, 503) }
    }
  }, async (request, reply) => reply.code(201).send({
    recoveryCodes: await factors.renewRecoveryCodes(requireSession(request), request.body ?? {}, deviceOf(request))
  }))
}
