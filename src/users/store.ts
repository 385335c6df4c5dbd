import { randomUUID } from 'node:crypto'
import { eq, inArray } from 'drizzle-orm'
import { users } from '../../db/schema.js'
import { type Database, within } from '../edges/database.js'
import type { User } from '../tokens/principal.js'
import type { RevokingTx } from '../tokens/revocation.js'
import type { Tx } from '../transaction.js'

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
