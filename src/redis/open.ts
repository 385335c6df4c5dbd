import type { Cluster, Redis } from 'ioredis'
import type { RedisAddress, RedisConfig } from '../config/redis.js'
import { describe } from '../shared/errors.js'
import type { CacheBackend } from '../token-cache/backend.js'
import { createClusterBackend } from '../token-cache/cluster.js'
import { createRedisBackend, type RedisBackend } from '../token-cache/redis.js'
import { examine, explainRefusal } from './check.js'
import { createCluster, createRedis, createSentinelRedis, type RedisClient, readAuthority } from './client.js'
import { askSentinels } from './sentinel.js'

/** How long a start waits for Redis to say that it can't be used. */
const checkMs = 1_000

/** A Redis that is there and can't be used; the message says which, and what to do, without a secret. */
export class RedisRefusedError extends Error {
  override name = 'RedisRefusedError'
}

/** Redis as the services use it: a client for counters, and the cache's backend. */
export interface OpenRedis {
  limiter: Redis | Cluster
  backend: CacheBackend
  /** Resolves as soon as Redis is fit, or after `withinMs` (a second) without a word of it; rejects with RedisRefusedError where waiting wouldn't help. */
  check (withinMs?: number): Promise<void>
  close (): void
}

interface Parts { keyPrefix: string, log: { warn (fields: object, text: string): void } }

/** Dials what REDIS_URL and REDIS_SENTINELS name, in the background. */
export function openRedis (config: RedisConfig, { keyPrefix, log }: Parts): OpenRedis {
  const ca = readAuthority(config)
  let refuse: (problem: string) => void = () => {}
  const refused = new Promise<string>(resolve => { refuse = resolve })
  let arrive = () => {}
  const arrived = new Promise<void>(resolve => { arrive = resolve })
  let checking = false

  /** One line when trouble begins, and another only when it is another trouble. */
  function createTeller () {
    let last: string | null = null
    const say = (line: string, fields: object = {}) => {
      if (line === last) return
      last = line
      log.warn(fields, line)
    }
    return {
      refuses (problem: string): void {
        refuse(problem)
        // Nothing is answered: the start fails, and says why.
        if (!checking) say(`${problem}; answering from the database`)
      },
      replica: (where: string) => say(`Redis at ${where} is a replica: answering from the database`),
      absent: (error: unknown, where: string) => say('Redis cannot be reached: answering from the database', { where, cause: describe(error) }),
      well (): void { last = null }
    }
  }

  function linkTo ({ client, well, close }: RedisClient, where: string, onChange?: () => void): RedisBackend {
    const teller = createTeller()
    const cluster = config.mode === 'cluster'
    client.on('error', error => {
      const problem = explainRefusal(error, where)
      if (problem === null) teller.absent(error, where)
      else teller.refuses(problem)
    })
    return createRedisBackend(client, {
      close,
      inCluster: cluster,
      ...onChange === undefined ? {} : { onChange },
      async examine () {
        const found = await examine(client, { where, keyPrefix, cluster, db: cluster ? 0 : config.db }).catch((error: unknown) => {
          teller.absent(error, where)
          throw error
        })
        if (found.state === 'unfit') teller.refuses(found.problem)
        if (found.state === 'replica') teller.replica(where)
        if (found.state !== 'fit') return found.state
        well()
        teller.well()
        if (found.notice !== undefined) log.warn({}, found.notice)
        if (!cluster) arrive()
        return 'fit'
      }
    })
  }

  async function check (withinMs = checkMs): Promise<void> {
    const { promise: late, stop } = after(withinMs)
    if (config.mode === 'sentinel') void askSentinels(config, ca, withinMs).then(problem => { if (problem !== null) refuse(problem) })
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
      open: (address, onChange) => linkTo(createRedis(config, address, { ca }), nameOf(address), onChange)
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
  const backend = linkTo(node, config.mode === 'sentinel' ? `${config.name} (by its Sentinels)` : nameOf(config.address))
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
