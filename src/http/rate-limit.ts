import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import fastifyRateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Cluster, Redis } from 'ioredis'
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis, type RateLimiterRes } from 'rate-limiter-flexible'
import type { Limit } from '../config/values.js'
import type { MailLimiter } from '../mail/mailer.js'
import { rateLimited } from '../shared/errors.js'
import type { LoginLimiter } from '../users/service.js'

interface Parts { redis: Redis | Cluster | null, keyPrefix: string }

/** Keys that a process counts itself: about 30 MB. */
const keysInProcess = 50_000

/** A counter of this process, with a bound: past it the window is forgotten that began first, and so would end first. */
export class ProcessCounter extends RateLimiterMemory {
  readonly #begun = new Set<string>()
  readonly #most: number

  constructor (options: { points: number, duration: number, keyPrefix?: string }, most = keysInProcess) {
    super(options)
    this.#most = most
  }

  override async consume (key: string, points?: number): Promise<RateLimiterRes> {
    const result = await super.consume(key, points)
    if (!result.isFirstInDuration) return result
    this.#begun.delete(key)
    this.#begun.add(key)
    const [oldest] = this.#begun
    if (this.#begun.size > this.#most && oldest !== undefined) await this.delete(oldest)
    return result
  }

  override async delete (key: string): Promise<boolean> {
    this.#begun.delete(key)
    return await super.delete(key)
  }
}

/**
 * A counter in Redis, atomic over all instances; in this process where Redis is absent or fails. It is never open and never an error.
 * `final`: nobody is forgiven before the window ends, so past the limit the answer is known without asking Redis, and a flood doesn't reach it.
 */
export function createCounter ({ points, seconds }: Limit, name: string, { redis, keyPrefix, final }: Parts & { final: boolean }): RateLimiterAbstract {
  const options = { points, duration: Math.ceil(seconds), keyPrefix: `${keyPrefix}limit:${name}` }
  const inProcess = new ProcessCounter(options)
  if (redis === null) return inProcess
  return new RateLimiterRedis({ ...options, storeClient: redis, insuranceLimiter: inProcess, rejectIfRedisNotReady: true, ...final ? { inMemoryBlockOnConsumed: points + 1 } : {} })
}

/** LOGIN_LIMIT: attempts per account and address. */
export function createLoginLimiter (limit: Limit, parts: Parts): LoginLimiter {
  const counter = createCounter(limit, 'login', { ...parts, final: false })
  return {
    consume: (email, address) => consume(counter, loginKey(email, address)),
    async clear (email, address) {
      const key = loginKey(email, address)
      await counter.delete(key).catch(() => {})
    }
  }
}

/** Mails of a kind an hour to one mailbox: enough for people, too few to bury somebody. */
const mailsAnHour = 10

/** LOGIN_LIMIT again, for mails asked for; and what a mailbox gets, from wherever it was asked for. */
export function createMailLimiter (limit: Limit, parts: Parts): MailLimiter {
  const asked = createCounter(limit, 'mail', { ...parts, final: true })
  const sent = createCounter({ points: mailsAnHour, seconds: 3_600 }, 'mailbox', { ...parts, final: true })
  return {
    ask: (email, address) => consume(asked, loginKey(email, address)),
    async admit (email, kind) {
      return await sent.consume(createHash('sha256').update(`${kind}\n${email}`).digest('base64url')).then(() => true, () => false)
    }
  }
}

/**
 * ADDRESS_LIMIT: unauthenticated requests per address, whichever their route, as an onRequest hook. The plugin's own Redis store
 * would answer 500, or limit nobody, while Redis is gone; so it counts with ours.
 */
export async function createAddressLimit (app: FastifyInstance, limit: Limit | null, parts: Parts): Promise<(request: FastifyRequest, reply: FastifyReply) => Promise<void>> {
  if (limit === null) return async () => {}
  const counter = createCounter(limit, 'address', { ...parts, final: true })

  class Store {
    incr (key: string, callback: (error: Error | null, result?: { current: number, ttl: number }) => void): void {
      const tell = ({ consumedPoints, msBeforeNext }: RateLimiterRes) => callback(null, { current: consumedPoints, ttl: msBeforeNext })
      counter.consume(key).then(tell, refused => tell({ ...refused, consumedPoints: limit === null ? 1 : limit.points + 1, msBeforeNext: refused.msBeforeNext ?? 60_000 }))
    }

    child (): this { return this }
  }

  await app.register(fastifyRateLimit, {
    global: false,
    max: limit.points,
    timeWindow: limit.seconds * 1000,
    store: Store,
    keyGenerator: request => networkOf(request.ip),
    addHeaders: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false },
    addHeadersOnExceeding: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false },
    errorResponseBuilder: (_request, { ttl }) => rateLimited(ttl / 1000)
  })
  const hook = app.rateLimit()
  return async (request, reply) => { await hook.call(app, request, reply) }
}

async function consume (counter: RateLimiterAbstract, key: string): Promise<void> {
  try {
    await counter.consume(key)
  } catch (refused) {
    throw rateLimited(((refused as RateLimiterRes).msBeforeNext ?? 60_000) / 1000)
  }
}

/** No address of a person in a key of Redis. */
function loginKey (email: string, address: string): string {
  return createHash('sha256').update(`${email}\n${networkOf(address)}`).digest('base64url')
}

/** One subscriber's network: an IPv4 address, or the /64 of an IPv6 one, in which a host may choose freely. */
export function networkOf (address: string): string {
  if (!isIPv6(address)) return address
  const bare = (address.split('%', 1)[0] as string).replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, a, b, c, d) => `${(a * 256 + +b).toString(16)}:${(c * 256 + +d).toString(16)}`)
  const [head = '', tail] = bare.split('::') as [string, string?]
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = tail === undefined ? left : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  const numbers = groups.map(group => Number.parseInt(group, 16))
  // An IPv4 address in IPv6 clothes, however they are written.
  if (numbers.slice(0, 6).join() === '0,0,0,0,0,65535') return numbers.slice(6).flatMap(number => [number >> 8, number & 255]).join('.')
  return `${numbers.slice(0, 4).map(number => number.toString(16)).join(':')}::/64`
}
