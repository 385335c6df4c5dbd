import { randomUUID } from 'node:crypto'
import { eq } from 'drizzle-orm'
import { users } from '../../db/schema.js'
import { type Database, within } from '../edges/database.js'
import type { User } from '../tokens/principal.js'
import type { RevokingTx } from '../tokens/revocation.js'
import type { Tx } from '../transaction.js'

/** A user with what decides whether a login succeeds. */
export interface Credentials { user: User, passwordHash: string, disabled: boolean }

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
    async insert (tx: Tx, { email, name, passwordHash, createdAt }: { email: string, name: string | null, passwordHash: string, createdAt: Date }): Promise<User | null> {
      const [row] = await within(tx).insert(users).values({ id: randomUUID(), email, name, passwordHash, createdAt })
        .onConflictDoNothing({ target: users.email }).returning()
      return row === undefined ? null : toCredentials(row).user
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
