import { and, desc, eq, gt, gte, isNull, lt, not, or, sql } from 'drizzle-orm'
import { tokens } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import { isBehind } from '../database/page.js'
import type { RevokingTx, Tx } from '../database/transaction.js'
import type { Position } from '../shared/pagination.js'
import type { PersonalToken, ServiceToken } from './rows.js'

/** From `from` on, and before `until`. */
export interface Period { from: Date, until: Date }

/** Tokens that belong to no session: personal tokens, and those of services. */
export interface ProgramTokenStore {
  /** How many live personal tokens the user has. */
  countPersonal (tx: Tx, userId: string, now: Date): Promise<number>
  /** Up to `limit` of the user's live personal tokens behind `after`, newest first. */
  listPersonal (userId: string, now: Date, page: { after: Position | null, limit: number }): Promise<PersonalToken[]>
  /**
   * Revokes one personal token of the user's, or all of them (null) but those made in `keep`. Returns the ids of those that were live; null
   * if there is no such token.
   */
  revokePersonal (tx: RevokingTx, userId: string, id: string | null, keep?: Period): Promise<string[] | null>
  /** Whether a living service has the name. Until `tx` ends, nobody else finds that out: of two that ask, one sees what the other made. */
  isServiceNamed (tx: Tx, name: string): Promise<boolean>
  /** Up to `limit` of the services whose tokens aren't revoked behind `after`, newest first. */
  listServices (page: { after: Position | null, limit: number }): Promise<ServiceToken[]>
  /** Revokes the tokens of all services and returns their ids. For callers that void every cache entry: names none. */
  revokeServices (tx: RevokingTx): Promise<string[]>
}

export function createProgramTokenStore (database: Pick<Database, 'query'>): ProgramTokenStore {
  return {
    countPersonal: (tx, userId, now) => within(tx).$count(tokens, livePersonal(userId, now)),

    async listPersonal (userId, now, { after, limit }) {
      const rows = await database.query(db => db.select().from(tokens)
        .where(and(livePersonal(userId, now), isBehind(after, tokens)))
        .orderBy(desc(tokens.createdAt), desc(tokens.id)).limit(limit))
      return rows.map(({ id, name, abilities, createdAt, expiresAt, lastUsedAt }) =>
        ({ id, name: name ?? '', abilities, createdAt, expiresAt, lastUsedAt }))
    },

    async revokePersonal (tx: RevokingTx, userId, id, keep) {
      const kept = keep === undefined ? undefined : and(gte(tokens.createdAt, keep.from), lt(tokens.createdAt, keep.until))
      const which = id === null ? kept && not(kept) : eq(tokens.id, id)
      const theirs = and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), which)
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(theirs, isNull(tokens.revokedAt)))
        .returning({ id: tokens.id })
      const exists = ended.length > 0 || (await within(tx).select({ id: tokens.id }).from(tokens).where(theirs).limit(1)).length > 0
      return exists ? ended.map(row => row.id) : null
    },

    async isServiceNamed (tx, name) {
      // Not by a unique index: databases from before may have two services of one name.
      await within(tx).execute(sql`select pg_advisory_xact_lock(7402320)`)
      return (await within(tx).select({ id: tokens.id }).from(tokens).where(and(liveService, eq(tokens.name, name))).limit(1)).length > 0
    },

    async listServices ({ after, limit }) {
      const rows = await database.query(db => db.select().from(tokens)
        .where(and(liveService, isBehind(after, tokens)))
        .orderBy(desc(tokens.createdAt), desc(tokens.id)).limit(limit))
      return rows.map(({ id, name, createdAt, lastUsedAt }) => ({ id, name: name ?? '', createdAt, lastUsedAt }))
    },

    async revokeServices (tx: RevokingTx) {
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(liveService).returning({ id: tokens.id })
      return ended.map(({ id }) => id)
    }
  }
}

const livePersonal = (userId: string, now: Date) =>
  and(
    eq(tokens.userId, userId),
    eq(tokens.kind, 'personal'),
    isNull(tokens.revokedAt),
    or(isNull(tokens.expiresAt), gt(tokens.expiresAt, now))
  )

/** Only services have no user: the index on users finds them. */
const liveService = and(isNull(tokens.userId), eq(tokens.kind, 'service'), isNull(tokens.revokedAt))
