import { randomUUID } from 'node:crypto'
import { inArray, or } from 'drizzle-orm'
import { users } from '../../db/schema.js'
import { type Database, type Queries, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { NewUser } from './store.js'

/** Addresses and ids that have an account. */
export interface Taken { emails: Set<string>, ids: Set<string> }

/** Many users at once. */
export interface ImportStore {
  /** Which of the addresses and ids have an account, as `tx` sees it. */
  findTaken (many: Array<Pick<NewUser, 'id' | 'email'>>, tx?: Tx): Promise<Taken>
  /** Inserts the users whose address and id are free, and returns their ids by address. */
  insertMany (tx: Tx, many: NewUser[]): Promise<Map<string, string>>
}

export function createImportStore (database: Pick<Database, 'query'>): ImportStore {
  return {
    async findTaken (many, tx): Promise<Taken> {
      const [emails, ids] = [many.map(({ email }) => email), many.flatMap(({ id }) => id === undefined ? [] : [id])]
      const read = (db: Queries) => db.select({ id: users.id, email: users.email }).from(users)
        .where(or(inArray(users.email, emails), inArray(users.id, ids)))
      const rows = many.length === 0 ? [] : tx === undefined ? await database.query(read) : await read(within(tx))
      return { emails: new Set(rows.map(row => row.email)), ids: new Set(rows.map(row => row.id)) }
    },

    async insertMany (tx: Tx, many: NewUser[]): Promise<Map<string, string>> {
      if (many.length === 0) return new Map()
      const rows = await within(tx).insert(users).values(many.map(user => ({ ...user, id: user.id ?? randomUUID() })))
        .onConflictDoNothing().returning({ id: users.id, email: users.email })
      return new Map(rows.map(row => [row.email, row.id]))
    }
  }
}
