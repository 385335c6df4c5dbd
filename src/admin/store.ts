import { and, desc, eq, notLike, type SQL, sql } from 'drizzle-orm'
import { users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import { isBehind } from '../database/page.js'
import { overdueMs } from '../revocation/timing.js'
import type { Position } from '../shared/pagination.js'
import { deletedEmailPrefix } from '../users/deleted-accounts.js'
import type { User } from '../users/user.js'

/** A user as administrators see them. */
export type ListedUser = User & { disabledAt: string | null }

/** How many tokens of one kind there are. A refresh token that has been used counts as revoked. */
export interface TokenCount { kind: string, active: number, expired: number, revoked: number, neverUsed: number | null }

/** Sessions that are live, and those of them that were never used after the login. */
export interface SessionCount { active: number, neverUsed: number }

/** Accounts by state: `unverified` are enabled ones whose address nobody has proved, `admins` enabled administrators. */
export interface UserCount { total: number, disabled: number, unverified: number, admins: number }

/** What happened in one hour, counted since 1970 in UTC. */
export interface HourCount { hour: number, signIns: number, failures: number, registrations: number }

/** Which cache entries count, and how many revocations are waiting to be settled; overdue: for so long that somebody must have died. */
export interface EpochFacts { generation: number, incarnation: string | null, settlements: number, overdueSettlements: number }

export interface AdminStore {
  /** Newest first. */
  newest (page: { after: Position | null, limit: number }): Promise<ListedUser[]>
  /** Users whose address begins with `prefix`, by address. */
  byEmail (page: { prefix: string, after: string | null, limit: number }): Promise<ListedUser[]>
  /** Null for an account that is being deleted, too. */
  find (id: string): Promise<ListedUser | null>
  /** The account of exactly this address, normalised; null where there is none. */
  ofEmail (email: string): Promise<ListedUser | null>
  /** By kind; only personal tokens have a last use of their own. Null where counting would take too long. */
  tokens (now: Date): Promise<TokenCount[] | null>
  /** Null where counting would take too long. */
  sessions (now: Date): Promise<SessionCount | null>
  /** How many refresh tokens were reused since `since`, according to the audit trail; null where counting would take too long. */
  reuses (since: Date): Promise<number | null>
  /** PostgreSQL's own estimate of the rows of tokens; null where it has none. */
  estimatedTokens (): Promise<number | null>
  epoch (): Promise<EpochFacts>
  /** Null where counting would take too long. */
  users (): Promise<UserCount | null>
  /** The hours of [from, until) in which something happened, according to the audit trail; null where counting would take too long. */
  activity (from: Date, until: Date): Promise<HourCount[] | null>
}

/** Sorts after every continuation of a prefix, in byte order. */
const last = '\u{10FFFF}'

/** Timeout of each statistic, which is then null. */
const countingMs = 2_000

export function createAdminStore (database: Database): AdminStore {
  const isNotDeleted = notLike(users.email, `${deletedEmailPrefix}%`)

  async function select (condition: SQL | undefined, order: SQL[], limit: number): Promise<ListedUser[]> {
    const rows = await database.query(db => db.select().from(users).where(and(isNotDeleted, condition)).orderBy(...order).limit(limit))
    return rows.map(({ id, email, emailVerifiedAt, name, role, createdAt, disabledAt }) =>
      ({
        id,
        email,
        emailVerifiedAt: emailVerifiedAt?.toISOString() ?? null,
        name,
        role,
        createdAt: createdAt.toISOString(),
        disabledAt: disabledAt?.toISOString() ?? null
      }))
  }

  /** The rows of an expensive statement; null when it runs into the timeout. */
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
    newest: ({ after, limit }) =>
      select(isBehind(after, users), [desc(users.createdAt), desc(users.id)], limit),

    // A range in the order of the index, unlike LIKE, in which some characters would be wildcards.
    byEmail: ({ prefix, after, limit }) =>
      select(
        sql`${users.email} ~>=~ ${prefix} and ${users.email} ~<=~ ${prefix +
          last} ${after === null ? sql`` : sql`and ${users.email} ~>~ ${after}`}`,
        [sql`${users.email} using ~<~`],
        limit
      ),

    find: async id => (await select(eq(users.id, id), [desc(users.id)], 1))[0] ?? null,

    ofEmail: async email => (await select(eq(users.email, email), [], 1))[0] ?? null,

    tokens: now => count<TokenCount>(sql`
      select kind,
        count(*) filter (where revoked_at is null and consumed_at is null
          and (expires_at is null or expires_at > ${now.toISOString()}::timestamptz))::int as active,
        count(*) filter (where revoked_at is null and consumed_at is null
          and expires_at <= ${now.toISOString()}::timestamptz)::int as expired,
        count(*) filter (where revoked_at is not null or consumed_at is not null)::int as revoked,
        case kind when 'personal' then count(*) filter (where revoked_at is null and last_used_at is null
          and (expires_at is null or expires_at > ${now.toISOString()}::timestamptz))::int end as "neverUsed"
      from tokens group by kind order by kind`),

    async sessions (now) {
      const rows = await count<SessionCount>(sql`
        select count(*)::int as active, count(*) filter (where last_used_at <= created_at)::int as "neverUsed"
        from sessions where ended_at is null and expires_at > ${now.toISOString()}::timestamptz`)
      return rows?.[0] ?? null
    },

    async reuses (since) {
      const rows = await count<{ reuses: number }>(
        sql`select count(*)::int as reuses from events where type = 'refresh_token_reused' and created_at >= ${since.toISOString()}::timestamptz`
      )
      return rows?.[0]?.reuses ?? null
    },

    async estimatedTokens () {
      const [row] = await database.prepared<{ rows: number }>(
        "select reltuples::float8 as rows from pg_class where oid = 'tokens'::regclass",
        []
      )
      return row === undefined || row.rows < 0 ? null : row.rows
    },

    async users () {
      const rows = await count<UserCount>(sql`
        select count(*)::int as total, count(disabled_at)::int as disabled,
          (count(*) filter (where email_verified_at is null and disabled_at is null))::int as unverified,
          (count(*) filter (where role = 'admin' and disabled_at is null))::int as admins
        from users where ${isNotDeleted}`)
      return rows?.[0] ?? null
    },

    // By the index on the time, however old and long the trail is.
    activity: (from, until) => count<HourCount>(sql`
      select floor(extract(epoch from created_at) / 3600)::int as hour,
        (count(*) filter (where type = 'login_succeeded'))::int as "signIns",
        (count(*) filter (where type = 'login_failed'))::int as failures,
        (count(*) filter (where type = 'registered'))::int as registrations
      from events
      where created_at >= ${from.toISOString()}::timestamptz and created_at < ${until.toISOString()}::timestamptz
        and type in ('login_succeeded', 'login_failed', 'registered')
      group by 1`),

    async epoch () {
      const [row] = await database.prepared<{ generation: string | number, incarnation: string | null, open: number, overdue: number }>(
        `select generation, incarnation, (select count(*)::int from cache_settlements) as open,
          (select count(*)::int from cache_settlements where created_at < clock_timestamp() - $1 * interval '1 millisecond') as overdue
        from cache_epoch where id = 1`,
        [overdueMs]
      )
      return {
        generation: Number(row?.generation),
        incarnation: row?.incarnation ?? null,
        settlements: row?.open ?? 0,
        overdueSettlements: row?.overdue ?? 0
      }
    }
  }
}
