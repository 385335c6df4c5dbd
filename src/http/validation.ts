import type { FastifyError } from 'fastify'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { type Reason, ValidationError } from '../shared/errors.js'

/** The parts of a request, as messages and `field` name them. */
const parts: Record<string, string> = { querystring: 'query', params: 'path' }

/**
 * The error of a request that is not as the schema of its route says: the field, a reason for programs, and a sentence for people. It
 * repeats nothing of what the request holds but the names of fields.
 */
export function explainInvalid ([error]: FastifySchemaValidationError[], part: string): FastifyError {
  const whole = parts[part] ?? part
  if (error === undefined) return new ValidationError(`The ${whole} is malformed`, whole, 'malformed')
  const { keyword, instancePath, params } = error
  const { missingProperty, additionalProperty } = params as { missingProperty?: string, additionalProperty?: string }
  const path = [...instancePath.split('/'), missingProperty ?? additionalProperty ?? ''].filter(isFieldName)
  // The name of a field that no schema knows may be anything; then its container is named.
  const isUnnamed = keyword === 'additionalProperties' && !isFieldName(additionalProperty ?? '')
  const field = path.length === 0 ? whole : path.join('.')
  const [reason, what] = describe(keyword, params)
  const subject = path.length === 0 ? `The ${whole}` : `The field ${field}`
  return new ValidationError(isUnnamed ? `${subject} has a field that is not known here` : `${subject} ${what}`, field, reason)
}

/** The name of a field as schemas have them: no index of a list, and nothing that could be a secret in the wrong place. */
function isFieldName (name: string): boolean {
  return /^[A-Za-z_]{1,32}$/.test(name)
}

/** What the keyword of the schema (JSON Schema validation, 6) means for the field. */
function describe (keyword: string, params: Record<string, unknown>): [reason: Reason, what: string] {
  const { limit, type, allowedValues } = params as { limit?: number, type?: string | string[], allowedValues?: unknown[] }
  switch (keyword) {
    case 'required': return ['missing', 'is missing']
    case 'additionalProperties': return ['unknown', 'is not known here']
    case 'type': return ['wrong_type', `must be of type ${[type].flat().join(' or ')}`]
    case 'minLength': return ['too_short', `must have at least ${limit} characters`]
    case 'maxLength': return ['too_long', `may have at most ${limit} characters`]
    case 'minItems': return ['too_short', `must have at least ${limit} entries`]
    case 'maxItems': return ['too_long', `may have at most ${limit} entries`]
    case 'enum': return ['not_allowed', `must be one of: ${allowedValues?.join(', ')}`]
    case 'const': return ['not_allowed', 'has a value that is not allowed']
    case 'uniqueItems': return ['duplicate', 'has an entry twice']
    case 'minimum': return ['out_of_range', `must be at least ${limit}`]
    case 'maximum': return ['out_of_range', `must be at most ${limit}`]
    default: return ['malformed', 'is malformed']
  }
}
