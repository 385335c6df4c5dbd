import { randomUUID } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import type { Registry } from 'prom-client'
import { type Clock, systemClock } from './clock.js'
import type { Config } from './config.js'
import type { Database } from './edges/database.js'
import { addCommonHttp, addJsonBodies, refuseMalformed, refuseUrl } from './edges/http.js'
import { createMetrics } from './edges/metrics.js'
import { addOpenapi } from './edges/openapi.js'
import { createAddressLimit, createLoginLimiter } from './edges/rate-limit.js'
import { schedulePrune } from './edges/schedule.js'
import { type Health, healthRoutes } from './health.js'
import { inTime } from './in-time.js'
import { personalTokenRoutes } from './personal-tokens/routes.js'
import { createPersonalTokenService } from './personal-tokens/service.js'
import { createCookies } from './sessions/cookies.js'
import { sessionRoutes } from './sessions/routes.js'
import { createSessionService } from './sessions/service.js'
import { createSessionStore } from './sessions/store.js'
import { createAuthenticate } from './tokens/authenticate.js'
import { createTokenCache } from './tokens/cache.js'
import { type Counters, createCounters } from './tokens/counters.js'
import { type CacheEpoch, createEpoch } from './tokens/epoch.js'
import { createEpochStore } from './tokens/epoch-store.js'
import { createLastUse, type LastUse } from './tokens/last-use.js'
import { type CacheLink, noLink } from './tokens/link.js'
import { createMemoryLink } from './tokens/link-memory.js'
import { createRedisLink } from './tokens/link-redis.js'
import { createPrune, type Prune } from './tokens/prune.js'
import { createRevocation } from './tokens/revocation.js'
import { createTokenService } from './tokens/service.js'
import { createSettle, type Settle } from './tokens/settle.js'
import { createTokenStore } from './tokens/store.js'
import { TokenMint } from './tokens/token.js'
import { createUserImport, type UserImport } from './users/import.js'
import { createPasswords } from './users/password.js'
import { userRoutes } from './users/routes.js'
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
  importUsers: UserImport
  epoch: CacheEpoch
  lastUse: LastUse
  counters: Counters
  metrics: Registry
}

/** Wires edges, stores, services and routes. The database is migrated; closing the app closes neither it nor Redis. */
export async function buildApp (config: Config, { database, redis, logger, clock = systemClock, link: breakLink = real => real, settle: breakSettle = real => real }: Foundation): Promise<Latchkey> {
  const counters = createCounters()
  const link = breakLink(redis !== null ? createRedisLink(redis) : database.embedded ? createMemoryLink() : noLink)

  // The flushes of last use lag behind by seconds: an idle time must not end a session that is being used elsewhere.
  const idle = { idleSeconds: config.sessionIdleTtlSeconds === null ? null : config.sessionIdleTtlSeconds + 20 }
  const tokenStore = createTokenStore(database, idle)
  const sessionStore = createSessionStore(database, idle)
  const userStore = createUserStore(database)
  const epochStore = createEpochStore(database)
  const mint = new TokenMint(await tokenStore.requireKey('token-check'))
  const passwords = await createPasswords({ key: await tokenStore.requireKey('password'), cost: config.bcryptCost })

  const epoch = createEpoch({ store: epochStore, link, clock, counters, log: logger, onNeed: () => { void settle.assist() } })
  const cache = createTokenCache({ link, epoch, clock, counters, keyPrefix: config.redisKeyPrefix, cacheTtlSeconds: config.cacheTtlSeconds })
  const settle: Settle = breakSettle(createSettle({ store: epochStore, cache, link, epoch, clock, counters }))
  const revocation = createRevocation({ transactions: database, store: epochStore, settle })

  const limits = { redis, keyPrefix: config.redisKeyPrefix }
  const lastUse = createLastUse({ sessions: sessionStore, tokens: tokenStore, clock, graceSeconds: config.refreshGraceSeconds, log: logger })
  const tokens = createTokenService({ lastUse, mint, cache, store: tokenStore, clock, counters, cacheTtlSeconds: config.cacheTtlSeconds })
  const users = createUserService({ store: userStore, passwords, limiter: createLoginLimiter(config.loginLimit, limits), clock, registration: config.registration, passwordMinLength: config.passwordMinLength })
  const sessions = createSessionService({ store: sessionStore, tokens, users, revocation, transactions: database, clock, sessionLimit: config.sessionLimit, lifetimes: config })
  const personalTokens = createPersonalTokenService({ tokens, users, sessions, clock })
  const prune = createPrune({ store: tokenStore, clock, retentionSeconds: config.pruneRetentionSeconds })

  const importUsers = createUserImport({ store: userStore, transactions: database, clock })

  const health: Health = {
    database: () => timed(() => inTime(database.prepared('select 1', []), 1_000, () => {})),
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
    frameworkErrors: refuseUrl,
    // Longer than any URL: past it Fastify 5.12 throws outside of any handler.
    routerOptions: { maxParamLength: 65_536 },
    http: { requireHostHeader: false },
    // What still arrives on an open connection is served, and the connection then closed.
    return503OnClosing: false,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } }
  })
  app.decorateRequest('token', null)
  app.decorateRequest('byCookie', false)
  await app.register(fastifyCookie, { hook: false })
  const cookies = createCookies({ app, secure: config.cookieSecure, publicUrl: config.publicUrl, corsOrigins: config.corsOrigins })
  const authenticate = createAuthenticate(tokens, cookies)
  addJsonBodies(app)
  await addCommonHttp(app, { corsOrigins: config.corsOrigins, embedded: database.embedded })
  await addOpenapi(app, config.publicUrl)
  const limitByAddress = await createAddressLimit(app, config.addressLimit, limits)

  await app.register(healthRoutes, { health })
  await app.register(userRoutes, { authenticate })
  await app.register(sessionRoutes, { sessions, cookies, authenticate, limitByAddress })
  await app.register(personalTokenRoutes, { personalTokens, authenticate })

  const schedule = schedulePrune({ prune, expression: config.pruneSchedule, timezone: config.pruneTimezone, log: logger })
  app.addHook('onReady', async () => {
    epoch.start()
    lastUse.start()
  })
  app.addHook('onClose', async () => {
    await schedule.stop()
    await revocation.drain()
    await lastUse.stop()
    await epoch.stop()
    await epochStore.close()
  })
  const metrics = createMetrics({ counters, trusted: () => epoch.trust() !== null, passwordsWaiting: passwords.waiting })
  return { app, prune, importUsers, epoch, lastUse, counters, metrics }
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
