import { CursorRejectedError } from './errors.js'
import { isUuid } from './ids.js'

/** The years 1 to 9999: what both a Date's text and PostgreSQL can write with four digits. */
const earliestMs = Date.parse('0001-01-01T00:00:00Z')
const latestMs = Date.parse('9999-12-31T23:59:59.999Z')

/** Where a page ends, in a list ordered by time and id: the next begins after it. */
export interface Position { createdAt: Date, id: string }

/** `position` as clients carry it: opaque to them, and no secret. */
export function cursorOf ({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt.getTime()}.${id}`).toString('base64url')
}

/** What `cursorOf` made; throws CursorRejectedError for anything else. */
export function positionOf (cursor: string): Position {
  const [at = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split('.')
  const ms = /^-?\d{1,15}$/.test(at) ? Number(at) : Number.NaN
  if (!(ms >= earliestMs && ms <= latestMs) || !isUuid(id)) throw new CursorRejectedError()
  return { createdAt: new Date(ms), id }
}
