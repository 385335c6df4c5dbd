import { randomUUID } from 'node:crypto'
import { and, desc, eq, gt, inArray, isNotNull, isNull, ne, or, type SQL, sql } from 'drizzle-orm'
import { tokens } from '../../db/schema.js'
import { type Database, type Queries, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import { createFind } from './lookup-store.js'
import { TokenHash, type TokenKind } from './token.js'

export interface NewToken {
  hash: TokenHash
  kind: TokenKind
  /** Null for a service's. */
  userId: string | null
  sessionId: string | null
  abilities: string[]
  createdAt: Date
  expiresAt: Date | null
  name?: string
}

/** A refresh token as its row stands. */
export interface RefreshToken {
  id: string
  userId: string
  sessionId: string
  abilities: string[]
  createdAt: Date
  expiresAt: Date
  revoked: boolean
  consumedAt: Date | null
  successorSecret: Buffer | null
}

export interface PersonalToken { id: string, name: string, abilities: string[], createdAt: Date, expiresAt: Date | null, lastUsedAt: Date | null }

/** The token of a service, which is all that the service is here. */
export interface ServiceToken { id: string, name: string, createdAt: Date, lastUsedAt: Date | null }

/** A token of any kind as its row stands. */
export interface TokenRow { id: string, kind: TokenKind, userId: string | null, sessionId: string | null, expiresAt: Date | null, revoked: boolean }

/** Tokens in PostgreSQL: the truth. */
export type TokenStore = ReturnType<typeof createTokenStore>

export function createTokenStore (database: Database, { idleSeconds }: { idleSeconds: number | null } = { idleSeconds: null }) {
  return {
    /** What the database says of each of these hashes, in hexadecimal, at one instant after the call. */
    find: createFind(database, idleSeconds),

    async insert (tx: Tx, token: NewToken): Promise<string> {
      const id = randomUUID()
      await within(tx).insert(tokens).values({ ...token, id, hash: Buffer.from(token.hash.hex(), 'hex') })
      return id
    },

    /** Whether the token is live right now, in the database: what a cache said may have ended since. */
    async isLive (tx: Tx, tokenId: string, now: Date): Promise<boolean> {
      const [row] = await within(tx).select({ expiresAt: tokens.expiresAt }).from(tokens)
        .where(and(eq(tokens.id, tokenId), isNull(tokens.revokedAt)))
      return row !== undefined && (row.expiresAt === null || row.expiresAt > now)
    },

    /** The refresh token, whatever became of it; `tx` where its owner's row is taken. */
    async findRefresh (hash: TokenHash, tx?: Tx): Promise<RefreshToken | null> {
      const read = (db: Queries) => db.select().from(tokens).where(and(eq(tokens.hash, Buffer.from(hash.hex(), 'hex')), eq(tokens.kind, 'refresh')))
      const [row] = tx === undefined ? await database.query(read) : await read(within(tx))
      if (row === undefined || row.userId === null || row.sessionId === null || row.expiresAt === null) return null
      const { id, userId, sessionId, abilities, createdAt, expiresAt, consumedAt, successorSecret } = row
      return { id, userId, sessionId, abilities, createdAt, expiresAt, revoked: row.revokedAt !== null, consumedAt, successorSecret }
    },

    /** The token of that hash, whatever its kind and whatever became of it. */
    async findRow (tx: Tx, hash: TokenHash): Promise<TokenRow | null> {
      const [row] = await within(tx).select().from(tokens).where(eq(tokens.hash, Buffer.from(hash.hex(), 'hex')))
      if (row === undefined) return null
      const { id, kind, userId, sessionId, expiresAt } = row
      return { id, kind, userId, sessionId, expiresAt, revoked: row.revokedAt !== null }
    },

    async consume (tx: Tx, id: string, now: Date, successorSecret: Buffer): Promise<void> {
      await within(tx).update(tokens).set({ consumedAt: now, successorSecret }).where(eq(tokens.id, id))
    },

    /** The user's live personal tokens, newest first. */
    async listPersonal (userId: string, now: Date): Promise<PersonalToken[]> {
      const rows = await database.query(db => db.select().from(tokens)
        .where(and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), isNull(tokens.revokedAt), or(isNull(tokens.expiresAt), gt(tokens.expiresAt, now))))
        .orderBy(desc(tokens.createdAt), desc(tokens.id)))
      return rows.map(({ id, name, abilities, createdAt, expiresAt, lastUsedAt }) => ({ id, name: name ?? '', abilities, createdAt, expiresAt, lastUsedAt }))
    },

    /** Revokes one personal token of the user's, or all (null). Returns the ids of those that were not revoked before; null when there never was such a one. */
    async revokePersonal (tx: RevokingTx, userId: string, id: string | null): Promise<string[] | null> {
      const theirs = and(eq(tokens.userId, userId), eq(tokens.kind, 'personal'), id === null ? undefined : eq(tokens.id, id))
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(theirs, isNull(tokens.revokedAt))).returning({ id: tokens.id })
      const exists = ended.length > 0 || (await within(tx).select({ id: tokens.id }).from(tokens).where(theirs).limit(1)).length > 0
      return exists ? ended.map(row => row.id) : null
    },

    /** The services whose tokens nobody has revoked, newest first. */
    async listServices (): Promise<ServiceToken[]> {
      const rows = await database.query(db => db.select().from(tokens)
        .where(liveService)
        .orderBy(desc(tokens.createdAt), desc(tokens.id)))
      return rows.map(({ id, name, createdAt, lastUsedAt }) => ({ id, name: name ?? '', createdAt, lastUsedAt }))
    },

    /** Revokes the tokens of all services; returns their ids. For who makes every cache entry void: names none. */
    async revokeServices (tx: RevokingTx): Promise<string[]> {
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(liveService).returning({ id: tokens.id })
      return ended.map(({ id }) => id)
    },

    /** Revokes one token. Returns its hash, and whether it was not revoked before; null when there never was such a one. */
    async revokeOne (tx: RevokingTx, id: string, kind: TokenKind): Promise<{ hash: TokenHash, ended: boolean } | null> {
      const it = and(eq(tokens.id, id), eq(tokens.kind, kind))
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(it, isNull(tokens.revokedAt))).returning({ hash: tokens.hash })
      const [row] = ended.length > 0 ? ended : await within(tx).select({ hash: tokens.hash }).from(tokens).where(it)
      return row === undefined ? null : { hash: new TokenHash(row.hash.toString('hex')), ended: ended.length > 0 }
    },

    /** Revokes every token of these sessions. Only within the one door: see revocation.ts. */
    async revokeOfSessions (tx: RevokingTx, sessionIds: string[]): Promise<void> {
      if (sessionIds.length === 0) return
      await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(inArray(tokens.sessionId, sessionIds), isNull(tokens.revokedAt)))
    },

    /**
     * Hashes of the user's tokens revoked within the last `withinSeconds`, in this transaction or before: a first revoker may have died
     * before it reached the cache, so whoever repeats it has to name the same tokens again.
     */
    revokedOfUser: (tx: RevokingTx, userId: string, withinSeconds: number): Promise<TokenHash[]> => cacheable(tx, userId, revokedWithin(withinSeconds)),

    /** The same, and the hashes of those that live: for whatever changes what an entry says of its user. */
    cacheableOfUser: (tx: RevokingTx, userId: string, withinSeconds: number): Promise<TokenHash[]> => cacheable(tx, userId, or(isNull(tokens.revokedAt), revokedWithin(withinSeconds))),

    /** Revokes every token of these users; returns the personal ones among them. For who makes every cache entry void: names none. */
    async revokeOfUsers (tx: RevokingTx, userIds: string[]): Promise<Array<{ id: string, userId: string }>> {
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(inArray(tokens.userId, userIds), isNull(tokens.revokedAt)))
        .returning({ id: tokens.id, userId: tokens.userId, kind: tokens.kind })
      return ended.flatMap(({ id, userId, kind }) => kind === 'personal' && userId !== null ? [{ id, userId }] : [])
    },

    /** Deletes up to `limit` of the user's tokens; only once all of them are dead in every cache. Returns how many. */
    async deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number> {
      const some = within(tx).select({ id: tokens.id }).from(tokens).where(eq(tokens.userId, userId)).limit(limit)
      return (await within(tx).delete(tokens).where(inArray(tokens.id, some)).returning({ id: tokens.id })).length
    }
  }
}

/** Services alone have no user: the index on users finds them. */
const liveService = and(isNull(tokens.userId), eq(tokens.kind, 'service'), isNull(tokens.revokedAt))

const revokedWithin = (seconds: number) => and(isNotNull(tokens.revokedAt), sql`${tokens.revokedAt} > now() - make_interval(secs => ${seconds})`)

/** Those `which` of the user's tokens that a cache can hold: no refresh tokens, nor what has long expired; a session refreshed for weeks leaves thousands of rows. */
async function cacheable (tx: RevokingTx, userId: string, which: SQL | undefined): Promise<TokenHash[]> {
  const rows = await within(tx).select({ hash: tokens.hash }).from(tokens)
    .where(and(eq(tokens.userId, userId), ne(tokens.kind, 'refresh'), which, or(isNull(tokens.expiresAt), sql`${tokens.expiresAt} > now() - interval '1 hour'`)))
  return rows.map(row => new TokenHash(row.hash.toString('hex')))
}
