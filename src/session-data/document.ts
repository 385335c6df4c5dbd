import { InvalidRequestError, TooLargeError } from '../shared/errors.js'

/** Of the object as JSON without white space, in UTF-8. */
const maxBytes = 16 * 1024
/** Objects and lists within each other: whoever walks through them may recurse. */
const maxDepth = 32

export type JsonObject = Record<string, unknown>

export function isObject (value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Throws InvalidRequestError unless `value` is an object that reads back from JSON as what it is: it nests at most 32 levels, and its
 * numbers are finite, as 1e400 isn't.
 */
export function requireDocument (value: unknown): JsonObject {
  if (!isObject(value)) throw new InvalidRequestError('The data must be a JSON object', 'body', 'wrong_type')
  const flaw = flawOf(value)
  if (flaw === 'depth') throw new InvalidRequestError(`The data may nest ${maxDepth} levels of objects and lists`, 'body', 'out_of_range')
  if (flaw === 'number') throw new InvalidRequestError('The data has a number that no double can hold', 'body', 'out_of_range')
  return value
}

/** A document as it is kept: JSON without white space. Throws TooLargeError. */
export function textOf (document: JsonObject): string {
  const text = JSON.stringify(document)
  if (Buffer.byteLength(text) > maxBytes) throw new TooLargeError()
  return text
}

/** Whether `text` could be one that `textOf` has given. */
export function isText (text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) && flawOf(value) === null
  } catch {
    return false
  }
}

function flawOf (value: unknown, levels = maxDepth): 'depth' | 'number' | null {
  if (typeof value === 'number') return Number.isFinite(value) ? null : 'number'
  if (typeof value !== 'object' || value === null) return null
  if (levels === 0) return 'depth'
  for (const inner of Object.values(value)) {
    const flaw = flawOf(inner, levels - 1)
    if (flaw !== null) return flaw
  }
  return null
}
