import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { claimDataDir } from '../embedded/lock.js'
import { UnavailableError } from '../shared/errors.js'
import { type Database, DatabaseError, isCertificateTrouble } from './database.js'
import { createPostgres } from './postgres.js'

/** A database that cannot be used: the message says which, at which address, and what to do. */
export class DatabaseUnreachableError extends Error {
  override name = 'DatabaseUnreachableError'
}

/** The configured database at the newest schema. Throws DatabaseUnreachableError; DataDirInUseError where somebody else has the embedded one open. */
export async function openMigrated (config: Config, purpose: 'server' | 'command'): Promise<Database> {
  const database = await openDatabase(config, purpose)
  try {
    await database.migrate()
    return database
  } catch (error) {
    const closed = database.close().catch(() => {})
    // The embedded one has to be free again; a server that doesn't answer would not answer the goodbye either.
    if (database.embedded) await closed
    throw explainDatabase(config, error)
  }
}

/** `error` in words for an operator where the database is to blame, else as it is. */
export function explainDatabase ({ databaseUrl }: Config, error: unknown): unknown {
  const where = databaseUrl === undefined ? 'in DATA_DIR' : `at ${new URL(databaseUrl).host}`
  const problem = problemOf(error)
  return problem === null ? error : new DatabaseUnreachableError(`PostgreSQL ${where} ${problem}.`)
}

function problemOf (error: unknown): string | null {
  if (error instanceof DatabaseError && /^(28|3D)/.test(error.code)) return `refused user or database of DATABASE_URL (SQLSTATE ${error.code})`
  if (!(error instanceof UnavailableError)) return null
  const { detail = '' } = error as { detail?: string }
  if (isCertificateTrouble(detail)) return `showed a certificate that cannot be verified (${detail}): give the file of its CA as sslrootcert in DATABASE_URL`
  if (/^(26000|42P05)$/.test(detail)) return 'forgets prepared statements: add prepare=false to DATABASE_URL, as a pooler in transaction mode needs it'
  return 'does not answer: start it or correct DATABASE_URL'
}

async function openDatabase (config: Config, purpose: 'server' | 'command'): Promise<Database> {
  if (config.databaseUrl !== undefined) return createPostgres(config.databaseUrl, config.databasePool)
  const claim = await claimDataDir(config.dataDir, purpose)
  try {
    const folder = join(config.dataDir, 'postgres')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Who has a server need not load another one.
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
