import AjvCompiler from '@fastify/ajv-compiler'
import SerializerSelector from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance } from 'fastify'
import { answerError } from './errors.js'

/** No body that Latchkey accepts is longer. */
const bodyLimit = 64 * 1024

/** Sets up `scope` for our routes: errors, validation, serialisation and bodies, whatever an application around it has set for its own. */
export function prepareScope (scope: FastifyInstance): void {
  scope.setErrorHandler(answerError)
  scope.setValidatorCompiler(AjvCompiler()({}, { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } }))
  const compileSerializer = SerializerSelector()({}, {})
  scope.setSerializerCompiler(route => compileSerializer({ httpStatus: '', ...route }))
  addJsonBodies(scope)
}

/** Accepts JSON bodies only. An empty one counts as none: some clients send the content type with every DELETE and POST. */
function addJsonBodies (scope: FastifyInstance): void {
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parse(request, body as string, done)
  })
}
