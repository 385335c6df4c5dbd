import { type SQL, sql } from 'drizzle-orm'
import type { PgColumn } from 'drizzle-orm/pg-core'
import type { Position } from '../shared/pagination.js'

/** Where the page behind `after` begins, in a list ordered by both columns, newest first; undefined for the first page. */
export function isBehind (after: Position | null, { createdAt, id }: { createdAt: PgColumn, id: PgColumn }): SQL | undefined {
  return after === null ? undefined : sql`(${createdAt}, ${id}) < (${after.createdAt.toISOString()}::timestamptz, ${after.id}::uuid)`
}
