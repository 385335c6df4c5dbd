import { and, desc, eq, inArray, lt, notInArray, or } from 'drizzle-orm'
import { knownNetworks, loginFailures, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import { nilUuid } from '../shared/ids.js'

export type AttemptStore = ReturnType<typeof createAttemptStore>

/** Which counters an attempt may count on: the account's, or, of a network it knows, one of their own. Hashes, both. */
export interface Keys { account: Buffer, network: Buffer }

/** Looks the network up and counts, in one statement: of many at once no more than the limit get a row back. */
const reserveText = `
  with counter as (
    select case when exists (select from known_networks where user_id = $1::uuid and network = decode($2, 'hex')) then decode($2, 'hex') else decode($3, 'hex') end as key
  )
  insert into login_failures as f (key, failures, last_failed_at) select key, 1, $4::timestamptz from counter
  on conflict (key) do update set failures = f.failures + 1, last_failed_at = excluded.last_failed_at where f.failures < $5::int
  returning failures`

export function createAttemptStore (database: Database) {
  const prunable = (before: Date, limit: number) => and(lt(loginFailures.lastFailedAt, before), lt(loginFailures.failures, limit))

  return {
    /** Counts an attempt as failed before anybody knows; the failures with it, or null where there were `limit` already. */
    async reserve (userId: string | null, { account, network }: Keys, limit: number, now: Date): Promise<number | null> {
      const [row] = await database.prepared<{ failures: number }>(reserveText, [userId ?? nilUuid, network.toString('hex'), account.toString('hex'), now.toISOString(), limit])
      return row?.failures ?? null
    },

    /** Forgets the failures on these counters. Who holds nothing else deletes them one by one: then nobody waits for him while he waits. */
    async clear ({ account, network }: Keys): Promise<void> {
      for (const key of [account, network]) await database.query(db => db.delete(loginFailures).where(eq(loginFailures.key, key)))
    },

    /** The same within `tx`, which holds the user's row. */
    async clearWithin (tx: Tx, { account, network }: Keys): Promise<void> {
      await within(tx).delete(loginFailures).where(inArray(loginFailures.key, [account, network]))
    },

    /** Forgets the failures on an account, from wherever they came. The caller holds the user's row. */
    async clearAll (tx: Tx, email: string, account: Buffer): Promise<void> {
      const known = within(tx).select({ network: knownNetworks.network }).from(knownNetworks).innerJoin(users, eq(users.id, knownNetworks.userId)).where(eq(users.email, email))
      await within(tx).delete(loginFailures).where(or(eq(loginFailures.key, account), inArray(loginFailures.key, known)))
    },

    /** Remembers a network, and no more than the `most` last seen. The caller holds the user's row. */
    async know (tx: Tx, userId: string, network: Buffer, now: Date, most: number): Promise<void> {
      await within(tx).insert(knownNetworks).values({ userId, network, lastSeenAt: now })
        .onConflictDoUpdate({ target: [knownNetworks.userId, knownNetworks.network], set: { lastSeenAt: now } })
      const newest = within(tx).select({ network: knownNetworks.network }).from(knownNetworks).where(eq(knownNetworks.userId, userId))
        .orderBy(desc(knownNetworks.lastSeenAt), desc(knownNetworks.network)).limit(most)
      await within(tx).delete(knownNetworks).where(and(eq(knownNetworks.userId, userId), notInArray(knownNetworks.network, newest)))
    },

    async countOld (before: Date, limit: number): Promise<number> {
      return await database.query(db => db.$count(loginFailures, prunable(before, limit)))
    },

    /** Deletes up to `batch` counters that stand still since `before` and below `limit`. Rows that somebody holds are left for the next run. */
    async deleteOld (before: Date, limit: number, batch: number): Promise<number> {
      return await database.query(async db => {
        const old = db.select({ key: loginFailures.key }).from(loginFailures).where(prunable(before, limit)).orderBy(loginFailures.lastFailedAt).limit(batch).for('update', { skipLocked: true })
        return (await db.delete(loginFailures).where(inArray(loginFailures.key, old)).returning({ key: loginFailures.key })).length
      })
    }
  }
}
