import type { Cluster, Redis } from 'ioredis'
import type { RedisAddress, RedisConfig } from '../config/redis.js'
import type { CacheBackend } from '../token-cache/backend.js'
import { createClusterBackend } from '../token-cache/cluster.js'
import { createRedisBackend, type RedisBackend } from '../token-cache/redis.js'
import { examine, explainRefusal } from './check.js'
import { createCluster, createRedis, createSentinelRedis, type RedisClient, readAuthority } from './client.js'
import { createProblemLog, type WarningLog } from './problem-log.js'
import { askSentinels } from './sentinel.js'

/** How long a start waits for Redis to answer. */
const checkMs = 1_000

/** Redis answers and cannot be used. The message says which server and what to do; it contains no secret. */
export class RedisRefusedError extends Error {
  override name = 'RedisRefusedError'
}

/** Redis as the services use it: a client for counters, and the cache's own backend. */
export interface OpenRedis {
  limiter: Redis | Cluster
  backend: CacheBackend
  /** Resolves once Redis can be used, or after `withinMs` (a second) without an answer. Rejects with RedisRefusedError if it cannot. */
  check (withinMs?: number): Promise<void>
  close (): void
}

/** Connects in the background to what REDIS_URL and REDIS_SENTINELS name. */
export function openRedis (config: RedisConfig, { keyPrefix, log }: { keyPrefix: string, log: WarningLog }): OpenRedis {
  const ca = readAuthority(config)
  let refuse: (problem: string) => void = () => {}
  const refused = new Promise<string>(resolve => { refuse = resolve })
  let arrive = () => {}
  const arrived = new Promise<void>(resolve => { arrive = resolve })
  // During the check the start fails with the problem, so it is not logged too; what is no more than late then is told if it lasts.
  let checking = false

  function createBackend ({ client, resetBackoff, close }: RedisClient, where: string, onChange?: () => void): RedisBackend {
    const problems = createProblemLog(log)
    const cluster = config.mode === 'cluster'
    function report (problem: string) {
      refuse(problem)
      if (!checking) problems.unusable(problem)
    }
    client.on('error', error => {
      const problem = explainRefusal(error, where)
      if (problem !== null) report(problem)
      else if (!checking) problems.unreachable(error, where)
    })
    return createRedisBackend(client, {
      close,
      inCluster: cluster,
      ...onChange === undefined ? {} : { onChange },
      async examine () {
        const found = await examine(client, { where, keyPrefix, cluster, db: cluster ? 0 : config.db }).catch((error: unknown) => {
          if (!checking) problems.unexamined(error, where)
          throw error
        })
        if (found.state === 'unfit') report(found.problem)
        if (found.state === 'replica') problems.replica(where)
        if (found.state !== 'fit') return found.state
        resetBackoff()
        problems.solved()
        if (found.notice !== undefined) log.warn({}, found.notice)
        if (!cluster) arrive()
        return 'fit'
      }
    })
  }

  async function check (withinMs = checkMs): Promise<void> {
    const { promise: late, stop } = after(withinMs)
    if (config.mode === 'sentinel') {
      void askSentinels(config, ca, withinMs).then(problem => { if (problem !== null) refuse(problem) })
    }
    checking = true
    const problem = await Promise.race([refused, arrived, late])
    stop()
    if (typeof problem === 'string') throw new RedisRefusedError(problem)
    checking = false
  }

  if (config.mode === 'cluster') {
    const limiter = createCluster(config, ca)
    const backend = createClusterBackend({
      seeds: config.seeds,
      onReady: arrive,
      open: (address, onChange) => createBackend(createRedis(config, address, { ca }), nameOf(address), onChange)
    })
    return {
      limiter, backend, check,
      close () {
        void backend.close()
        limiter.disconnect()
      }
    }
  }

  const node = config.mode === 'sentinel' ? createSentinelRedis(config, ca) : createRedis(config, config.address, { db: config.db, ca })
  const backend = createBackend(node, config.mode === 'sentinel' ? `${config.name} (by its Sentinels)` : nameOf(config.address))
  return { limiter: node.client, backend, check, close: node.close }
}

function nameOf ({ host, port }: RedisAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function after (ms: number): { promise: Promise<void>, stop (): void } {
  let timer: NodeJS.Timeout | undefined
  const promise = new Promise<void>(resolve => { timer = setTimeout(resolve, ms) })
  return { promise, stop: () => clearTimeout(timer) }
}
