import { isUtf8 } from 'node:buffer'
import AjvCompiler from '@fastify/ajv-compiler'
import SerializerSelector from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance } from 'fastify'
import { InvalidRequestError } from '../shared/errors.js'
import { answerError } from './errors.js'
import { explainInvalid } from './validation.js'

/** No body that Latchkey accepts is longer. */
const bodyLimit = 64 * 1024

/** Sets up `scope` for our routes: errors, validation, serialisation and bodies, whatever an application around it has set for its own. */
export function prepareScope (scope: FastifyInstance): void {
  scope.setErrorHandler(answerError)
  scope.setSchemaErrorFormatter(explainInvalid)
  scope.setValidatorCompiler(AjvCompiler()({}, { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } }))
  const compileSerializer = SerializerSelector()({}, {})
  scope.setSerializerCompiler(route => compileSerializer({ httpStatus: '', ...route }))
  scope.removeAllContentTypeParsers()
  addJsonBodies(scope, 'application/json')
}

/**
 * Accepts JSON of this content type, in UTF-8 only: other bytes would all become U+FFFD, and one password would open for another. An
 * empty one counts as none: some clients send the content type with every DELETE and POST.
 */
export function addJsonBodies (scope: FastifyInstance, type: string): void {
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.addContentTypeParser(type, { parseAs: 'buffer', bodyLimit }, (request, body, done) => {
    if (body.length === 0) done(null, undefined)
    else if (!isUtf8(body as Buffer)) done(new InvalidRequestError('The body is not well-formed UTF-8', 'body', 'malformed'))
    else parse(request, body.toString(), done)
  })
}
