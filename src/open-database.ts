import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from './config.js'
import { claimDataDir } from './edges/data-dir.js'
import { type Database, DatabaseError, isCertificateTrouble } from './edges/database.js'
import { createPglite } from './edges/pglite.js'
import { createPostgres } from './edges/postgres.js'
import { UnavailableError } from './errors.js'

/** The configured database: the server at DATABASE_URL, or the embedded one, whose folder nobody else may have open (DataDirInUseError). */
export async function openDatabase (config: Config, purpose: 'server' | 'command'): Promise<Database> {
  if (config.databaseUrl !== undefined) return createPostgres(config.databaseUrl, config.databasePool)
  const claim = await claimDataDir(config.dataDir, purpose)
  try {
    const folder = join(config.dataDir, 'postgres')
    await mkdir(folder, { recursive: true, mode: 0o700 })
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

/** What an operator reads of a database that could not be used; null when `error` isn't about that. */
export function explainDatabase (error: unknown, databaseUrl: string | undefined): string | null {
  const where = databaseUrl === undefined ? 'in DATA_DIR' : `at ${new URL(databaseUrl).host}`
  if (error instanceof DatabaseError && /^(28|3D)/.test(error.code)) return `PostgreSQL ${where} refused user or database of DATABASE_URL (SQLSTATE ${error.code}).`
  if (!(error instanceof UnavailableError)) return null
  const { detail = '' } = error as { detail?: string }
  if (isCertificateTrouble(detail)) return `PostgreSQL ${where} showed a certificate that cannot be verified (${detail}): give the file of its CA as sslrootcert in DATABASE_URL.`
  if (/^(26000|42P05)$/.test(detail)) return `PostgreSQL ${where} forgets prepared statements: add prepare=false to DATABASE_URL, as a pooler in transaction mode needs it.`
  return `PostgreSQL ${where} does not answer. Start it, or correct DATABASE_URL, and try again.`
}
