import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { claimDataDir } from '../embedded/lock.js'
import type { Log } from '../observability/logger.js'
import { UnavailableError } from '../shared/errors.js'
import type { Database } from './database.js'
import { DatabaseError, isCertificateError } from './errors.js'
import { createPostgres } from './postgres.js'

/** The database cannot be used. The message says which one, where it is, and what to do. */
export class DatabaseUnreachableError extends Error {
  override name = 'DatabaseUnreachableError'
}

/** The configured database at the newest schema. Throws DatabaseUnreachableError, or DataDirInUseError if the embedded one is in use. */
export async function openMigrated (config: Config, purpose: 'server' | 'command', log?: Pick<Log, 'warn'>): Promise<Database> {
  const database = await openDatabase(config, purpose, log)
  try {
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
export function explainDatabase ({ databaseUrl }: Config, error: unknown): unknown {
  const where = databaseUrl === undefined ? 'in DATA_DIR' : `at ${new URL(databaseUrl).host}`
  const problem = problemOf(error)
  return problem === null ? error : new DatabaseUnreachableError(`PostgreSQL ${where} ${problem}.`)
}

function problemOf (error: unknown): string | null {
  if (error instanceof DatabaseError && /^(28|3D)/.test(error.code)) {
    return `refused user or database of DATABASE_URL (SQLSTATE ${error.code})`
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
  if (config.databaseUrl !== undefined) return createPostgres(config.databaseUrl, config.databasePool, log)
  const claim = await claimDataDir(config.dataDir, purpose)
  try {
    const folder = join(config.dataDir, 'postgres')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Loaded only when it is needed: it takes time and memory.
    const { createPglite } = await import('../embedded/pglite.js')
    const database = await createPglite(folder)
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
