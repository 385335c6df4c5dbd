import { and, desc, eq, notLike, type SQL, sql } from 'drizzle-orm'
import { users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Position } from '../shared/pagination.js'
import { deletedEmailPrefix } from '../users/deleted-accounts.js'
import type { User } from '../users/user.js'

/** A user as administrators see him. */
export type ListedUser = User & { disabledAt: string | null }

/** A line of the count of tokens, of one kind. */
export interface TokenCount { kind: string, active: number, expired: number, revoked: number, neverUsed: number | null }

/** Sessions that nobody has ended and that are not past their time, and those of them that were never used after the login. */
export interface SessionCount { active: number, neverUsed: number }

/** What the epoch says: which entries count, and what waits to be settled. */
export interface EpochFacts { generation: number, incarnation: string | null, settlements: number }

export type AdminStore = ReturnType<typeof createAdminStore>

/** Behind whatever goes on after a prefix, in the order of bytes. */
const last = '\u{10FFFF}'

/** What a statistic may cost the database, each; past it there is none. */
const countingMs = 2_000

export function createAdminStore (database: Database) {
  const there = notLike(users.email, `${deletedEmailPrefix}%`)

  async function select (condition: SQL | undefined, order: SQL[], limit: number): Promise<ListedUser[]> {
    const rows = await database.query(db => db.select().from(users).where(and(there, condition)).orderBy(...order).limit(limit))
    return rows.map(({ id, email, emailVerifiedAt, name, role, createdAt, disabledAt }) =>
      ({ id, email, emailVerifiedAt: emailVerifiedAt?.toISOString() ?? null, name, role, createdAt: createdAt.toISOString(), disabledAt: disabledAt?.toISOString() ?? null }))
  }

  /** The rows of a statement that looks at many; null where the database would have taken longer than it may. */
  async function count<Row> (statement: SQL): Promise<Row[] | null> {
    try {
      return await database.transaction(async tx => {
        await within(tx).execute(sql.raw(`set local statement_timeout = ${countingMs}`))
        const rows = await within(tx).execute(statement)
        return (Array.isArray(rows) ? rows : (rows as unknown as { rows: unknown[] }).rows) as Row[]
      })
    } catch (error) {
      if ((error as { detail?: unknown }).detail === '57014') return null
      throw error
    }
  }

  return {
    /** Newest first. */
    newest: ({ after, limit }: { after: Position | null, limit: number }): Promise<ListedUser[]> =>
      select(after === null ? undefined : sql`(${users.createdAt}, ${users.id}) < (${after.createdAt.toISOString()}::timestamptz, ${after.id}::uuid)`, [desc(users.createdAt), desc(users.id)], limit),

    /** Those whose address begins with `prefix`, by address, in the order of the index: a range, in which no character has a meaning of its own. */
    byEmail: ({ prefix, after, limit }: { prefix: string, after: string | null, limit: number }): Promise<ListedUser[]> =>
      select(sql`${users.email} ~>=~ ${prefix} and ${users.email} ~<=~ ${prefix + last} ${after === null ? sql`` : sql`and ${users.email} ~>~ ${after}`}`, [sql`${users.email} using ~<~`], limit),

    async exists (id: string): Promise<boolean> {
      const rows = await database.query(db => db.select({ id: users.id }).from(users).where(and(eq(users.id, id), there)))
      return rows.length > 0
    },

    /** By kind; a personal token alone has a last use of its own. Null where counting would take too long. */
    tokens: (now: Date): Promise<TokenCount[] | null> => count<TokenCount>(sql`
      select kind,
        count(*) filter (where revoked_at is null and (expires_at is null or expires_at > ${now.toISOString()}::timestamptz))::int as active,
        count(*) filter (where revoked_at is null and expires_at <= ${now.toISOString()}::timestamptz)::int as expired,
        count(*) filter (where revoked_at is not null)::int as revoked,
        case kind when 'personal' then count(*) filter (where revoked_at is null and last_used_at is null and (expires_at is null or expires_at > ${now.toISOString()}::timestamptz))::int end as "neverUsed"
      from tokens group by kind order by kind`),

    /** Null where counting would take too long. */
    async sessions (now: Date): Promise<SessionCount | null> {
      const rows = await count<SessionCount>(sql`
        select count(*)::int as active, count(*) filter (where last_used_at <= created_at)::int as "neverUsed"
        from sessions where ended_at is null and expires_at > ${now.toISOString()}::timestamptz`)
      return rows?.[0] ?? null
    },

    /** Refresh tokens presented a second time since `since`, as the audit trail has it; null where counting would take too long. */
    async reuses (since: Date): Promise<number | null> {
      const rows = await count<{ reuses: number }>(sql`select count(*)::int as reuses from events where type = 'refresh_token_reused' and created_at >= ${since.toISOString()}::timestamptz`)
      return rows?.[0]?.reuses ?? null
    },

    /** About how many rows of tokens there are, as PostgreSQL last estimated; null where it never did. */
    async estimatedTokens (): Promise<number | null> {
      const [row] = await database.prepared<{ rows: number }>("select reltuples::float8 as rows from pg_class where oid = 'tokens'::regclass", [])
      return row === undefined || row.rows < 0 ? null : row.rows
    },

    async epoch (): Promise<EpochFacts> {
      const [row] = await database.prepared<{ generation: string | number, incarnation: string | null, settlements: number }>(
        'select generation, incarnation, (select count(*)::int from cache_settlements) as settlements from cache_epoch where id = 1', [])
      return { generation: Number(row?.generation), incarnation: row?.incarnation ?? null, settlements: row?.settlements ?? 0 }
    }
  }
}
