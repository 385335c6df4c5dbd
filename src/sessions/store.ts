import { randomUUID } from 'node:crypto'
import { and, asc, desc, eq, gt, inArray, isNull, ne } from 'drizzle-orm'
import { sessions } from '../../db/schema.js'
import { type Database, within } from '../edges/database.js'
import type { RevokingTx } from '../tokens/revocation.js'
import type { Tx } from '../transaction.js'

export interface Session {
  id: string
  deviceName: string | null
  userAgent: string | null
  ip: string | null
  createdAt: Date
  lastUsedAt: Date
  expiresAt: Date
}

export type NewSession = Omit<Session, 'id' | 'lastUsedAt'> & { userId: string }

export type SessionStore = ReturnType<typeof createSessionStore>

export function createSessionStore (database: Database) {
  const live = (userId: string, now: Date) => and(eq(sessions.userId, userId), isNull(sessions.endedAt), gt(sessions.expiresAt, now))

  return {
    /** The user's live sessions, newest first. */
    async list (userId: string, now: Date): Promise<Session[]> {
      return await database.query(db => db.select().from(sessions).where(live(userId, now)).orderBy(desc(sessions.createdAt), asc(sessions.id)))
    },

    async insert (tx: Tx, session: NewSession): Promise<Session> {
      const row = { ...session, id: randomUUID(), lastUsedAt: session.createdAt }
      await within(tx).insert(sessions).values(row)
      return row
    },

    /** Null when it isn't this user's, or over. */
    async find (tx: Tx, userId: string, id: string, now: Date): Promise<Session | null> {
      const [row] = await within(tx).select().from(sessions).where(and(live(userId, now), eq(sessions.id, id)))
      return row ?? null
    },

    /** Whether this user ever had it; a session that is over can be ended again. */
    async belongs (tx: Tx, userId: string, id: string): Promise<boolean> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions).where(and(eq(sessions.userId, userId), eq(sessions.id, id)))
      return rows.length > 0
    },

    /** Ids of the live sessions past the newest `keep`, oldest last. */
    async beyond (tx: Tx, userId: string, keep: number, now: Date): Promise<string[]> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions).where(live(userId, now))
        .orderBy(desc(sessions.createdAt), desc(sessions.id)).offset(keep)
      return rows.map(row => row.id)
    },

    /** Ids of all the user's live sessions but `except`. */
    async others (tx: Tx, userId: string, except: string | null, now: Date): Promise<string[]> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions)
        .where(and(live(userId, now), except === null ? undefined : ne(sessions.id, except)))
      return rows.map(row => row.id)
    },

    async end (tx: RevokingTx, ids: string[], now: Date): Promise<void> {
      if (ids.length > 0) await within(tx).update(sessions).set({ endedAt: now }).where(and(inArray(sessions.id, ids), isNull(sessions.endedAt)))
    }
  }
}
