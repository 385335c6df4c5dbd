import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from './config.js'
import { claimDataDir } from './edges/data-dir.js'
import type { Database } from './edges/database.js'
import { createPglite } from './edges/pglite.js'
import { createPostgres } from './edges/postgres.js'

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
