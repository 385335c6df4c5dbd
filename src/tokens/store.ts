import { randomUUID } from 'node:crypto'
import { and, eq, gt, inArray, isNull, ne, or, type SQL, sql } from 'drizzle-orm'
import { unionAll } from 'drizzle-orm/pg-core'
import { sessionData, sessions, tokens } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { RevokingTx, Tx } from '../database/transaction.js'
import { maxNamed } from '../revocation/naming.js'
import { createTokenLookUp, type TokenLookUp } from './lookup-store.js'
import { createProgramTokenStore, type ProgramTokenStore } from './program-store.js'
import { createRefreshTokenStore, type RefreshTokenStore } from './refresh-store.js'
import type { NewToken, TokenRow } from './rows.js'
import { createSurplusStore, revokedWithin, type SurplusStore } from './surplus-store.js'
import { sessionDataHash, TokenHash, type TokenKind } from './token.js'

/** Inserts, ends and deletes tokens of every kind. */
export interface TokenWriter {
  insert (tx: Tx, token: NewToken): Promise<string>
  /** Whether the database calls the token live: a cached one may have ended since. */
  isLive (tx: Tx, tokenId: string, now: Date): Promise<boolean>
  /** The token of that hash, of whatever kind and in whatever state; null if there is none. */
  findRow (tx: Tx, hash: TokenHash): Promise<TokenRow | null>
  /** Revokes one token. Returns its hash, and whether it was live until now; null if there is no such token. */
  revokeOne (tx: RevokingTx, id: string, kind: TokenKind): Promise<{ hash: TokenHash, ended: boolean } | null>
  /**
   * Revokes the tokens of sessions that end, but for used refresh tokens, of which there may be very many: the session's end says enough
   * about those.
   */
  revokeOfSessions (tx: RevokingTx, sessionIds: string[]): Promise<void>
  /** Revokes all tokens of a session that goes on under new ones: used refresh tokens too, or whoever has one could still end it. */
  revokeAllOfSession (tx: RevokingTx, sessionId: string): Promise<void>
  /**
   * The same for these users, all of whose sessions end with it. Returns the personal ones among them. For callers that void every cache
   * entry: names none.
   */
  revokeOfUsers (tx: RevokingTx, userIds: string[]): Promise<Array<{ id: string, userId: string }>>
  /**
   * Hashes of the user's tokens revoked within the last `withinSeconds`, in this transaction or before, and of the data of sessions ended
   * then: a first revoker may have died before it reached the cache, so a repeated request has to name the same ones again.
   */
  revokedOfUser (tx: RevokingTx, userId: string, withinSeconds: number): Promise<TokenHash[]>
  /** The same, and the hashes of the user's live tokens: for changes of what an entry says about its user. */
  cacheableOfUser (tx: RevokingTx, userId: string, withinSeconds: number): Promise<TokenHash[]>
  /** Deletes up to `limit` of the user's tokens, all of which must be dead in every cache; returns how many. */
  deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number>
}

/** Tokens in PostgreSQL: the truth. */
export interface TokenStore extends TokenLookUp, TokenWriter, RefreshTokenStore, ProgramTokenStore, SurplusStore {}

export function createTokenStore (database: Database, { idleSeconds }: { idleSeconds: number | null } = { idleSeconds: null }): TokenStore {
  return {
    ...createTokenLookUp(database, idleSeconds),
    ...createRefreshTokenStore(database),
    ...createProgramTokenStore(database),
    ...createSurplusStore(),

    async insert (tx, token) {
      const id = randomUUID()
      await within(tx).insert(tokens).values({ ...token, id, hash: Buffer.from(token.hash.hex(), 'hex') })
      return id
    },

    async isLive (tx, tokenId, now) {
      const [row] = await within(tx).select({ expiresAt: tokens.expiresAt }).from(tokens)
        .where(and(eq(tokens.id, tokenId), isNull(tokens.revokedAt)))
      return row !== undefined && (row.expiresAt === null || row.expiresAt > now)
    },

    async findRow (tx, hash) {
      const [row] = await within(tx).select().from(tokens).where(eq(tokens.hash, Buffer.from(hash.hex(), 'hex')))
      if (row === undefined) return null
      const { id, kind, userId, sessionId, expiresAt } = row
      return { id, kind, userId, sessionId, expiresAt, revoked: row.revokedAt !== null }
    },

    async revokeOne (tx: RevokingTx, id, kind) {
      const it = and(eq(tokens.id, id), eq(tokens.kind, kind))
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(it, isNull(tokens.revokedAt)))
        .returning({ hash: tokens.hash })
      const [row] = ended.length > 0 ? ended : await within(tx).select({ hash: tokens.hash }).from(tokens).where(it)
      return row === undefined ? null : { hash: new TokenHash(row.hash.toString('hex')), ended: ended.length > 0 }
    },

    async revokeOfSessions (tx: RevokingTx, sessionIds) {
      if (sessionIds.length === 0) return
      await within(tx).update(tokens).set({ revokedAt: sql`now()` })
        .where(and(inArray(tokens.sessionId, sessionIds), unspent))
    },

    async revokeAllOfSession (tx: RevokingTx, sessionId) {
      await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(eq(tokens.sessionId, sessionId), isNull(tokens.revokedAt)))
    },

    async revokeOfUsers (tx: RevokingTx, userIds) {
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` })
        .where(and(inArray(tokens.userId, userIds), unspent))
        .returning({ id: tokens.id, userId: tokens.userId, kind: tokens.kind })
      return ended.flatMap(({ id, userId, kind }) => kind === 'personal' && userId !== null ? [{ id, userId }] : [])
    },

    revokedOfUser: (tx, userId, withinSeconds) => cacheable(tx, userId, revokedWithin(withinSeconds), withinSeconds),
    cacheableOfUser: (tx, userId, withinSeconds) =>
      cacheable(tx, userId, or(isNull(tokens.revokedAt), revokedWithin(withinSeconds)), withinSeconds),

    async deleteOfUser (tx, userId, limit) {
      const some = within(tx).select({ id: tokens.id }).from(tokens).where(eq(tokens.userId, userId)).limit(limit)
      return (await within(tx).delete(tokens).where(inArray(tokens.id, some)).returning({ id: tokens.id })).length
    }
  }
}

/** Neither revoked nor, of a refresh token, exchanged for the next. */
const unspent = and(isNull(tokens.revokedAt), isNull(tokens.consumedAt))

/** A column of either half of a union, of which the other half has another. */
const either = (column: SQL) => sql<string | null>`${column}`

/**
 * Hashes `which` a cache may hold: no refresh tokens, and none that expired long ago, as a session that was refreshed for weeks leaves
 * thousands of rows; and those of the data of sessions ended within `withinSeconds`. At most one more than may be named: then none is.
 */
async function cacheable (tx: RevokingTx, userId: string, which: SQL | undefined, withinSeconds: number): Promise<TokenHash[]> {
  const ofTokens = within(tx).select({ hex: either(sql`encode(${tokens.hash}, 'hex')`), sessionId: either(sql`null::uuid`) }).from(tokens)
    .where(and(
      eq(tokens.userId, userId),
      ne(tokens.kind, 'refresh'),
      which,
      or(isNull(tokens.expiresAt), sql`${tokens.expiresAt} > now() - interval '1 hour'`)
    ))
  const ofData = within(tx).select({ hex: either(sql`null::text`), sessionId: either(sql`${sessionData.sessionId}`) }).from(sessionData)
    .innerJoin(sessions, eq(sessions.id, sessionData.sessionId))
    .where(and(eq(sessions.userId, userId), gt(sessionData.erasedAt, sql`now() - make_interval(secs => ${withinSeconds})`)))
  const rows = await unionAll(ofTokens, ofData).limit(maxNamed + 1)
  return rows.map(({ hex, sessionId }) => sessionId === null ? new TokenHash(hex as string) : sessionDataHash(sessionId))
}
