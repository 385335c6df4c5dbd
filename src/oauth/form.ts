import { isUtf8 } from 'node:buffer'
import { InvalidRequestError } from '../shared/errors.js'

/**
 * The parameters of a form. RFC 6749 3.2: a parameter without a value counts as absent, and none may come twice. Throws
 * InvalidRequestError.
 */
export function parseForm (body: Buffer): Record<string, string> {
  const text = body.toString()
  const encoded = text.match(/(?:%[0-9a-f]{2})+/gi) ?? []
  if (![body, ...encoded.map(run => Buffer.from(run.replaceAll('%', ''), 'hex'))].every(bytes => isUtf8(bytes))) {
    throw new InvalidRequestError('The body is not well-formed UTF-8', 'body', 'malformed')
  }
  const parameters = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(text)) {
    if (parameters.has(name)) throw new InvalidRequestError('A parameter came twice', 'body', 'duplicate')
    parameters.set(name, value)
  }
  return Object.fromEntries([...parameters].filter(([, value]) => value !== ''))
}
