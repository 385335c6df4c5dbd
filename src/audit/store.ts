import { and, desc, eq, gte, inArray, lt, lte, ne } from 'drizzle-orm'
import { events, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import { isBehind } from '../database/page.js'
import type { Tx } from '../database/transaction.js'
import { nilUuid } from '../shared/ids.js'
import type { Position } from '../shared/pagination.js'
import type { EventCause, EventType } from './event.js'

/** A row of the audit trail. */
export type AuditEvent = Omit<typeof events.$inferSelect, 'type' | 'cause'> & { type: EventType, cause: EventCause | null }

/** Which events a list has: of one account, of one type, from `from` on and before `until`; all where null. */
export interface EventFilter { userId: string | null, type?: EventType | null, from?: Date | null, until?: Date | null }

/** `reached`: where the search for a rare type has stopped for now, though there are older events; null: it went to the end. */
export interface FoundEvents { rows: AuditEvent[], reached: Position | null }

/** No page of a list looks at more events than this for those of its type, however many there are. */
const mostSearched = 20_000

/** The audit trail in PostgreSQL. */
export interface AuditStore {
  insert (tx: Tx, rows: AuditEvent[]): Promise<void>
  /**
   * Whether the account exists; if so it can't be deleted before the end of `tx`. For null the same statement is run, so that timing
   * tells nothing.
   */
  holdAccount (tx: Tx, userId: string | null): Promise<boolean>
  find (id: string): Promise<AuditEvent | null>
  /** Events of the same account and of these types that are older than `event`, newest first. */
  before (tx: Tx, event: AuditEvent, types: EventType[], limit: number): Promise<AuditEvent[]>
  /** Newest first. */
  list (query: EventFilter & { after: Position | null, limit: number }): Promise<FoundEvents>
  /** Deletes up to `limit` events of an account, whose history goes with it; returns how many. */
  deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number>
  countBefore (before: Date): Promise<number>
  /** Deletes up to `limit` rows older than `before`, oldest first. Locked rows are left for the next run. */
  deleteBefore (before: Date, limit: number): Promise<number>
}

export function createAuditStore (database: Database): AuditStore {
  return {
    async insert (tx: Tx, rows: AuditEvent[]): Promise<void> {
      if (rows.length > 0) await within(tx).insert(events).values(rows)
    },

    async holdAccount (tx: Tx, userId: string | null): Promise<boolean> {
      const rows = await within(tx).select({ id: users.id }).from(users).where(eq(users.id, userId ?? nilUuid)).for('key share')
      return rows.length > 0
    },

    async find (id: string): Promise<AuditEvent | null> {
      const [row] = await database.query(db => db.select().from(events).where(eq(events.id, id)))
      return row === undefined ? null : row as AuditEvent
    },

    async before (tx: Tx, event: AuditEvent, types: EventType[], limit: number): Promise<AuditEvent[]> {
      if (event.userId === null) return []
      const rows = await within(tx).select().from(events)
        .where(and(
          eq(events.userId, event.userId),
          inArray(events.type, types),
          ne(events.id, event.id),
          lte(events.createdAt, event.createdAt)
        ))
        .orderBy(desc(events.createdAt), desc(events.id)).limit(limit)
      return rows as AuditEvent[]
    },

    async list ({ userId, type = null, from = null, until = null, after, limit }): Promise<FoundEvents> {
      const chosen = and(
        userId === null ? undefined : eq(events.userId, userId),
        from === null ? undefined : gte(events.createdAt, from),
        until === null ? undefined : lt(events.createdAt, until),
        isBehind(after, events)
      )
      if (type === null) {
        const rows = await database.query(db =>
          db.select().from(events).where(chosen).orderBy(desc(events.createdAt), desc(events.id)).limit(limit))
        return { rows: rows as AuditEvent[], reached: null }
      }
      // No index is on the type: a rare one would be looked for in all that there is.
      const rows = await database.query(db => {
        const searched = db.select().from(events).where(chosen).orderBy(desc(events.createdAt), desc(events.id)).limit(mostSearched)
          .as('searched')
        return db.select().from(searched).where(eq(searched.type, type)).orderBy(desc(searched.createdAt), desc(searched.id)).limit(limit)
      })
      if (rows.length === limit) return { rows: rows as AuditEvent[], reached: null }
      const [last] = await database.query(db =>
        db.select({ createdAt: events.createdAt, id: events.id }).from(events).where(chosen)
          .orderBy(desc(events.createdAt), desc(events.id)).limit(1).offset(mostSearched - 1))
      return { rows: rows as AuditEvent[], reached: last ?? null }
    },

    async deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number> {
      const some = within(tx).select({ id: events.id }).from(events).where(eq(events.userId, userId)).limit(limit)
      return (await within(tx).delete(events).where(inArray(events.id, some)).returning({ id: events.id })).length
    },

    async countBefore (before: Date): Promise<number> {
      return await database.query(db => db.$count(events, lt(events.createdAt, before)))
    },

    async deleteBefore (before: Date, limit: number): Promise<number> {
      return await database.query(async db => {
        const old = db.select({ id: events.id }).from(events).where(lt(events.createdAt, before)).orderBy(events.createdAt, events.id)
          .limit(limit)
          .for('update', { skipLocked: true })
        return (await db.delete(events).where(inArray(events.id, old)).returning({ id: events.id })).length
      })
    }
  }
}
