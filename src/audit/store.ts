import { and, desc, eq, inArray, lt, lte, ne, sql } from 'drizzle-orm'
import { events, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import { nilUuid } from '../shared/ids.js'
import type { Position } from '../shared/pagination.js'
import type { EventCause, EventType } from './event.js'

/** A row of the audit trail. */
export type AuditEvent = Omit<typeof events.$inferSelect, 'type' | 'cause'> & { type: EventType, cause: EventCause | null }

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
  /** Newest first; of all accounts when `userId` is null. */
  list ({ userId, after, limit }: { userId: string | null, after: Position | null, limit: number }): Promise<AuditEvent[]>
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

    async list ({ userId, after, limit }: { userId: string | null, after: Position | null, limit: number }): Promise<AuditEvent[]> {
      const theirs = userId === null ? undefined : eq(events.userId, userId)
      const later = after === null
        ? undefined
        : sql`(${events.createdAt}, ${events.id}) < (${after.createdAt.toISOString()}::timestamptz, ${after.id}::uuid)`
      const rows = await database.query(db =>
        db.select().from(events).where(and(theirs, later)).orderBy(desc(events.createdAt), desc(events.id)).limit(limit))
      return rows as AuditEvent[]
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
