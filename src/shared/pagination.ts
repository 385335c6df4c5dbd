import { CursorRejectedError } from './errors.js'
import { isUuid } from './ids.js'

/** Where a page ends, in a list ordered by time and id: the next begins after it. */
export interface Position { createdAt: Date, id: string }

/** `position` as clients carry it: opaque to them, and no secret. */
export function cursorOf ({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt.getTime()}.${id}`).toString('base64url')
}

/** What `cursorOf` made; throws CursorRejectedError for anything else. */
export function positionOf (cursor: string): Position {
  const [at = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split('.')
  if (!/^\d{1,14}$/.test(at) || !isUuid(id)) throw new CursorRejectedError()
  return { createdAt: new Date(Number(at)), id }
}
