import { randomUUID } from 'node:crypto'
import { and, desc, eq, gt, inArray, isNotNull, isNull, lt, ne, or, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { secrets, sessions, tokens } from '../../db/schema.js'
import { byteaArray, type Database, type Queries, touchParameters, touchText, within } from '../edges/database.js'
import { UnavailableError } from '../errors.js'
import type { Tx } from '../transaction.js'
import type { AnyPrincipal } from './principal.js'
import type { RevokingTx } from './revocation.js'
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

/** What the database says of a hash. Only `revoked` is final for every instance: clocks differ on what is `over`, and a user may be enabled again. */
export type Found = { state: 'live', principal: AnyPrincipal } | { state: 'revoked' } | { state: 'over' } | { state: 'disabled' } | { state: 'unknown' }

interface Row {
  standby: boolean
  hash: string | null
  token_id: string
  kind: string
  abilities: string[]
  token_created: number
  token_expires: number | null
  revoked: boolean
  session_id: string | null
  device_name: string | null
  session_created: number
  session_expires: number
  session_used: number
  user_id: string | null
  email: string
  verified: number | null
  name: string | null
  role: 'user' | 'admin'
  user_created: number
  disabled: boolean
}

const ms = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`

/** One row at least: the left join tells a standby even where no token is found. */
const findText = `
  select r.standby, encode(t.hash, 'hex') as hash, t.id as token_id, t.kind, to_json(t.abilities) as abilities,
    ${ms('t.created_at')} as token_created, ${ms('t.expires_at')} as token_expires, t.revoked_at is not null as revoked,
    s.id as session_id, s.device_name, ${ms('s.created_at')} as session_created, ${ms('s.expires_at')} as session_expires, ${ms('s.last_used_at')} as session_used,
    u.id as user_id, u.email, ${ms('u.email_verified_at')} as verified, u.name, u.role, ${ms('u.created_at')} as user_created,
    u.disabled_at is not null as disabled
  from (select pg_is_in_recovery() as standby) r
  left join (tokens t left join users u on u.id = t.user_id left join sessions s on s.id = t.session_id) on t.hash = any($1::bytea[]) and t.kind <> 'refresh'`

/** Tokens in PostgreSQL: the truth. */
export type TokenStore = ReturnType<typeof createTokenStore>

export function createTokenStore (database: Database, { idleSeconds }: { idleSeconds: number | null } = { idleSeconds: null }) {
  return {
    /** The key named `name`, made at the first migration. */
    async requireKey (name: string): Promise<Buffer> {
      const [row] = await database.query(db => db.select({ value: secrets.value }).from(secrets).where(eq(secrets.name, name)))
      if (row === undefined) throw new Error(`the database has no key "${name}": run the migrations`)
      return row.value
    },

    /** What the database says of each of `hexes`, at one instant after the call. */
    async find (hexes: string[], nowMs: number): Promise<Map<string, Found>> {
      const rows = await database.prepared<Row>(findText, [byteaArray(hexes)])
      // A standby lags: it would accept what the primary has revoked, and refuse what it has just issued.
      if (rows.length === 0 || rows[0]?.standby !== false) throw Object.assign(new UnavailableError(), { retryAfterSeconds: 2, detail: 'STANDBY' })
      const found = new Map<string, Found>()
      for (const row of rows) if (row.hash !== null) found.set(row.hash, judge(row, nowMs, idleSeconds))
      return found
    },

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

    /**
     * Erases the secrets of refresh tokens consumed before `before`: from then on nobody can tell their successors. Rows that somebody
     * holds are left for the next time: a login locks several in an order of its own, and each would wait for the other.
     */
    async eraseSecrets (before: Date): Promise<void> {
      await database.query(db => {
        const old = db.select({ id: tokens.id }).from(tokens).where(and(isNotNull(tokens.successorSecret), lt(tokens.consumedAt, before)))
          .for('no key update', { skipLocked: true })
        return db.update(tokens).set({ successorSecret: null }).where(inArray(tokens.id, old))
      })
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
        // They alone have no user: the index on users finds them.
        .where(and(isNull(tokens.userId), eq(tokens.kind, 'service'), isNull(tokens.revokedAt)))
        .orderBy(desc(tokens.createdAt), desc(tokens.id)))
      return rows.map(({ id, name, createdAt, lastUsedAt }) => ({ id, name: name ?? '', createdAt, lastUsedAt }))
    },

    /** Revokes one token. Returns its hash, and whether it was not revoked before; null when there never was such a one. */
    async revokeOne (tx: RevokingTx, id: string, kind: TokenKind): Promise<{ hash: TokenHash, ended: boolean } | null> {
      const it = and(eq(tokens.id, id), eq(tokens.kind, kind))
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(it, isNull(tokens.revokedAt))).returning({ hash: tokens.hash })
      const [row] = ended.length > 0 ? ended : await within(tx).select({ hash: tokens.hash }).from(tokens).where(it)
      return row === undefined ? null : { hash: new TokenHash(row.hash.toString('hex')), ended: ended.length > 0 }
    },

    /** Notes when personal and service tokens were used; rows that somebody holds are never waited for, but left out: returns their ids. */
    async touch (used: Map<string, number>): Promise<string[]> {
      const rows = await database.prepared<{ id: string }>(touchText('tokens'), touchParameters(used))
      return rows.map(row => row.id)
    },

    /** Revokes every token of these sessions. Only within the one door: see revocation.ts. */
    async revokeOfSessions (tx: RevokingTx, sessionIds: string[]): Promise<void> {
      if (sessionIds.length === 0) return
      await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(and(inArray(tokens.sessionId, sessionIds), isNull(tokens.revokedAt)))
    },

    /**
     * Hashes of the user's tokens revoked within the last `withinSeconds`, in this transaction or before: a first revoker may have died
     * before it reached the cache, so whoever repeats it has to name the same tokens again. Without those that no cache can hold: refresh
     * tokens, and what has long expired; a session refreshed for weeks leaves thousands of rows.
     */
    async revokedOfUser (tx: RevokingTx, userId: string, withinSeconds: number): Promise<TokenHash[]> {
      const rows = await within(tx).select({ hash: tokens.hash }).from(tokens)
        .where(and(
          eq(tokens.userId, userId),
          ne(tokens.kind, 'refresh'),
          isNotNull(tokens.revokedAt),
          sql`${tokens.revokedAt} > now() - make_interval(secs => ${withinSeconds})`,
          or(isNull(tokens.expiresAt), sql`${tokens.expiresAt} > now() - interval '1 hour'`)
        ))
      return rows.map(row => new TokenHash(row.hash.toString('hex')))
    },

    /** The same, and the hashes of those that live: for whatever changes what an entry says of its user. */
    async cacheableOfUser (tx: RevokingTx, userId: string, withinSeconds: number): Promise<TokenHash[]> {
      const rows = await within(tx).select({ hash: tokens.hash }).from(tokens)
        .where(and(
          eq(tokens.userId, userId),
          ne(tokens.kind, 'refresh'),
          or(isNull(tokens.revokedAt), sql`${tokens.revokedAt} > now() - make_interval(secs => ${withinSeconds})`),
          or(isNull(tokens.expiresAt), sql`${tokens.expiresAt} > now() - interval '1 hour'`)
        ))
      return rows.map(row => new TokenHash(row.hash.toString('hex')))
    },

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
    },

    /** Counts what `deleteDead` would delete, were it called until nothing is left. */
    async countDead (before: Date): Promise<{ tokens: number, sessions: number }> {
      return await database.query(async db => ({
        tokens: await db.$count(tokens, deadToken(before)),
        sessions: await db.$count(sessions, deadSession(before))
      }))
    },

    /**
     * Deletes up to `limit` rows that expired or were revoked before `before`, oldest first; null when another instance is at it.
     * Rows that somebody holds are left for the next run: pruning waits for nobody and blocks nobody.
     */
    async deleteDead (before: Date, limit: number): Promise<{ tokens: number, sessions: number } | null> {
      return await database.transaction(async tx => {
        const db = within(tx)
        const [lock] = await db.select({ held: sql<boolean>`pg_try_advisory_xact_lock(7402319)` }).from(sql`(values (1)) as one`)
        if (lock?.held !== true) return null
        // By place: a join on ids would read the whole table for a large batch.
        const oldest = (of: PgTable, end: PgColumn, unless = sql``) => sql`ctid = any(array(select ctid from ${of}
          where ${end} < ${before.toISOString()}::timestamptz ${unless} order by ${end} limit ${limit} for update skip locked))`
        const gone = [
          ...await db.delete(tokens).where(oldest(tokens, tokens.expiresAt)).returning({ id: tokens.id }),
          ...await db.delete(tokens).where(oldest(tokens, tokens.revokedAt)).returning({ id: tokens.id })
        ]
        // One by one, whatever the planner thinks of the number: it would rather read every token there is.
        const unreferenced = sql`and (select true from ${tokens} where ${tokens.sessionId} = ${sessions.id} limit 1) is null`
        const over = [
          ...await db.delete(sessions).where(oldest(sessions, sessions.expiresAt, unreferenced)).returning({ id: sessions.id }),
          ...await db.delete(sessions).where(oldest(sessions, sessions.endedAt, unreferenced)).returning({ id: sessions.id })
        ]
        return { tokens: gone.length, sessions: over.length }
      })
    }
  }
}

function judge (row: Row, nowMs: number, idleSeconds: number | null): Found {
  const inSession = row.session_id !== null
  const expiresAtMs = Math.min(row.token_expires ?? Number.MAX_SAFE_INTEGER, inSession ? row.session_expires : Number.MAX_SAFE_INTEGER)
  const idleAtMs = inSession && idleSeconds !== null ? row.session_used + idleSeconds * 1000 : null
  if (row.revoked) return { state: 'revoked' }
  if (expiresAtMs <= nowMs || (idleAtMs !== null && idleAtMs <= nowMs)) return { state: 'over' }
  if (row.disabled) return { state: 'disabled' }
  const token = { id: row.token_id, kind: row.kind, abilities: row.abilities, expiresAt: row.token_expires === null ? null : iso(row.token_expires) }
  if (row.user_id === null) return { state: 'live', principal: { issuedAtMs: row.token_created, expiresAtMs, token, session: null, user: null } }
  return {
    state: 'live',
    principal: {
      issuedAtMs: row.token_created,
      expiresAtMs,
      ...idleAtMs === null ? {} : { idleAtMs },
      token,
      session: row.session_id === null ? null : { id: row.session_id, deviceName: row.device_name, createdAt: iso(row.session_created), expiresAt: iso(row.session_expires) },
      user: { id: row.user_id, email: row.email, emailVerifiedAt: row.verified === null ? null : iso(row.verified), name: row.name, role: row.role, createdAt: iso(row.user_created) }
    }
  }
}

const iso = (atMs: number) => new Date(atMs).toISOString()

const deadToken = (before: Date) => sql`(${tokens.expiresAt} < ${before.toISOString()}::timestamptz or ${tokens.revokedAt} < ${before.toISOString()}::timestamptz)`

/** A session goes once nothing points at it any more: what would be deleted with it doesn't count. */
const deadSession = (before: Date) => sql`(${sessions.expiresAt} < ${before.toISOString()}::timestamptz or ${sessions.endedAt} < ${before.toISOString()}::timestamptz)
  and not exists (select from ${tokens} where ${tokens.sessionId} = ${sessions.id} and ${deadToken(before)} is not true)`
