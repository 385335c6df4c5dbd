import { randomUUID } from 'node:crypto'
import { and, asc, eq, gt, inArray, isNull, like, ne, or, sql } from 'drizzle-orm'
import { sessions, tokens, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import { buriedPrefix } from './deleted-accounts.js'
import type { User } from './user.js'

/** A user with what decides whether a login succeeds. */
export interface Credentials { user: User, passwordHash: string, disabled: boolean }

export interface NewUser { email: string, name: string | null, passwordHash: string, createdAt: Date, emailVerifiedAt?: Date | null, role?: User['role'] }

export type UserStore = ReturnType<typeof createUserStore>

export function createUserStore (database: Database) {
  return {
    async findByEmail (email: string): Promise<Credentials | null> {
      const [row] = await database.query(db => db.select().from(users).where(eq(users.email, email)))
      return row === undefined ? null : toCredentials(row)
    },

    async findById (id: string): Promise<Credentials | null> {
      const [row] = await database.query(db => db.select().from(users).where(eq(users.id, id)))
      return row === undefined ? null : toCredentials(row)
    },

    /** Takes the user's row until the end of `tx`: every writer of a user's tokens, role or flags does, so they take turns. */
    async lock (tx: Tx, id: string): Promise<Credentials | null> {
      const [row] = await within(tx).select().from(users).where(eq(users.id, id)).for('update')
      return row === undefined ? null : toCredentials(row)
    },

    /** The same of several, in one order for all who take more than one. */
    async lockAll (tx: Tx, ids: string[]): Promise<Map<string, Credentials>> {
      const rows = await within(tx).select().from(users).where(inArray(users.id, ids)).orderBy(asc(users.id)).for('update')
      return new Map(rows.map(row => [row.id, toCredentials(row)]))
    },

    /** Takes the rows of up to `limit` users behind `after`, by id, who have a token or a session that nobody has ended. */
    async lockNext (tx: Tx, after: string, limit: number): Promise<string[]> {
      const rows = await within(tx).select({ id: users.id }).from(users)
        .where(and(gt(users.id, after), or(
          sql`exists (select from ${tokens} where ${tokens.userId} = ${users.id} and ${tokens.revokedAt} is null)`,
          sql`exists (select from ${sessions} where ${sessions.userId} = ${users.id} and ${sessions.endedAt} is null)`
        )))
        .orderBy(asc(users.id)).limit(limit).for('update')
      return rows.map(row => row.id)
    },

    /** Null when the email is taken. */
    async insert (tx: Tx, user: NewUser): Promise<User | null> {
      const [row] = await within(tx).insert(users).values({ ...user, id: randomUUID() })
        .onConflictDoNothing({ target: users.email }).returning()
      return row === undefined ? null : toCredentials(row).user
    },

    /** Those of `emails` that have an account. */
    async findTaken (emails: string[]): Promise<Set<string>> {
      if (emails.length === 0) return new Set()
      const rows = await database.query(db => db.select({ email: users.email }).from(users).where(inArray(users.email, emails)))
      return new Set(rows.map(row => row.email))
    },

    /** Returns the emails of those left out, as they were taken. */
    async insertMany (tx: Tx, many: NewUser[]): Promise<Set<string>> {
      if (many.length === 0) return new Set()
      const rows = await within(tx).insert(users).values(many.map(user => ({ ...user, id: randomUUID() })))
        .onConflictDoNothing({ target: users.email }).returning({ email: users.email })
      const inserted = new Set(rows.map(row => row.email))
      return new Set(many.map(user => user.email).filter(email => !inserted.has(email)))
    },

    /** Null when another account has it; two that take it at once meet the constraint of the table. */
    async setVerifiedEmail (tx: RevokingTx, id: string, email: string, at: Date): Promise<User | null> {
      const [taken] = await within(tx).select({ id: users.id }).from(users).where(and(eq(users.email, email), ne(users.id, id)))
      if (taken !== undefined) return null
      const [row] = await within(tx).update(users).set({ email, emailVerifiedAt: at }).where(eq(users.id, id)).returning()
      return row === undefined ? null : toCredentials(row).user
    },

    /** Only with every entry that says the old one settled, hence the type. */
    async setName (tx: RevokingTx, id: string, name: string | null): Promise<void> {
      await within(tx).update(users).set({ name }).where(eq(users.id, id))
    },

    /** Only with every entry that says the old one settled, hence the type. */
    async setRole (tx: RevokingTx, id: string, role: User['role']): Promise<void> {
      await within(tx).update(users).set({ role }).where(eq(users.id, id))
    },

    /** Disables (or with null enables) an account; only with every entry of it settled, hence the type. */
    async setDisabled (tx: RevokingTx, id: string, at: Date | null): Promise<void> {
      await within(tx).update(users).set({ disabledAt: at }).where(eq(users.id, id))
    },

    /** Makes whoever may remove an administrator take turns until the end of `tx`; before any row is taken. */
    async lockAdmins (tx: Tx): Promise<void> {
      await within(tx).execute(sql`select pg_advisory_xact_lock(7402321)`)
    },

    /** Whether anybody but `id` could administer. The role is a literal, so that the index of admins counts in every plan. */
    async hasOtherAdmin (tx: Tx, id: string): Promise<boolean> {
      const rows = await within(tx).select({ id: users.id }).from(users).where(and(sql`${users.role} = 'admin'`, isNull(users.disabledAt), ne(users.id, id))).limit(1)
      return rows.length > 0
    },

    /** Leaves nothing of a person in the row, and nothing to log in with; the address is free from here on. Its sessions and tokens end in the same transaction, hence the type. */
    async bury (tx: RevokingTx, id: string, now: Date): Promise<void> {
      await within(tx).update(users).set({ email: `${buriedPrefix}${id}`, emailVerifiedAt: null, name: null, disabledAt: now }).where(eq(users.id, id))
    },

    /** Up to `limit` buried accounts: whoever buried them may have died before he deleted them. */
    async findBuried (limit: number): Promise<string[]> {
      const rows = await database.query(db => db.select({ id: users.id }).from(users).where(like(users.email, `${buriedPrefix}%`)).limit(limit))
      return rows.map(row => row.id)
    },

    /** Deletes the row of a buried account of which nothing else is left. */
    async deleteBuried (tx: Tx, id: string): Promise<void> {
      await within(tx).delete(users).where(and(eq(users.id, id), like(users.email, `${buriedPrefix}%`)))
    },

    /** Only with the user's other sessions ended in the same transaction, hence the type. */
    async setPassword (tx: RevokingTx, id: string, passwordHash: string): Promise<void> {
      await within(tx).update(users).set({ passwordHash }).where(eq(users.id, id))
    }
  }
}

function toCredentials (row: typeof users.$inferSelect): Credentials {
  const { id, email, emailVerifiedAt, name, role, createdAt } = row
  return {
    user: { id, email, emailVerifiedAt: emailVerifiedAt?.toISOString() ?? null, name, role, createdAt: createdAt.toISOString() },
    passwordHash: row.passwordHash,
    disabled: row.disabledAt !== null
  }
}
