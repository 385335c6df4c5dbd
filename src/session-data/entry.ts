import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { isUuid } from '../shared/ids.js'
import type { EntryParser } from '../token-cache/entry.js'
import type { Cacheable } from '../token-cache/found.js'
import { isText } from './document.js'

/** The data of a session: `text` is a JSON object, `version` (a UUID) another one after each write. */
export interface Kept { version: string, text: string }

/** The same in a cache entry. It ends with the session. */
export interface KeptEntry extends Kept, Cacheable {}

const entry = Compile(Type.Object({
  expiresAtMs: Type.Number(),
  idleAtMs: Type.Optional(Type.Number()),
  version: Type.String(),
  text: Type.String()
}))

/** Nothing is remembered: ten thousand texts of 16 KB would be. */
export const parseEntry: EntryParser<KeptEntry> = (_key, json) => {
  try {
    const value: unknown = JSON.parse(json)
    return entry.Check(value) && isUuid(value.version) && isText(value.text) ? value : null
  } catch {
    return null
  }
}
