import { sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { sessions, tokens } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'

/** Tokens and sessions past their retention, in PostgreSQL. */
export interface RetentionStore {
  /** Counts what `delete` would delete if it were called until nothing is left. */
  count (before: Date): Promise<{ tokens: number, sessions: number }>
  /**
   * Deletes up to `limit` rows of each kind that expired or were revoked before `before`, or were used in a session that ended before it,
   * oldest first; null if another instance is pruning. Locked rows are left for the next run: pruning waits for nobody and blocks nobody.
   */
  delete (before: Date, limit: number): Promise<{ tokens: number, sessions: number } | null>
  /** Makes the space of all deleted rows usable again, where the database does not do so by itself. */
  reclaim (): Promise<void>
}

/** Each installation in a database prunes by itself. */
const lockId = "7402319 + (case current_schema() when 'public' then 0 else hashtext(current_schema()) end)"

export function createRetentionStore (database: Database): RetentionStore {
  return {
    async count (before) {
      return await database.query(async db => ({
        tokens: await db.$count(tokens, deadToken(before)),
        sessions: await db.$count(sessions, deadSession(before))
      }))
    },

    async delete (before, limit) {
      return await database.transaction(async tx => {
        const db = within(tx)
        const [lock] = await db.select({ held: sql<boolean>`pg_try_advisory_xact_lock(${sql.raw(lockId)})` }).from(sql`(values (1)) as one`)
        if (lock?.held !== true) return null
        // By ctid: a join on ids would read the whole table for a large batch.
        const oldest = (of: PgTable, end: PgColumn, unless = sql``) => sql`ctid = any(array(select ctid from ${of}
          where ${end} < ${before.toISOString()}::timestamptz ${unless} order by ${end} limit ${limit} for update skip locked))`
        const gone = [
          ...await db.delete(tokens).where(oldest(tokens, tokens.expiresAt)).returning({ id: tokens.id }),
          ...await db.delete(tokens).where(oldest(tokens, tokens.revokedAt)).returning({ id: tokens.id }),
          // Used refresh tokens of sessions that ended: those aren't revoked. Session by session: a join would read every token there is.
          ...await db.delete(tokens).where(sql`ctid = any(array(select used.place from ${sessions} cross join lateral (
            select ctid as place from ${tokens}
            where ${tokens.sessionId} = ${sessions.id} and ${tokens.kind} = 'refresh' and ${tokens.consumedAt} is not null
            limit ${limit} for update skip locked) used
            where ${sessions.endedAt} < ${before.toISOString()}::timestamptz order by ${sessions.endedAt} limit ${limit}))`)
            .returning({ id: tokens.id })
        ]
        // A sub-select for each session: left to itself, the planner would read every token there is.
        const unreferenced = sql`and (select true from ${tokens} where ${tokens.sessionId} = ${sessions.id} limit 1) is null`
        const over = [
          ...await db.delete(sessions).where(oldest(sessions, sessions.expiresAt, unreferenced)).returning({ id: sessions.id }),
          ...await db.delete(sessions).where(oldest(sessions, sessions.endedAt, unreferenced)).returning({ id: sessions.id })
        ]
        return { tokens: gone.length, sessions: over.length }
      })
    },

    async reclaim () {
      await database.vacuum?.()
    }
  }
}

const deadToken = (before: Date) =>
  sql`(${tokens.expiresAt} < ${before.toISOString()}::timestamptz or ${tokens.revokedAt} < ${before.toISOString()}::timestamptz
    or ${tokens.consumedAt} is not null and exists (
      select from sessions ended where ended.id = ${tokens.sessionId} and ended.ended_at < ${before.toISOString()}::timestamptz))`

/** A session is deleted once no token refers to it, apart from tokens that are deleted with it. */
const deadSession = (before: Date) =>
  sql`(${sessions.expiresAt} < ${before.toISOString()}::timestamptz or ${sessions.endedAt} < ${before.toISOString()}::timestamptz)
  and not exists (select from ${tokens} where ${tokens.sessionId} = ${sessions.id} and ${deadToken(before)} is not true)`
