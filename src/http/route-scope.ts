import AjvCompiler from '@fastify/ajv-compiler'
import SerializerSelector from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance } from 'fastify'
import { answerError } from './common.js'

/** Nothing that Latchkey takes is longer. */
const bodyLimit = 64 * 1024

/** What our routes need of the scope they stand in, whatever the application around it has set for its own. */
export function prepareScope (scope: FastifyInstance): void {
  scope.setErrorHandler(answerError)
  scope.setValidatorCompiler(AjvCompiler()({}, { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } }))
  const compileSerializer = SerializerSelector()({}, {})
  scope.setSerializerCompiler(route => compileSerializer({ httpStatus: '', ...route }))
  addJsonBodies(scope)
}

/** The headers that each reply of a mounted scope has; one that the application has set stands. */
export function addScopeHeaders (scope: FastifyInstance): void {
  // Whether its other hosts have https is for the application to say: no includeSubDomains.
  const defaults = { 'strict-transport-security': 'max-age=31536000', 'x-content-type-options': 'nosniff' }
  scope.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    for (const [name, value] of Object.entries(defaults)) if (!reply.hasHeader(name)) reply.header(name, value)
  })
}

/** JSON bodies alone, strictly; an empty one counts as none, as clients send it along with DELETE and POST. */
function addJsonBodies (scope: FastifyInstance): void {
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parse(request, body as string, done)
  })
}
