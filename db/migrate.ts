import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PgliteDatabase } from 'drizzle-orm/pglite'
import { migrate as migratePglite } from 'drizzle-orm/pglite/migrator'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import { migrate as migratePostgres } from 'drizzle-orm/postgres-js/migrator'
import { cacheEpoch, secrets } from './schema.js'

export type Target = { kind: 'postgres', db: PostgresJsDatabase } | { kind: 'pglite', db: PgliteDatabase }

/** Next to this file in the sources, two folders up in the build. */
const folder = ['./migrations', '../../db/migrations'].map(path => fileURLToPath(new URL(path, import.meta.url))).find(existsSync)

/** The keys of a database: for the check in tokens, for the HMAC under bcrypt, and for the hashes in the tables that count attempts. */
const keys = ['token-check', 'password', 'attempts']

/** A digest of the migrations and the names of the keys, for naming what was made from them. Throws if they are missing. */
export function schemaDigest (): string {
  const from = requireFolder()
  const texts = readdirSync(from).filter(name => name.endsWith('.sql')).sort().map(name => readFileSync(join(from, name), 'utf8'))
  return createHash('sha256').update([...keys, ...texts].join('\n')).digest('hex').slice(0, 12)
}

/** Brings `target` to the newest schema and creates missing keys. The caller must hold a lock: drizzle's migrator takes none. */
export async function migrate (target: Target): Promise<void> {
  const options = { migrationsFolder: requireFolder() }
  if (target.kind === 'postgres') await migratePostgres(target.db, options)
  else await migratePglite(target.db, options)

  const db = target.db as PgliteDatabase
  await db.insert(secrets).values(keys.map(name => ({ name, value: randomBytes(32) }))).onConflictDoNothing()
  const first = { id: 1, generation: Date.now(), incarnation: null, confirmedAt: null, retired: [] }
  await db.insert(cacheEpoch).values(first).onConflictDoNothing()
}

function requireFolder (): string {
  if (folder === undefined) throw new Error('the migrations are missing from this build')
  return folder
}
