import { and, desc, eq, inArray, lt, notInArray, or } from 'drizzle-orm'
import { knownNetworks, loginFailures, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import { nilUuid } from '../shared/ids.js'

/** Counters of failed logins, and the networks that an account knows. */
export interface AttemptStore {
  /** Counts an attempt as failed in advance; returns the failures including this one, or null when there were `limit` already. */
  reserve (userId: string | null, keys: Keys, limit: number, now: Date): Promise<number | null>
  /** Takes one failure back. */
  release (userId: string | null, keys: Keys): Promise<void>
  /** Clears these counters one after the other: outside of a transaction it never holds one lock while waiting for another. */
  clear (keys: Keys): Promise<void>
  /** The same within `tx`, which holds the user's row. */
  clearWithin (tx: Tx, keys: Keys): Promise<void>
  /** Clears the account's counters and those of all its known networks. The caller holds the user's row. */
  clearAll (tx: Tx, email: string, account: Buffer[]): Promise<void>
  /** Remembers a network, and forgets all but the `max` seen last. The caller holds the user's row. */
  rememberNetwork (tx: Tx, userId: string, network: Buffer, now: Date, max: number): Promise<void>
  countOld (before: Date, limit: number): Promise<number>
  /** Deletes up to `batch` counters below `limit` that haven't changed since `before`. Locked rows are left for the next run. */
  deleteOld (before: Date, limit: number, batch: number): Promise<number>
}

/** The counters of an attempt: the account's, or from a network that the account knows, the network's own. Both are keyed hashes. */
export interface Keys { account: Buffer, network: Buffer }

/** Looks the network up and counts in one statement: of any number of parallel attempts, no more than the limit get a row back. */
const counterText = `
  with counter as (
    select case when exists (select from known_networks where user_id = $1::uuid and network = decode($2, 'hex'))
      then decode($2, 'hex') else decode($3, 'hex') end as key
  )`

const reserveText = `${counterText}
  insert into login_failures as f (key, failures, last_failed_at) select key, 1, $4::timestamptz from counter
  on conflict (key) do update set failures = f.failures + 1, last_failed_at = excluded.last_failed_at where f.failures < $5::int
  returning failures`

const releaseText = `${counterText}
  update login_failures set failures = failures - 1 from counter where login_failures.key = counter.key and failures > 0`

export function createAttemptStore (database: Database): AttemptStore {
  const prunable = (before: Date, limit: number) => and(lt(loginFailures.lastFailedAt, before), lt(loginFailures.failures, limit))

  return {
    async reserve (userId: string | null, { account, network }: Keys, limit: number, now: Date): Promise<number | null> {
      const [row] = await database.prepared<{ failures: number }>(
        reserveText,
        [userId ?? nilUuid, network.toString('hex'), account.toString('hex'), now.toISOString(), limit]
      )
      return row?.failures ?? null
    },

    async release (userId: string | null, { account, network }: Keys): Promise<void> {
      await database.prepared(releaseText, [userId ?? nilUuid, network.toString('hex'), account.toString('hex')])
    },

    async clear ({ account, network }: Keys): Promise<void> {
      for (const key of [account, network]) await database.query(db => db.delete(loginFailures).where(eq(loginFailures.key, key)))
    },

    async clearWithin (tx: Tx, { account, network }: Keys): Promise<void> {
      await within(tx).delete(loginFailures).where(inArray(loginFailures.key, [account, network]))
    },

    async clearAll (tx: Tx, email: string, account: Buffer[]): Promise<void> {
      const known = within(tx).select({ network: knownNetworks.network }).from(knownNetworks)
        .innerJoin(users, eq(users.id, knownNetworks.userId))
        .where(eq(users.email, email))
      await within(tx).delete(loginFailures).where(or(inArray(loginFailures.key, account), inArray(loginFailures.key, known)))
    },

    async rememberNetwork (tx: Tx, userId: string, network: Buffer, now: Date, max: number): Promise<void> {
      await within(tx).insert(knownNetworks).values({ userId, network, lastSeenAt: now })
        .onConflictDoUpdate({ target: [knownNetworks.userId, knownNetworks.network], set: { lastSeenAt: now } })
      const newest = within(tx).select({ network: knownNetworks.network }).from(knownNetworks).where(eq(knownNetworks.userId, userId))
        .orderBy(desc(knownNetworks.lastSeenAt), desc(knownNetworks.network)).limit(max)
      await within(tx).delete(knownNetworks).where(and(eq(knownNetworks.userId, userId), notInArray(knownNetworks.network, newest)))
    },

    async countOld (before: Date, limit: number): Promise<number> {
      return await database.query(db => db.$count(loginFailures, prunable(before, limit)))
    },

    async deleteOld (before: Date, limit: number, batch: number): Promise<number> {
      return await database.query(async db => {
        const old = db.select({ key: loginFailures.key }).from(loginFailures).where(prunable(before, limit))
          .orderBy(loginFailures.lastFailedAt)
          .limit(batch)
          .for('update', { skipLocked: true })
        return (await db.delete(loginFailures).where(inArray(loginFailures.key, old)).returning({ key: loginFailures.key })).length
      })
    }
  }
}
