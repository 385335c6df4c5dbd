import { randomUUID } from 'node:crypto'
import { and, asc, eq, gt, inArray, isNull, like, ne, or, sql } from 'drizzle-orm'
import { passwordCost, sessions, tokens, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import { deletedEmailPrefix } from './deleted-accounts.js'
import type { User } from './user.js'

/** A user, with what decides whether a login succeeds. */
export interface Credentials { user: User, passwordHash: string, disabled: boolean, secondFactor: boolean }

export interface NewUser {
  /** A new one without it. */
  id?: string
  email: string
  name: string | null
  passwordHash: string
  createdAt: Date
  emailVerifiedAt?: Date | null
  role?: User['role']
}

/** Users in PostgreSQL. */
export interface UserStore {
  findByEmail (email: string): Promise<Credentials | null>
  findById (id: string): Promise<Credentials | null>
  /** Locks the user's row until the end of `tx`. Every writer of a user's tokens, role or flags does, so that they take turns. */
  lock (tx: Tx, id: string): Promise<Credentials | null>
  /** The same for several. Ordered by id, so that two callers can't wait for each other. */
  lockAll (tx: Tx, ids: string[]): Promise<Map<string, Credentials>>
  /**
   * Locks, by id, up to `limit` users after `after` that have a token that is neither revoked nor used up, or a session that hasn't been
   * ended.
   */
  lockNext (tx: Tx, after: string, limit: number): Promise<string[]>
  /** The highest bcrypt cost of any stored hash, by its index; null when there is none. */
  findDearestCost (): Promise<number | null>
  /** Null when the email is taken. */
  insert (tx: Tx, user: NewUser): Promise<User | null>
  /** Null when another account has the address. Of two that take it at the same moment, one fails on the unique constraint. */
  setVerifiedEmail (tx: RevokingTx, id: string, email: string, at: Date): Promise<User | null>
  /** Cache entries hold the name: only together with settling them, hence the type. */
  setName (tx: RevokingTx, id: string, name: string | null): Promise<void>
  /** Cache entries hold the role: only together with settling them, hence the type. */
  setRole (tx: RevokingTx, id: string, role: User['role']): Promise<void>
  /** Disables an account, or with null enables it: only together with settling its cache entries, hence the type. */
  setDisabled (tx: RevokingTx, id: string, at: Date | null): Promise<void>
  /** Cache entries hold whether the user has one: only together with settling them, hence the type. */
  setSecondFactor (tx: RevokingTx, id: string, secondFactor: boolean): Promise<void>
  /** Makes everything that could remove an administrator take turns, until the end of `tx`. To be taken before any row. */
  lockAdmins (tx: Tx): Promise<void>
  /**
   * Whether there is an enabled administrator other than `id`. The role is a literal, so that every plan can use the partial index on it.
   */
  hasOtherAdmin (tx: Tx, id: string): Promise<boolean>
  /**
   * Removes everything personal from the row; the address is free from then on. Sessions and tokens end in the same transaction, hence
   * the type.
   */
  markDeleted (tx: RevokingTx, id: string, now: Date): Promise<void>
  /** Up to `limit` accounts marked as deleted whose rows are still there: their deletion was interrupted, or is under way. */
  findMarkedDeleted (limit: number): Promise<string[]>
  /** Deletes the row of an account marked as deleted. Everything that refers to it is gone already. */
  deleteMarked (tx: Tx, id: string): Promise<void>
  /** Only together with ending the user's other sessions, hence the type. */
  setPassword (tx: RevokingTx, id: string, passwordHash: string): Promise<void>
}

export function createUserStore (database: Database): UserStore {
  return {
    async findByEmail (email: string): Promise<Credentials | null> {
      const [row] = await database.query(db => db.select().from(users).where(eq(users.email, email)))
      return row === undefined ? null : toCredentials(row)
    },

    async findById (id: string): Promise<Credentials | null> {
      const [row] = await database.query(db => db.select().from(users).where(eq(users.id, id)))
      return row === undefined ? null : toCredentials(row)
    },

    async lock (tx: Tx, id: string): Promise<Credentials | null> {
      const [row] = await within(tx).select().from(users).where(eq(users.id, id)).for('update')
      return row === undefined ? null : toCredentials(row)
    },

    async lockAll (tx: Tx, ids: string[]): Promise<Map<string, Credentials>> {
      const rows = await within(tx).select().from(users).where(inArray(users.id, ids)).orderBy(asc(users.id)).for('update')
      return new Map(rows.map(row => [row.id, toCredentials(row)]))
    },

    async lockNext (tx: Tx, after: string, limit: number): Promise<string[]> {
      const rows = await within(tx).select({ id: users.id }).from(users)
        .where(and(gt(users.id, after), or(
          sql`exists (select from ${tokens} where ${tokens.userId} = ${users.id} and ${tokens.revokedAt} is null
            and ${tokens.consumedAt} is null)`,
          sql`exists (select from ${sessions} where ${sessions.userId} = ${users.id} and ${sessions.endedAt} is null)`
        )))
        .orderBy(asc(users.id)).limit(limit).for('update')
      return rows.map(row => row.id)
    },

    async findDearestCost (): Promise<number | null> {
      const [row] = await database.query(db =>
        db.select({ cost: passwordCost }).from(users).orderBy(sql`${passwordCost} desc nulls last`).limit(1))
      return row?.cost == null ? null : Number(row.cost)
    },

    async insert (tx: Tx, user: NewUser): Promise<User | null> {
      const [row] = await within(tx).insert(users).values({ ...user, id: randomUUID() })
        .onConflictDoNothing({ target: users.email }).returning()
      return row === undefined ? null : toCredentials(row).user
    },

    async setVerifiedEmail (tx: RevokingTx, id: string, email: string, at: Date): Promise<User | null> {
      const [taken] = await within(tx).select({ id: users.id }).from(users).where(and(eq(users.email, email), ne(users.id, id)))
      if (taken !== undefined) return null
      const [row] = await within(tx).update(users).set({ email, emailVerifiedAt: at }).where(eq(users.id, id)).returning()
      return row === undefined ? null : toCredentials(row).user
    },

    async setName (tx: RevokingTx, id: string, name: string | null): Promise<void> {
      await within(tx).update(users).set({ name }).where(eq(users.id, id))
    },

    async setRole (tx: RevokingTx, id: string, role: User['role']): Promise<void> {
      await within(tx).update(users).set({ role }).where(eq(users.id, id))
    },

    async setDisabled (tx: RevokingTx, id: string, at: Date | null): Promise<void> {
      await within(tx).update(users).set({ disabledAt: at }).where(eq(users.id, id))
    },

    async setSecondFactor (tx: RevokingTx, id: string, secondFactor: boolean): Promise<void> {
      await within(tx).update(users).set({ secondFactor }).where(eq(users.id, id))
    },

    async lockAdmins (tx: Tx): Promise<void> {
      await within(tx).execute(sql`select pg_advisory_xact_lock(7402321)`)
    },

    async hasOtherAdmin (tx: Tx, id: string): Promise<boolean> {
      const rows = await within(tx).select({ id: users.id }).from(users)
        .where(and(sql`${users.role} = 'admin'`, isNull(users.disabledAt), ne(users.id, id)))
        .limit(1)
      return rows.length > 0
    },

    async markDeleted (tx: RevokingTx, id: string, now: Date): Promise<void> {
      const email = `${deletedEmailPrefix}${id}`
      await within(tx).update(users).set({ email, emailVerifiedAt: null, name: null, language: null, disabledAt: now })
        .where(eq(users.id, id))
    },

    async findMarkedDeleted (limit: number): Promise<string[]> {
      const rows = await database.query(db =>
        db.select({ id: users.id }).from(users).where(like(users.email, `${deletedEmailPrefix}%`)).limit(limit))
      return rows.map(row => row.id)
    },

    async deleteMarked (tx: Tx, id: string): Promise<void> {
      await within(tx).delete(users).where(and(eq(users.id, id), like(users.email, `${deletedEmailPrefix}%`)))
    },

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
    disabled: row.disabledAt !== null,
    secondFactor: row.secondFactor
  }
}
