import { type Config, ConfigError } from './config/config.js'
import { configWarnings } from './config/warnings.js'
import type { Database } from './database/database.js'
import { openMigrated } from './database/open.js'
import type { Mailer } from './mail/mailer.js'
import type { Log } from './observability/logger.js'
import { type OpenRedis, openRedis } from './redis/open.js'

/** Database and Redis, open; `close` closes both, the database once even where it has been closed before. */
export interface Opened {
  database: Database
  redis: OpenRedis | null
  /** Null: mails stay in the outbox; absent: as configured. */
  mailer?: Mailer | null
  close (): Promise<void>
}

/**
 * Opens and migrates the configured database, and dials Redis, which is waited for at most a second. Throws ConfigError, DatabaseUnreachableError,
 * DataDirInUseError, and RedisRefusedError where Redis is there and will never let us in.
 */
export async function openFoundation (config: Config, log: Log): Promise<Opened> {
  if (config.production && config.databaseUrl === undefined) throw new ConfigError('NODE_ENV=production needs DATABASE_URL: the embedded database is for one process and for development')
  if (config.production && config.smtp === null) throw new ConfigError('NODE_ENV=production needs SMTP_URL: without it mails are files in DATA_DIR, tokens and all')
  if (config.bcryptCost < 10) log.warn({ cost: config.bcryptCost }, 'BCRYPT_COST below 10 is for tests')
  for (const warning of configWarnings(config)) log.warn({}, warning)

  const redis = config.redis === undefined ? null : openRedis(config.redis, { keyPrefix: config.redisKeyPrefix, log })
  const [opened, fit] = await Promise.allSettled([openMigrated(config, 'server'), redis?.check()])
  if (opened.status === 'rejected' || fit.status === 'rejected') {
    redis?.close()
    if (opened.status === 'rejected') throw opened.reason
    await opened.value.close()
    throw (fit as PromiseRejectedResult).reason
  }
  const database = opened.value
  let closed: Promise<void> | null = null
  const closeDatabase = (patienceMs?: number) => closed ??= database.close(patienceMs)
  return {
    database: { ...database, close: closeDatabase },
    redis,
    async close () {
      redis?.close()
      await closeDatabase()
    }
  }
}
