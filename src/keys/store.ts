import { eq } from 'drizzle-orm'
import { secrets } from '../../db/schema.js'
import type { Database } from '../database/database.js'

/** The keys that the database keeps for itself, each made at the first migration. */
export interface Keys {
  /** Throws where there is none of that name. */
  require (name: 'token-check' | 'password' | 'attempts'): Promise<Buffer>
}

export function createKeys (database: Pick<Database, 'query'>): Keys {
  return {
    async require (name) {
      const [row] = await database.query(db => db.select({ value: secrets.value }).from(secrets).where(eq(secrets.name, name)))
      if (row === undefined) throw new Error(`the database has no key "${name}": run the migrations`)
      return row.value
    }
  }
}
