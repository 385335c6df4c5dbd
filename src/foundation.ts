import { type Config, ConfigError } from './config/config.js'
import type { VaultKey } from './config/vault-keys.js'
import { configWarnings, findServerProblems } from './config/warnings.js'
import type { Database } from './database/database.js'
import { openMigrated } from './database/open.js'
import { requireVaultKeys } from './embedded/vault-keys.js'
import type { Mailer } from './mail/mailer.js'
import type { Log } from './observability/logger.js'
import { type OpenRedis, openRedis } from './redis/open.js'

/** The open connections to database and Redis. `close` may be called after the database has been closed. */
export interface Connections {
  database: Database
  redis: OpenRedis | null
  vaultKeys: VaultKey[]
  /** Null: mail stays in the outbox; absent: as configured. */
  mailer?: Mailer | null
  close (): Promise<void>
}

/**
 * Opens and migrates the configured database, and connects to Redis, for which it waits at most a second. Throws ConfigError,
 * DatabaseUnreachableError, DataDirInUseError, and RedisRefusedError if Redis answers but cannot be used.
 */
export async function openFoundation (config: Config, log: Log): Promise<Connections> {
  const problems = findServerProblems(config)
  if (problems.length > 0) throw new ConfigError(problems.join('; '))
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
  const vaultKeys = await requireVaultKeys(config).catch(async (error: unknown) => {
    redis?.close()
    await database.close()
    throw error
  })
  let closed: Promise<void> | null = null
  const closeDatabase = (patienceMs?: number) => closed ??= database.close(patienceMs)
  return {
    database: { ...database, close: closeDatabase },
    redis,
    vaultKeys,
    async close () {
      redis?.close()
      await closeDatabase()
    }
  }
}
