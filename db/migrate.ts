import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { PgliteDatabase } from 'drizzle-orm/pglite'
import { migrate as migratePglite } from 'drizzle-orm/pglite/migrator'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import { migrate as migratePostgres } from 'drizzle-orm/postgres-js/migrator'
import { cacheEpoch, secrets } from './schema.js'

export type Target = { kind: 'postgres', db: PostgresJsDatabase } | { kind: 'pglite', db: PgliteDatabase }

/** Beside this file in the sources, two folders up from the build. */
const folder = ['./migrations', '../../db/migrations'].map(path => fileURLToPath(new URL(path, import.meta.url))).find(existsSync)

/** The keys every database has: of the tokens' check, of the HMAC below bcrypt, and of those in the tables that count attempts. */
const keys = ['token-check', 'password', 'attempts']

/** Brings `target` to the newest schema and gives it its keys. The caller holds a lock: drizzle's migrator takes none. */
export async function migrate (target: Target): Promise<void> {
  if (folder === undefined) throw new Error('the migrations are missing from this build')
  const options = { migrationsFolder: folder }
  if (target.kind === 'postgres') await migratePostgres(target.db, options)
  else await migratePglite(target.db, options)

  const db = target.db as PgliteDatabase
  await db.insert(secrets).values(keys.map(name => ({ name, value: randomBytes(32) }))).onConflictDoNothing()
  await db.insert(cacheEpoch).values({ id: 1, generation: Date.now(), incarnation: null, confirmedAt: null, retired: [] }).onConflictDoNothing()
}
