import type { Cluster, Redis } from 'ioredis'
import {
  type IRateLimiterRedisOptions,
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  type RateLimiterRes
} from 'rate-limiter-flexible'
import type { Limit } from '../config/values.js'
import { rateLimited } from '../shared/errors.js'

/** Where counters are kept; without Redis each process counts for itself. */
export interface CounterStorage { redis: Redis | Cluster | null, keyPrefix: string }

/** About 30 MB. */
const maxKeysInProcess = 50_000

/**
 * A counter in the memory of this process. When it is full, it drops the window that began first, which is also the one that would end
 * first.
 */
export class ProcessCounter extends RateLimiterMemory {
  readonly #begun = new Set<string>()
  readonly #maxKeys: number

  constructor (options: { points: number, duration: number, keyPrefix?: string }, maxKeys = maxKeysInProcess) {
    super(options)
    this.#maxKeys = maxKeys
  }

  override async consume (key: string, points?: number): Promise<RateLimiterRes> {
    const result = await super.consume(key, points)
    if (!result.isFirstInDuration) return result
    this.#begun.delete(key)
    this.#begun.add(key)
    const [oldest] = this.#begun
    if (this.#begun.size > this.#maxKeys && oldest !== undefined) await this.delete(oldest)
    return result
  }

  override async delete (key: string): Promise<boolean> {
    this.#begun.delete(key)
    return await super.delete(key)
  }
}

/**
 * A counter in Redis that counts in this process while Redis fails. What is cleared is cleared in both: a failure may have been counted in
 * either.
 */
class SharedCounter extends RateLimiterRedis {
  readonly #inProcess: RateLimiterAbstract

  constructor (options: Omit<IRateLimiterRedisOptions, 'insuranceLimiter'>, inProcess: RateLimiterAbstract) {
    super({ ...options, insuranceLimiter: inProcess })
    this.#inProcess = inProcess
  }

  override async delete (key: string): Promise<boolean> {
    const [shared, own] = await Promise.all([super.delete(key), this.#inProcess.delete(key)])
    return shared || own
  }
}

/**
 * A counter that all instances share through Redis. While Redis is absent or fails, each process counts for itself: the limit never
 * opens, and counting never fails a request. `final`: nothing clears a count before its window ends, so a process that has seen the
 * limit passed refuses without asking Redis.
 */
export function createCounter (limit: Limit, name: string, storage: CounterStorage & { final: boolean }): RateLimiterAbstract {
  const { redis, keyPrefix, final } = storage
  const { points, seconds } = limit
  const options = { points, duration: Math.ceil(seconds), keyPrefix: `${keyPrefix}limit:${name}` }
  const inProcess = new ProcessCounter(options)
  if (redis === null) return inProcess
  return new SharedCounter({
    ...options,
    storeClient: redis,
    rejectIfRedisNotReady: true,
    ...final ? { inMemoryBlockOnConsumed: points + 1 } : {}
  }, inProcess)
}

/** Counts one use of `key`; throws RateLimitedError past the limit. */
export async function consume (counter: RateLimiterAbstract, key: string): Promise<void> {
  try {
    await counter.consume(key)
  } catch (refused) {
    throw rateLimited(((refused as RateLimiterRes).msBeforeNext ?? 60_000) / 1000)
  }
}
