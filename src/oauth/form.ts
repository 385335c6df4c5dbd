import { InvalidRequestError } from '../shared/errors.js'

/**
 * The parameters of a form. RFC 6749 3.2: a parameter without a value counts as absent, and none may come twice. Throws
 * InvalidRequestError.
 */
export function parseForm (text: string): Record<string, string> {
  const parameters = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(text)) {
    if (parameters.has(name)) throw new InvalidRequestError('A parameter came twice')
    parameters.set(name, value)
  }
  return Object.fromEntries([...parameters].filter(([, value]) => value !== ''))
}
