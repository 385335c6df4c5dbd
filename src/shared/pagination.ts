import { CursorRejectedError } from './errors.js'
import { isUuid } from './ids.js'

/** The years 1 to 9999: what both a Date's text and PostgreSQL can write with four digits. */
const earliestMs = Date.parse('0001-01-01T00:00:00Z')
const latestMs = Date.parse('9999-12-31T23:59:59.999Z')

/** Where a page ends, in a list ordered by time and id: the next begins after it. */
export interface Position { createdAt: Date, id: string }

/** Which page of a list is wanted: the one behind `cursor`, which is the `nextCursor` of the page before, with up to `limit` entries. */
export interface PageQuery { cursor?: string | undefined, limit: number }

/** A page of a list, and where the next one begins; null at the end. */
export interface ListPage<Entry> { entries: Entry[], nextCursor: string | null }

/** The most entries that a page may have. */
export const longestPage = 100

/** The page that `read` gives: up to `limit` entries behind `after`. Throws CursorRejectedError. */
export async function readPage<Entry extends Position> (
  { cursor, limit }: PageQuery,
  read: (page: { after: Position | null, limit: number }) => Promise<Entry[]>
): Promise<ListPage<Entry>> {
  // One more tells whether there is another page.
  const found = await read({ after: cursor === undefined ? null : positionOf(cursor), limit: limit + 1 })
  const entries = found.slice(0, limit)
  const last = found.length > limit ? entries.at(-1) : undefined
  return { entries, nextCursor: last === undefined ? null : cursorOf(last) }
}

/** All entries of a list, read page by page. */
export async function everyEntry<Entry> (list: (page: PageQuery) => Promise<ListPage<Entry>>): Promise<Entry[]> {
  const all: Entry[] = []
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page: ListPage<Entry> = await list({ cursor, limit: longestPage })
    all.push(...page.entries)
    cursor = page.nextCursor
  }
  return all
}

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
