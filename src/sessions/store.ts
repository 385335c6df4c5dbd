import { randomUUID } from 'node:crypto'
import { and, arrayContains, desc, eq, gt, inArray, isNull, ne, notInArray, type SQL, sql } from 'drizzle-orm'
import { events, sessionData, sessions, tokens } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import { isBehind } from '../database/page.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import type { Position } from '../shared/pagination.js'
import type { AuthenticationMethod } from '../tokens/principal.js'
import type { TokenHash } from '../tokens/token.js'

export interface Session {
  id: string
  deviceName: string | null
  userAgent: string | null
  ip: string | null
  createdAt: Date
  lastUsedAt: Date
  expiresAt: Date
  refreshes: boolean
  /** How it was opened (RFC 8176). */
  amr: AuthenticationMethod[]
}

export type NewSession = Omit<Session, 'id' | 'lastUsedAt'> & { userId: string }

/** A session that nobody has ended; `live` unless it has expired. */
export interface Unended { id: string, live: boolean }

/** Sessions in PostgreSQL. */
export interface SessionStore {
  readonly idleSeconds: number | null
  /** Up to `limit` of the user's live sessions behind `after`, newest first. */
  list (userId: string, now: Date, page: { after: Position | null, limit: number }): Promise<Session[]>
  insert (tx: Tx, session: NewSession): Promise<Session>
  /** Null when the session isn't this user's, has ended or has expired. */
  find (tx: Tx, userId: string, id: string, now: Date): Promise<Session | null>
  /** Sets the last use of a session whose user's row is locked. */
  use (tx: Tx, id: string, now: Date): Promise<void>
  /** Whether this user has or had the session: one that is over can be ended again. */
  belongs (tx: Tx, userId: string, id: string): Promise<boolean>
  /** The user's sessions that nobody has ended, except the newest `keep` live ones: see `unendedExcept`. */
  unendedBeyond (tx: Tx, userId: string, keep: number, now: Date): Promise<Unended[]>
  /** Whether the token of that hash belongs to a session that a login past SESSION_LIMIT ended, as the audit trail says. */
  isTokenReplaced (hash: TokenHash): Promise<boolean>
  /**
   * Ids of the user's sessions that nobody has ended, without `except`. Expired ones are included: an instance whose clock is behind still
   * accepts them, and raising SESSION_IDLE_TTL would bring idle ones back.
   */
  unendedExcept (tx: Tx, userId: string, except: string | null): Promise<string[]>
  /** Ids of the user's sessions that nobody has ended and that this method helped to open. */
  unendedOpenedBy (tx: Tx, userId: string, method: AuthenticationMethod): Promise<string[]>
  /** Cache entries hold it: only together with settling them, hence the type. */
  setMethods (tx: RevokingTx, id: string, amr: AuthenticationMethod[]): Promise<void>
  /** Erases their data too. Returns the ids of the sessions that had not been ended before. */
  end (tx: RevokingTx, ids: string[], now: Date): Promise<string[]>
  /** Ends every session of these users; returns those that had not been ended before. */
  endOfUsers (tx: RevokingTx, userIds: string[], now: Date): Promise<Array<{ id: string, userId: string }>>
  /** Deletes up to `limit` of the user's sessions, which have no tokens left; returns how many. */
  deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number>
}

/** `idleSeconds`: how long a session may go unused; null: for ever. */
export function createSessionStore (database: Database, { idleSeconds }: { idleSeconds: number | null }): SessionStore {
  const unended = (userId: string) => and(eq(sessions.userId, userId), isNull(sessions.endedAt))
  const live = (userId: string, now: Date) => and(unended(userId), gt(sessions.expiresAt, now),
    idleSeconds === null ? undefined : gt(sessions.lastUsedAt, new Date(now.getTime() - idleSeconds * 1000)))

  const isIdle = (lastUsedAt: Date, now: Date) => idleSeconds !== null && lastUsedAt.getTime() <= now.getTime() - idleSeconds * 1000

  return {
    idleSeconds,

    async list (userId: string, now: Date, { after, limit }): Promise<Session[]> {
      return await database.query(db =>
        db.select().from(sessions).where(and(live(userId, now), isBehind(after, sessions)))
          .orderBy(desc(sessions.createdAt), desc(sessions.id)).limit(limit))
    },

    async insert (tx: Tx, session: NewSession): Promise<Session> {
      const row = { ...session, id: randomUUID(), lastUsedAt: session.createdAt }
      await within(tx).insert(sessions).values(row)
      return row
    },

    async find (tx: Tx, userId: string, id: string, now: Date): Promise<Session | null> {
      const [row] = await within(tx).select().from(sessions).where(and(live(userId, now), eq(sessions.id, id)))
      return row ?? null
    },

    async use (tx: Tx, id: string, now: Date): Promise<void> {
      await within(tx).update(sessions).set({ lastUsedAt: now }).where(eq(sessions.id, id))
    },

    async belongs (tx: Tx, userId: string, id: string): Promise<boolean> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions).where(and(eq(sessions.userId, userId), eq(sessions.id, id)))
      return rows.length > 0
    },

    async unendedBeyond (tx: Tx, userId: string, keep: number, now: Date): Promise<Unended[]> {
      const newest = within(tx).select({ id: sessions.id }).from(sessions).where(live(userId, now))
        .orderBy(desc(sessions.createdAt), desc(sessions.id)).limit(keep)
      const rows = await within(tx).select().from(sessions).where(and(unended(userId), notInArray(sessions.id, newest)))
      return rows.map(({ id, expiresAt, lastUsedAt }) => ({ id, live: expiresAt > now && !isIdle(lastUsedAt, now) }))
    },

    async isTokenReplaced (hash) {
      // The event was recorded in the transaction that ended the session: the index on a user's events finds it by its time.
      const near = sql`${events.createdAt} between ${sessions.endedAt} - interval '1 minute' and ${sessions.endedAt} + interval '1 minute'`
      const byLimit = eq(events.cause, 'session_limit')
      const rows = await database.query(db => db.select({ id: sessions.id }).from(tokens)
        .innerJoin(sessions, eq(sessions.id, tokens.sessionId))
        .innerJoin(events, and(eq(events.userId, sessions.userId), near, eq(events.sessionId, sessions.id), byLimit))
        .where(eq(tokens.hash, Buffer.from(hash.hex(), 'hex'))).limit(1))
      return rows.length > 0
    },

    async unendedExcept (tx: Tx, userId: string, except: string | null): Promise<string[]> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions)
        .where(and(unended(userId), except === null ? undefined : ne(sessions.id, except)))
      return rows.map(row => row.id)
    },

    async unendedOpenedBy (tx: Tx, userId: string, method: AuthenticationMethod): Promise<string[]> {
      const rows = await within(tx).select({ id: sessions.id }).from(sessions)
        .where(and(unended(userId), arrayContains(sessions.amr, [method])))
      return rows.map(row => row.id)
    },

    async setMethods (tx: RevokingTx, id: string, amr: AuthenticationMethod[]): Promise<void> {
      await within(tx).update(sessions).set({ amr }).where(eq(sessions.id, id))
    },

    async end (tx: RevokingTx, ids: string[], now: Date): Promise<string[]> {
      if (ids.length === 0) return []
      const ended = await within(tx).update(sessions).set({ endedAt: now })
        .where(and(inArray(sessions.id, ids), isNull(sessions.endedAt))).returning({ id: sessions.id })
      await erase(tx, inArray(sessionData.sessionId, ids))
      return ended.map(row => row.id)
    },

    async endOfUsers (tx: RevokingTx, userIds: string[], now: Date): Promise<Array<{ id: string, userId: string }>> {
      const ended = await within(tx).update(sessions).set({ endedAt: now })
        .where(and(inArray(sessions.userId, userIds), isNull(sessions.endedAt))).returning({ id: sessions.id, userId: sessions.userId })
      const ofUsers = within(tx).select({ id: sessions.id }).from(sessions).where(inArray(sessions.userId, userIds))
      await erase(tx, inArray(sessionData.sessionId, ofUsers))
      return ended
    },

    async deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number> {
      const some = within(tx).select({ id: sessions.id }).from(sessions).where(eq(sessions.userId, userId)).limit(limit)
      return (await within(tx).delete(sessions).where(inArray(sessions.id, some)).returning({ id: sessions.id })).length
    }
  }
}

/** Erases the data of sessions that end, or have ended on an instance of a version without data. */
async function erase (tx: RevokingTx, which: SQL): Promise<void> {
  await within(tx).update(sessionData).set({ data: '{}', erasedAt: sql`now()` }).where(and(which, isNull(sessionData.erasedAt)))
}
