import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Config } from '../config/config.js'
import { nameDatabase, nameDatabaseServer } from '../config/names.js'
import { readPostgresUrl } from '../config/postgres.js'
import { claimDataDir } from '../embedded/lock.js'
import type { Log } from '../observability/logger.js'
import { UnavailableError } from '../shared/errors.js'
import type { Database } from './database.js'
import { DatabaseError, isCertificateError } from './errors.js'
import { requireNewest } from './migration.js'
import { createPostgres } from './postgres.js'

/** The database cannot be used. The message says which one, where it is, and what to do. */
export class DatabaseUnreachableError extends Error {
  override name = 'DatabaseUnreachableError'
}

/** Nobody has made the configured database yet. The message says where, and what to do. */
export class NoDatabaseError extends Error {
  override name = 'NoDatabaseError'
}

/**
 * The configured database at the newest schema, made where there is none. Throws DatabaseUnreachableError, or DataDirInUseError if the
 * embedded one is in use.
 */
export async function openMigrated (config: Config, purpose: 'server' | 'command', log?: Pick<Log, 'warn'>): Promise<Database> {
  return await open(config, purpose, log)
}

/** The same for a command, which never makes one: throws NoDatabaseError where a server or `db:migrate` has not done so. */
export async function openExisting (config: Config): Promise<Database> {
  if (config.databaseUrl === undefined && !existsSync(join(config.dataDir, 'postgres', 'PG_VERSION'))) throw noDatabase(config)
  return await open(config, 'command', undefined, async database => {
    const [found] = await database.prepared<{ made: boolean }>("select to_regclass('cache_epoch') is not null as made", [])
    if (found?.made !== true) throw noDatabase(config)
  })
}

/**
 * The same for a process that only reads: it changes no table, and throws OtherVersionError unless the tables are those of this version.
 * `config.databaseUrl` is set.
 */
export async function openAsIs (config: Config, log: Pick<Log, 'warn'>): Promise<Database> {
  const database = await openDatabase(config, 'command', log)
  try {
    await requireNewest(database)
    return database
  } catch (error) {
    await database.close().catch(() => {})
    throw explainDatabase(config, error)
  }
}

function noDatabase (config: Config): NoDatabaseError {
  const none = config.databaseUrl === undefined
    ? `There is no database in ${resolve(config.dataDir)}`
    : `The database ${nameDatabase(config)} has no tables of Latchkey`
  const variables = config.databaseUrl === undefined ? 'DATA_DIR or DATABASE_URL' : 'DATABASE_URL'
  return new NoDatabaseError(`${none}: correct ${variables}, or make it with npm run db:migrate or by starting the server.`)
}

async function open (
  config: Config, purpose: 'server' | 'command', log?: Pick<Log, 'warn'>, check?: (database: Database) => Promise<void>
): Promise<Database> {
  const database = await openDatabase(config, purpose, log)
  try {
    await check?.(database)
    await database.migrate()
    return database
  } catch (error) {
    const closed = database.close().catch(() => {})
    // The embedded database must release its lock. A server that does not answer would not answer to closing either.
    if (database.embedded) await closed
    throw explainDatabase(config, error)
  }
}

/** For an operator: `error` as a DatabaseUnreachableError if the database caused it, else `error` itself. */
export function explainDatabase (config: Config, error: unknown): unknown {
  const { databaseUrl } = config
  const where = databaseUrl === undefined ? 'in DATA_DIR' : `at ${nameDatabaseServer(databaseUrl)}`
  const hasOptions = databaseUrl !== undefined && readPostgresUrl(databaseUrl)?.options !== undefined
  const problem = databaseUrl !== undefined && error instanceof DatabaseError && error.code === '3D000'
    ? `has no database ${readPostgresUrl(databaseUrl)?.database ?? 'named like its user'}: create it, or correct DATABASE_URL`
    : problemOf(error, hasOptions)
  return problem === null ? error : new DatabaseUnreachableError(`PostgreSQL ${where} ${problem}.`)
}

/** A setting that doesn't exist, a value that it can't have, one that this user or a session can't change. */
const settingRefused = /^(42704|22023|42501|55P02)$/

function problemOf (error: unknown, hasOptions: boolean): string | null {
  if (error instanceof DatabaseError && /^(28|3D)/.test(error.code)) {
    return `refused the user or password of DATABASE_URL, or this user in this database (SQLSTATE ${error.code})`
  }
  if (hasOptions && error instanceof DatabaseError && settingRefused.test(error.code)) {
    return `refused a setting (SQLSTATE ${error.code}): correct options in DATABASE_URL`
  }
  if (!(error instanceof UnavailableError)) return null
  const { detail = '', problem } = error as { detail?: string, problem?: string }
  if (problem !== undefined) return problem
  if (isCertificateError(detail)) {
    return `showed a certificate that cannot be verified (${detail}): give the file of its CA as sslrootcert in DATABASE_URL`
  }
  if (/^(26000|42P05)$/.test(detail)) {
    return 'forgets prepared statements: add prepare=false to DATABASE_URL, as a pooler in transaction mode needs it'
  }
  return 'does not answer: start it or correct DATABASE_URL'
}

async function openDatabase (config: Config, purpose: 'server' | 'command', log?: Pick<Log, 'warn'>): Promise<Database> {
  if (config.databaseUrl !== undefined) {
    return createPostgres(config.databaseUrl, config.databasePool, { schema: config.databaseSchema, ...log === undefined ? {} : { log } })
  }
  const claim = await claimDataDir(config.dataDir, purpose)
  try {
    const folder = join(config.dataDir, 'postgres')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Loaded only when it is needed: it takes time and memory.
    const { createPglite } = await import('../embedded/pglite.js')
    const database = await createPglite(folder, { schema: config.databaseSchema })
    return {
      ...database,
      async close () {
        await database.close()
        await claim.release()
      }
    }
  } catch (error) {
    await claim.release()
    throw error
  }
}
