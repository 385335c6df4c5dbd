import { randomUUID } from 'node:crypto'
import { and, asc, desc, eq, gt, inArray, isNull, ne, notInArray } from 'drizzle-orm'
import { sessions } from '../../db/schema.js'
import { type Database, touchParameters, touchText, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'

export interface Session {
  id: string
  deviceName: string | null
  userAgent: string | null
  ip: string | null
  createdAt: Date
  lastUsedAt: Date
  expiresAt: Date
  refreshes: boolean
}

export type NewSession = Omit<Session, 'id' | 'lastUsedAt'> & { userId: string }

export type SessionStore = ReturnType<typeof createSessionStore>

export function createSessionStore (database: Database, { idleSeconds }: { idleSeconds: number | null }) {
  const unended = (userId: string) => and(eq(sessions.userId, userId), isNull(sessions.endedAt))
  const live = (userId: string, now: Date) => and(unended(userId), gt(sessions.expiresAt, now),
    idleSeconds === null ? undefined : gt(sessions.lastUsedAt, new Date(now.getTime() - idleSeconds * 1000)))

  return {
    idleSeconds,

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

    /** Notes a use that the transaction itself is. */
    async use (tx: Tx, id: string, now: Date): Promise<void> {
      await within(tx).update(sessions).set({ lastUsedAt: now }).where(eq(sessions.id, id))
    },

    /** Notes when sessions were used; rows that somebody holds are never waited for, but left out: returns their ids. */
    async touch (used: Map<string, number>): Promise<string[]> {
      const rows = await database.prepared<{ id: string }>(touchText('sessions'), touchParameters(used))
      return rows.map(row => row.id)
    },

    /** Whether this user ever had it; a session that is over can be ended again. */
    async belongs (tx: Tx, userId: string, id: string): Promise<boolean> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions).where(and(eq(sessions.userId, userId), eq(sessions.id, id)))
      return rows.length > 0
    },

    /** Ids of all that nobody has ended but the newest `keep` live ones: see `others`. */
    async beyond (tx: Tx, userId: string, keep: number, now: Date): Promise<string[]> {
      const newest = within(tx).select({ id: sessions.id }).from(sessions).where(live(userId, now))
        .orderBy(desc(sessions.createdAt), desc(sessions.id)).limit(keep)
      const rows = await within(tx).select({ id: sessions.id }).from(sessions).where(and(unended(userId), notInArray(sessions.id, newest)))
      return rows.map(row => row.id)
    },

    /**
     * Ids of all the user's sessions that nobody has ended, but `except`. Those past their time are among them: an instance whose clock is
     * behind still accepts them, and with a longer SESSION_IDLE_TTL an idle one would be live again.
     */
    async others (tx: Tx, userId: string, except: string | null): Promise<string[]> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions)
        .where(and(unended(userId), except === null ? undefined : ne(sessions.id, except)))
      return rows.map(row => row.id)
    },

    /** Ends every session of these users; returns those that nobody had ended before. */
    async endOfUsers (tx: RevokingTx, userIds: string[], now: Date): Promise<Array<{ id: string, userId: string }>> {
      return await within(tx).update(sessions).set({ endedAt: now }).where(and(inArray(sessions.userId, userIds), isNull(sessions.endedAt))).returning({ id: sessions.id, userId: sessions.userId })
    },

    /** Deletes up to `limit` of the user's, none of which has a token left; returns how many. */
    async deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number> {
      const some = within(tx).select({ id: sessions.id }).from(sessions).where(eq(sessions.userId, userId)).limit(limit)
      return (await within(tx).delete(sessions).where(inArray(sessions.id, some)).returning({ id: sessions.id })).length
    },

    /** Returns the ids of those that nobody had ended before. */
    async end (tx: RevokingTx, ids: string[], now: Date): Promise<string[]> {
      if (ids.length === 0) return []
      const ended = await within(tx).update(sessions).set({ endedAt: now }).where(and(inArray(sessions.id, ids), isNull(sessions.endedAt))).returning({ id: sessions.id })
      return ended.map(row => row.id)
    }
  }
}
