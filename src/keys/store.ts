import { eq } from 'drizzle-orm'
import { secrets, verifierKeys } from '../../db/schema.js'
import type { Database } from '../database/database.js'
import { UnavailableError } from '../shared/errors.js'

const keyBytes = 32

/** The keys that the database keeps for itself, each made at the first migration. */
export interface Keys {
  /** Throws where there is none of that name; UnavailableError where what is read cannot be the key. */
  require (name: 'token-check' | 'password' | 'attempts'): Promise<Buffer>
}

export function createKeys (database: Pick<Database, 'query'>): Keys {
  return {
    async require (name) {
      // Verifiers may read this view and not the table.
      const from = name === 'token-check' ? verifierKeys : secrets
      const [row] = await database.query(db => db.select({ value: from.value }).from(from).where(eq(from.name, name)))
      if (row === undefined) throw new Error(`the database has no key "${name}": run the migrations`)
      // Passwords that are hashed with a wrongly read key could never be verified again.
      const problem = `returns the key "${name}" with ${row.value.length} bytes instead of ${keyBytes}`
      if (row.value.length !== keyBytes) throw Object.assign(new UnavailableError(), { detail: 'KEY', problem })
      return row.value
    }
  }
}
