import { join } from 'node:path'
import type { Registry } from 'prom-client'
import { type AdminService, createAdminService } from './admin/service.js'
import { createTokenStats, type TokenStats } from './admin/stats.js'
import { createAdminStore } from './admin/store.js'
import { createAttempts, createIdleAttempts } from './attempts/service.js'
import { createAttemptStore } from './attempts/store.js'
import { type Audit, createAudit } from './audit/service.js'
import { createAuditStore } from './audit/store.js'
import { type Clock, systemClock } from './clock.js'
import type { Config } from './config.js'
import { createBreachCheck } from './edges/breached-passwords.js'
import type { Database } from './edges/database.js'
import { createFileMailer, createSmtpMailer } from './edges/mailer.js'
import { createMetrics } from './edges/metrics.js'
import { createLoginLimiter, createMailLimiter, networkOf } from './edges/rate-limit.js'
import { measureRedis } from './edges/redis.js'
import { schedulePrune } from './edges/schedule.js'
import { createHealth, type Health } from './health.js'
import type { Log } from './logger.js'
import { createExpired } from './mail/expired.js'
import type { Mailer } from './mail/mailer.js'
import { createOutbox } from './mail/outbox.js'
import { createMailSender } from './mail/sender.js'
import { createMailService, type MailService } from './mail/service.js'
import { createMailStore } from './mail/store.js'
import { createOauthService, type OauthService } from './oauth/service.js'
import type { OpenRedis } from './open-redis.js'
import { createPersonalTokenService, type PersonalTokenService } from './personal-tokens/service.js'
import { createServiceTokenService, type ServiceTokenService } from './service-tokens/service.js'
import { createSessionService, type SessionService } from './sessions/service.js'
import { createSessionStore } from './sessions/store.js'
import { createTokenCache } from './tokens/cache.js'
import { type Counters, createCounters } from './tokens/counters.js'
import { type CacheEpoch, createEpoch } from './tokens/epoch.js'
import { createEpochStore } from './tokens/epoch-store.js'
import { createLastUse, type LastUse } from './tokens/last-use.js'
import { type CacheLink, noLink } from './tokens/link.js'
import { createMemoryLink } from './tokens/link-memory.js'
import { createPrune, type Prune } from './tokens/prune.js'
import { createRevocation } from './tokens/revocation.js'
import { createTokenService, type TokenService } from './tokens/service.js'
import { createSettle, type Settle } from './tokens/settle.js'
import { createTokenStore } from './tokens/store.js'
import { TokenMint } from './tokens/token.js'
import { type AccountService, createAccountService } from './users/account.js'
import type { EmailChanges } from './users/email-changes.js'
import { createUserImport, type UserImport } from './users/import.js'
import { createPasswords } from './users/password.js'
import { createPasswordPolicy } from './users/password-policy.js'
import { createReauthenticate } from './users/reauthenticate.js'
import { createUserService, type UserService } from './users/service.js'
import { createUserStore } from './users/store.js'

/** What the services stand on. All but the first three are for tests, which hold clocks still, break links and read mails; without a mailer (null) mails wait for another instance. */
export interface Foundation {
  database: Database
  redis: Pick<OpenRedis, 'limiter' | 'link'> | null
  logger: Log
  clock?: Clock
  link?: (real: CacheLink) => CacheLink
  settle?: (real: Settle) => Settle
  emailChanges?: EmailChanges
  mailer?: Mailer | null
}

/** All that Latchkey does, without HTTP. */
export interface Services {
  tokens: TokenService
  sessions: SessionService
  personalTokens: PersonalTokenService
  serviceTokens: ServiceTokenService
  oauth: OauthService
  users: UserService
  account: AccountService
  admin: AdminService
  tokenStats: TokenStats
  audit: Audit
  mail: MailService
  prune: Prune
  importUsers: UserImport
  epoch: CacheEpoch
  lastUse: LastUse
  counters: Counters
  metrics: Registry
  health: Health
  /** Begins what runs beside the requests. */
  start (): void
  /** Ends it, once every revocation under way is settled; closes neither the database nor Redis. */
  stop (): Promise<void>
}

/** Wires stores and services over a migrated database. */
export async function createServices (config: Config, { database, redis, logger, clock = systemClock, link: breakLink = real => real, settle: breakSettle = real => real, mailer = createMailer(config), emailChanges }: Foundation): Promise<Services> {
  const counters = createCounters()
  const memory = redis === null && database.embedded ? createMemoryLink() : null
  const link = breakLink(redis !== null ? redis.link : memory ?? noLink)

  // The flushes of last use lag behind by seconds: an idle time must not end a session that is being used elsewhere.
  const idle = { idleSeconds: config.sessionIdleTtlSeconds === null ? null : config.sessionIdleTtlSeconds + 20 }
  const tokenStore = createTokenStore(database, idle)
  const sessionStore = createSessionStore(database, idle)
  const userStore = createUserStore(database)
  const attemptStore = createAttemptStore(database)
  const epochStore = createEpochStore(database)
  const mint = new TokenMint(await tokenStore.requireKey('token-check'))
  const passwords = await createPasswords({ key: await tokenStore.requireKey('password'), cost: config.bcryptCost })

  const epoch = createEpoch({ store: epochStore, link, clock, counters, log: logger, onNeed: () => { void settle.assist() } })
  const cache = createTokenCache({ link, epoch, clock, counters, keyPrefix: config.redisKeyPrefix, cacheTtlSeconds: config.cacheTtlSeconds })
  const settle: Settle = breakSettle(createSettle({ store: epochStore, cache, link, epoch, clock, counters }))
  const audit = createAudit({ store: createAuditStore(database), clock, retentionSeconds: config.auditRetentionSeconds, onRecorded: (tx, events) => outbox.onRecorded(tx, events) })
  const mailStore = createMailStore(database)
  const outbox = createOutbox({ store: mailStore, audit, networkOf, onCommitted: () => sender.wake() })
  const transactions = outbox.watch(database)
  const revocation = createRevocation({ transactions, store: epochStore, settle })

  const limiter = createLoginLimiter(config.loginLimit, { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
  const lastUse = createLastUse({ sessions: sessionStore, tokens: tokenStore, clock, graceSeconds: config.refreshGraceSeconds, log: logger })
  const tokens = createTokenService({ lastUse, mint, cache, store: tokenStore, clock, counters, cacheTtlSeconds: config.cacheTtlSeconds })
  const attempts = createAttempts({ store: attemptStore, audit, transactions: database, clock, networkOf, key: await tokenStore.requireKey('attempts') })
  const policy = createPasswordPolicy({ minLength: config.passwordMinLength, isBreached: createBreachCheck(config.breachedPasswordsUrl ?? null, logger) })
  const users = createUserService({ store: userStore, passwords, policy, limiter, attempts, clock, registration: config.registration })
  const sessions = createSessionService({ store: sessionStore, tokens, users, revocation, audit, transactions, clock, sessionLimit: config.sessionLimit, lifetimes: config })
  const reauthenticate = createReauthenticate({ users, clock })
  const personalTokens = createPersonalTokenService({ tokens, reauthenticate, sessions, audit, clock })
  const serviceTokens = createServiceTokenService({ tokens, users, sessions, audit, transactions, clock })
  const oauth = createOauthService({ tokens, users, sessions, revocation, audit, clock })
  const mailLimiter = createMailLimiter(config.loginLimit, { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
  const mail = createMailService({ store: mailStore, outbox, users, sessions, tokens, audit, revocation, transactions, limiter: mailLimiter, confirms: config.registration === 'confirm', clock })
  const places = { appUrl: config.appUrl ?? null, publicUrl: config.publicUrl ?? null }
  const sender = createMailSender({ store: mailStore, users, audit, transactions: database, mailer, limiter: mailLimiter, places, clock, log: logger })
  const account = createAccountService({ store: userStore, sessions, tokens, revocation, audit, transactions, reauthenticate, emailChanges: emailChanges ?? { request: mail.requestEmailChange }, clock })

  const adminStore = createAdminStore(database)
  const admin = createAdminService({ store: adminStore, users, sessions, tokens, revocation, settle, audit, reauthenticate, forgive: users.forgive })
  const tokenStats = createTokenStats({ store: adminStore, counters, epoch, measure: redis !== null ? () => measureRedis(redis.limiter) : memory?.measure ?? null, clock })

  const prune = createPrune({ store: tokenStore, audit, accounts: account, mail: createExpired({ store: mailStore, clock }), idleAttempts: createIdleAttempts({ store: attemptStore, clock }), clock, retentionSeconds: config.pruneRetentionSeconds })
  let schedule: ReturnType<typeof schedulePrune> | null = null
  const importUsers = createUserImport({ store: userStore, transactions: database, clock })
  const metrics = createMetrics({ counters, trusted: () => epoch.trust() !== null, passwordsWaiting: passwords.waiting })

  const health = createHealth({ database, link, epoch, keyPrefix: config.redisKeyPrefix })

  return {
    tokens, sessions, personalTokens, serviceTokens, oauth, users, account, admin, tokenStats, audit, mail, prune, importUsers, epoch, lastUse, counters, metrics, health,
    start () {
      schedule ??= schedulePrune({ prune, expression: config.pruneSchedule, timezone: config.pruneTimezone, log: logger })
      epoch.start()
      lastUse.start()
      sender.start()
    },
    async stop () {
      await Promise.all([schedule?.stop(), sender.stop()])
      await revocation.drain()
      await lastUse.stop()
      await epoch.stop()
      await epochStore.close()
    }
  }
}

function createMailer ({ smtp, mailFrom, dataDir }: Config): Mailer {
  return smtp === null ? createFileMailer(join(dataDir, 'mail'), mailFrom) : createSmtpMailer(smtp, mailFrom)
}
