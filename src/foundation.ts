import { type Config, ConfigError } from './config/config.js'
import { configWarnings } from './config/warnings.js'
import type { Database } from './database/database.js'
import { openMigrated } from './database/open.js'
import type { Mailer } from './mail/mailer.js'
import type { Log } from './observability/logger.js'
import { type OpenRedis, openRedis } from './redis/open.js'

/** The open connections to database and Redis. `close` may be called after the database has been closed. */
export interface Connections {
  database: Database
  redis: OpenRedis | null
  /** Null: mail stays in the outbox; absent: as configured. */
  mailer?: Mailer | null
  close (): Promise<void>
}

/**
 * Opens and migrates the configured database, and connects to Redis, for which it waits at most a second. Throws ConfigError,
 * DatabaseUnreachableError, DataDirInUseError, and RedisRefusedError if Redis answers but cannot be used.
 */
export async function openFoundation (config: Config, log: Log): Promise<Connections> {
  if (config.production) requireForProduction(config)
  if (config.bcryptCost < 10) log.warn({ cost: config.bcryptCost }, 'BCRYPT_COST below 10 is for tests')
  for (const warning of configWarnings(config)) log.warn({}, warning)

  const redis = config.redis === undefined ? null : openRedis(config.redis, { keyPrefix: config.redisKeyPrefix, log })
  const [opened, checked] = await Promise.allSettled([openMigrated(config, 'server', log), redis?.check()])
  if (opened.status === 'rejected' || checked.status === 'rejected') {
    redis?.close()
    if (opened.status === 'rejected') throw opened.reason
    await opened.value.close()
    throw (checked as PromiseRejectedResult).reason
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

function requireForProduction ({ databaseUrl, smtp }: Config): void {
  if (databaseUrl === undefined) {
    throw new ConfigError('NODE_ENV=production needs DATABASE_URL: the embedded database is for development, and for one process')
  }
  if (smtp === null) throw new ConfigError('NODE_ENV=production needs SMTP_URL: without it mails, with their tokens, are files in DATA_DIR')
}
