import type { Redis } from 'ioredis'
import { type Config, ConfigError } from './config.js'
import { configWarnings } from './config-warnings.js'
import type { Database } from './edges/database.js'
import { createRedis } from './edges/redis.js'
import type { Log } from './logger.js'
import type { Mailer } from './mail/mailer.js'
import { openMigrated } from './open-database.js'

/** Database and Redis, open; `close` closes both, the database once even where it has been closed before. */
export interface Opened {
  database: Database
  redis: Redis | null
  /** Null: mails stay in the outbox; absent: as configured. */
  mailer?: Mailer | null
  close (): Promise<void>
}

/**
 * Opens and migrates the configured database, and dials Redis without waiting for it. Throws ConfigError, DatabaseUnreachableError and
 * DataDirInUseError.
 */
export async function openFoundation (config: Config, log: Log): Promise<Opened> {
  if (config.production && config.databaseUrl === undefined) throw new ConfigError('NODE_ENV=production needs DATABASE_URL: the embedded database is for one process and for development')
  if (config.production && config.smtp === null) throw new ConfigError('NODE_ENV=production needs SMTP_URL: without it mails are files in DATA_DIR, tokens and all')
  if (config.bcryptCost < 10) log.warn({ cost: config.bcryptCost }, 'BCRYPT_COST below 10 is for tests')
  for (const warning of configWarnings(config)) log.warn({}, warning)

  const database = await openMigrated(config, 'server')
  const redis = config.redisUrl === undefined ? null : createRedis(config.redisUrl, log)
  let closed: Promise<void> | null = null
  const closeDatabase = () => closed ??= database.close()
  return {
    database: { ...database, close: closeDatabase },
    redis,
    async close () {
      redis?.disconnect()
      await closeDatabase()
    }
  }
}
