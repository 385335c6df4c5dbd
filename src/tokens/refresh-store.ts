import { and, eq, sql } from 'drizzle-orm'
import { sessions, tokens } from '../../db/schema.js'
import { type Database, type Queries, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import { standby } from '../shared/errors.js'
import type { RefreshToken } from './rows.js'
import type { TokenHash } from './token.js'

/** Refresh tokens, which are consumed by their successors. */
export interface RefreshTokenStore {
  /**
   * The refresh token in whatever state, or null; within `tx` if the row of its user is locked. Throws UnavailableError on a standby, which
   * may not have it yet.
   */
  findRefresh (hash: TokenHash, tx?: Tx): Promise<RefreshToken | null>
  consume (tx: Tx, id: string, now: Date, successorSecret: Buffer): Promise<void>
}

export function createRefreshTokenStore (database: Pick<Database, 'query'>): RefreshTokenStore {
  return {
    async findRefresh (hash, tx) {
      const read = (db: Queries) =>
        db.select({ standby: sql<boolean>`server.standby`, row: tokens, endedAt: sessions.endedAt })
          .from(sql`(select pg_is_in_recovery() as standby) server`)
          .leftJoin(tokens, and(eq(tokens.hash, Buffer.from(hash.hex(), 'hex')), eq(tokens.kind, 'refresh')))
          .leftJoin(sessions, eq(sessions.id, tokens.sessionId))
      const [found] = tx === undefined ? await database.query(read) : await read(within(tx))
      if (found?.standby !== false) throw standby()
      const { row, endedAt } = found
      if (row === null || row.userId === null || row.sessionId === null || row.expiresAt === null) return null
      const { id, userId, sessionId, abilities, createdAt, expiresAt, revokedAt, consumedAt, successorSecret } = row
      // The end of a session leaves the rows of its used tokens as they are.
      const revoked = revokedAt !== null || endedAt !== null
      return { id, userId, sessionId, abilities, createdAt, expiresAt, revoked, consumedAt, successorSecret }
    },

    async consume (tx, id, now, successorSecret) {
      await within(tx).update(tokens).set({ consumedAt: now, successorSecret }).where(eq(tokens.id, id))
    }
  }
}
