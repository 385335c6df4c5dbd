import { randomUUID } from 'node:crypto'
import fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import type { Registry } from 'prom-client'
import { type Clock, systemClock } from './clock.js'
import type { Config } from './config.js'
import type { Database } from './edges/database.js'
import { addCommonHttp, addJsonBodies, refuseMalformed } from './edges/http.js'
import { createMetrics } from './edges/metrics.js'
import { addOpenapi } from './edges/openapi.js'
import { createAddressLimit, createLoginLimiter } from './edges/rate-limit.js'
import { schedulePrune } from './edges/schedule.js'
import { type Health, healthRoutes } from './health.js'
import { sessionRoutes } from './sessions/routes.js'
import { createSessionService } from './sessions/service.js'
import { createSessionStore } from './sessions/store.js'
import { createAuthenticate } from './tokens/authenticate.js'
import { createTokenCache } from './tokens/cache.js'
import { createCounters, type Counters } from './tokens/counters.js'
import { type CacheEpoch, createEpoch } from './tokens/epoch.js'
import { createEpochStore } from './tokens/epoch-store.js'
import { type CacheLink, noLink } from './tokens/link.js'
import { createMemoryLink } from './tokens/link-memory.js'
import { createRedisLink } from './tokens/link-redis.js'
import { createPrune, type Prune } from './tokens/prune.js'
import { createRevocation } from './tokens/revocation.js'
import { createTokenService } from './tokens/service.js'
import { createSettle, type Settle } from './tokens/settle.js'
import { createTokenStore } from './tokens/store.js'
import { TokenMint } from './tokens/token.js'
import { userRoutes } from './users/routes.js'
import { createPasswords } from './users/password.js'
import { createUserService } from './users/service.js'
import { createUserStore } from './users/store.js'

/** What the app stands on. The last four are for tests, which hold clocks still and break links. */
export interface Foundation {
  database: Database
  redis: Redis | null
  logger: FastifyBaseLogger
  clock?: Clock
  link?: (real: CacheLink) => CacheLink
  settle?: (real: Settle) => Settle
}

export interface Latchkey {
  app: FastifyInstance
  prune: Prune
  epoch: CacheEpoch
  counters: Counters
  metrics: Registry
}

/** Wires edges, stores, services and routes. The database is migrated; closing the app closes neither it nor Redis. */
export async function buildApp (config: Config, { database, redis, logger, clock = systemClock, link: breakLink = real => real, settle: breakSettle = real => real }: Foundation): Promise<Latchkey> {
  const counters = createCounters()
  const link = breakLink(redis !== null ? createRedisLink(redis) : database.embedded ? createMemoryLink() : noLink)

  const tokenStore = createTokenStore(database)
  const userStore = createUserStore(database)
  const epochStore = createEpochStore(database)
  const mint = new TokenMint(await tokenStore.requireKey('token-check'))
  const passwords = await createPasswords({ key: await tokenStore.requireKey('password'), cost: config.bcryptCost })

  const epoch = createEpoch({ store: epochStore, link, clock, counters, log: logger, onNeed: () => { void settle.assist() } })
  const cache = createTokenCache({ link, epoch, clock, counters, keyPrefix: config.redisKeyPrefix, cacheTtlSeconds: config.cacheTtlSeconds })
  const settle: Settle = breakSettle(createSettle({ store: epochStore, cache, link, epoch, clock, counters }))
  const revocation = createRevocation({ transactions: database, store: epochStore, settle })

  const limits = { redis, keyPrefix: config.redisKeyPrefix }
  const tokens = createTokenService({ mint, cache, store: tokenStore, clock, counters, cacheTtlSeconds: config.cacheTtlSeconds })
  const users = createUserService({ store: userStore, passwords, limiter: createLoginLimiter(config.loginLimit, limits), clock, registration: config.registration, passwordMinLength: config.passwordMinLength })
  const sessions = createSessionService({ store: createSessionStore(database), tokens, users, revocation, transactions: database, clock, sessionLimit: config.sessionLimit, tokenTtlSeconds: config.tokenTtlSeconds, sessionTtlSeconds: config.sessionTtlSeconds })
  const prune = createPrune({ store: tokenStore, clock, retentionSeconds: config.pruneRetentionSeconds })
  const authenticate = createAuthenticate(tokens)

  const health: Health = {
    database: () => timed(() => database.prepared('select 1', [])),
    cache: () => timed(() => probe(link, `${config.redisKeyPrefix}probe:${randomUUID()}`)),
    cacheState: epoch.state,
    hasCache: link !== noLink
  }

  const app = fastify({
    loggerInstance: logger,
    trustProxy: config.trustProxy.length > 0 ? config.trustProxy : false,
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    genReqId: () => randomUUID(),
    clientErrorHandler: refuseMalformed,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } }
  })
  app.decorateRequest('token', null)
  addJsonBodies(app)
  await addCommonHttp(app, { corsOrigins: config.corsOrigins, embedded: database.embedded })
  await addOpenapi(app, config.publicUrl)
  const limitByAddress = await createAddressLimit(app, config.addressLimit, limits)

  await app.register(healthRoutes, { health })
  await app.register(userRoutes, { authenticate })
  await app.register(sessionRoutes, { sessions, authenticate, limitByAddress })

  const schedule = schedulePrune({ prune, expression: config.pruneSchedule, timezone: config.pruneTimezone, log: logger })
  app.addHook('onReady', async () => { epoch.start() })
  app.addHook('onClose', async () => {
    await schedule.stop()
    await revocation.drain()
    await epoch.stop()
    await epochStore.close()
  })
  const metrics = createMetrics({ counters, trusted: () => epoch.trust() !== null, passwordsWaiting: passwords.waiting })
  return { app, prune, epoch, counters, metrics }
}

async function timed (work: () => Promise<unknown>): Promise<number | null> {
  const startedAt = performance.now()
  try {
    await work()
    return Math.round((performance.now() - startedAt) * 100) / 100
  } catch {
    return null
  }
}

/** A real write, read and delete: a server that only answers PING may be full, or a replica. */
async function probe (link: CacheLink, key: string): Promise<void> {
  if (await link.takeLease(key, 'Lprobe', 1_000) !== null) throw new Error('the key was not free')
  if (await link.takeLease(key, 'Lprobe', 1_000) !== 'Lprobe') throw new Error('the write was lost')
  await link.overwrite([key], null)
}
