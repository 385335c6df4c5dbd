import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import { rowsOf } from './rows.js'
import { cacheEpoch, secrets } from './schema.js'

/** One connection of either driver. */
export type Connection = PgDatabase<PgQueryResultHKT, Record<string, never>>

/** Next to this file in the sources, two folders up in the build. */
const folder = ['./migrations', '../../db/migrations'].map(path => fileURLToPath(new URL(path, import.meta.url))).find(existsSync)

/** The keys of a database: for the check in tokens, for the HMAC under bcrypt, and for the hashes in the tables that count attempts. */
const keys = ['token-check', 'password', 'attempts']

/** The table that says which migrations a schema has had: a row for each, by the SHA-256 of its file. */
export const journal = 'latchkey_migrations'

/** A digest of the migrations and the names of the keys, for naming what was made from them. Throws if they are missing. */
export function schemaDigest (): string {
  const from = requireFolder()
  const texts = readdirSync(from).filter(name => name.endsWith('.sql')).sort().map(name => readFileSync(join(from, name), 'utf8'))
  return createHash('sha256').update([journal, ...keys, ...texts].join('\n')).digest('hex').slice(0, 12)
}

/**
 * Brings the tables in `schema`, which is the search path of `connection`, to the newest version, in one transaction. The caller
 * must hold a lock. drizzle's own migrator isn't used: it goes by the date of the last migration in a table that
 * all applications with drizzle in this database share, and wants the right to create even where nothing is to be done.
 */
export async function migrate (connection: Connection, schema: string): Promise<void> {
  await connection.transaction(async db => {
    // IF NOT EXISTS wants the right to create schemas even where this one is there.
    const [existing] = rowsOf(await db.execute(sql`select from pg_namespace where nspname = ${schema}`))
    if (existing === undefined) await db.execute(sql`create schema ${sql.identifier(schema)}`)
    await db.execute(sql`
      create table if not exists ${sql.identifier(journal)} (hash text primary key, applied_at timestamptz not null default now())`)
    const migrations = readMigrationFiles({ migrationsFolder: requireFolder() })
    await moveJournal(db, migrations.map(({ hash }) => hash))
    const applied = await readHashes(db)
    for (const { hash, sql: statements } of migrations.filter(({ hash }) => !applied.has(hash))) {
      for (const statement of statements) await db.execute(sql.raw(statement.replaceAll('"public".', `"${schema}".`)))
      await db.execute(sql`insert into ${sql.identifier(journal)} (hash) values (${hash})`)
    }
  })
}

/** Creates the keys and the epoch that the tables lack. */
export async function addRows (db: Connection): Promise<void> {
  await db.insert(secrets).values(keys.map(name => ({ name, value: randomBytes(32) }))).onConflictDoNothing()
  const first = { id: 1, generation: Date.now(), incarnation: null, confirmedAt: null, retired: [] }
  await db.insert(cacheEpoch).values(first).onConflictDoNothing()
}

/** What the journal of tables of the newest version contains, besides what a later version adds. */
export function migrationHashes (): string[] {
  return readMigrationFiles({ migrationsFolder: requireFolder() }).map(({ hash }) => hash)
}

/** Earlier versions wrote into drizzle's own table, which stays for those that still run. */
async function moveJournal (db: Connection, hashes: string[]): Promise<void> {
  const [place] = rowsOf<{ moves: boolean }>(await db.execute(sql`
    select current_schema() = 'public' and to_regclass('drizzle.__drizzle_migrations') is not null
      and not exists (select from ${sql.identifier(journal)}) as moves`))
  if (place?.moves !== true) return
  await db.execute(sql`
    insert into ${sql.identifier(journal)} (hash) select distinct hash from drizzle.__drizzle_migrations
    where hash in (${sql.join(hashes.map(hash => sql`${hash}`), sql`, `)})`)
}

async function readHashes (db: Connection): Promise<Set<string>> {
  return new Set(rowsOf<{ hash: string }>(await db.execute(sql`select hash from ${sql.identifier(journal)}`)).map(({ hash }) => hash))
}

function requireFolder (): string {
  if (folder === undefined) throw new Error('the migrations are missing from this build')
  return folder
}
