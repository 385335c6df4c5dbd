import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { allows, isKnown, tagOf } from '../http/preconditions.js'
import { addJsonBodies } from '../http/route-scope.js'
import { failures } from '../http/schemas.js'
import { guarded, requireSession } from '../tokens/authenticate.js'
import type { Kept } from './entry.js'
import type { SessionDataService } from './service.js'

interface Options {
  sessionData: SessionDataService
  authenticate (request: FastifyRequest): Promise<void>
}

/** RFC 7396 4; as everywhere else, JSON by its plain name will do too. */
const patchType = 'application/merge-patch+json'

const anyObject = (description: string, more: { examples?: object[] } = {}) =>
  Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true, description, ...more })
const headers = { ETag: Type.String({ description: 'Of the data as it is now, for If-Match' }) }
const Data = { ...Type.Object({ data: anyObject('{} before the first write') }), description: 'The data as it is now', headers }
const Known = Type.Unsafe<undefined>({ type: 'null', description: 'If-None-Match names the data as it is now', headers })
const Conditions = Type.Object({
  'if-match': Type.Optional(Type.String({ description: 'ETags, or *: without one that is that of the data, nothing is done, and the answer is 412' }))
})

/** What an application keeps with the caller's session. */
export const sessionDataRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { sessionData, authenticate }) => {
  const caller = guarded('session', authenticate)
  const common = { tags: ['session data'], security: [{ bearer: [] }, { cookie: [] }] }
  const written = { 200: Data, ...failures(400, 401, 403, 412, 413, 415, 429, 503) }

  app.get('/v1/session/data', {
    ...caller,
    schema: {
      ...common,
      summary: 'What is kept with this session',
      operationId: 'getSessionData',
      headers: Type.Object({ 'if-none-match': Type.Optional(Type.String({ description: 'ETags: with that of the data the answer is 304' })) }),
      response: { 200: Data, 304: Known, ...failures(401, 403, 503) }
    }
  }, async (request, reply) => {
    const kept = await sessionData.read(requireSession(request))
    if (!isKnown(request.headers, kept.version)) return await give(reply, kept)
    return await reply.code(304).header('etag', tagOf(kept.version)).send(undefined)
  })

  app.put('/v1/session/data', {
    ...caller,
    schema: {
      ...common,
      summary: 'Keep another object with this session, of 16 KB at most: read everywhere at once, gone with the session',
      operationId: 'replaceSessionData',
      headers: Conditions,
      body: anyObject('Takes the place of the data', { examples: [{ cart: ['tea'], theme: 'dark' }] }),
      response: written
    }
  }, async (request, reply) => await give(reply, await sessionData.replace(requireSession(request), request.body, allows(request.headers))))

  await app.register(async scope => {
    addJsonBodies(scope, patchType)
    scope.patch<{ Body: Record<string, unknown> }>('/v1/session/data', {
      ...caller,
      schema: {
        ...common,
        summary: 'Change parts of what is kept with this session, by a JSON Merge Patch (RFC 7396)',
        operationId: 'updateSessionData',
        consumes: ['application/json', patchType],
        headers: Conditions,
        body: anyObject('Members to set; null removes one', { examples: [{ theme: null, step: 2 }] }),
        response: written
      }
    }, async (request, reply) => await give(reply, await sessionData.merge(requireSession(request), request.body, allows(request.headers))))
  })

  /** The text as it is kept: another serialiser might write it otherwise. */
  async function give (reply: FastifyReply, { text, version }: Kept) {
    return await reply.header('etag', tagOf(version)).type('application/json; charset=utf-8').send(`{"data":${text}}`)
  }
}
