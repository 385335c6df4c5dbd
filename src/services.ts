import { join } from 'node:path'
import type { Registry } from 'prom-client'
import { type AdminService, createAdminService } from './admin/service.js'
import { createTokenStats, type TokenStats } from './admin/stats.js'
import { createAdminStore } from './admin/store.js'
import { createAttempts, createIdleAttempts } from './attempts/service.js'
import { createAttemptStore } from './attempts/store.js'
import { type Audit, createAudit } from './audit/service.js'
import { createAuditStore } from './audit/store.js'
import type { Config } from './config/config.js'
import type { Database } from './database/database.js'
import { createHealth, type Health } from './http/health.js'
import { createLoginLimiter, createMailLimiter, networkOf } from './http/rate-limit.js'
import { createExpired } from './mail/expired.js'
import type { Mailer } from './mail/mailer.js'
import { createOutbox } from './mail/outbox.js'
import { createMailSender } from './mail/sender.js'
import { createMailService, type MailService } from './mail/service.js'
import { createMailStore } from './mail/store.js'
import { createFileMailer, createSmtpMailer } from './mail/transport.js'
import { createOauthService, type OauthService } from './oauth/service.js'
import type { Log } from './observability/logger.js'
import { createMetrics } from './observability/metrics.js'
import type { Tracing } from './observability/tracing.js'
import { createPersonalTokenService, type PersonalTokenService } from './personal-tokens/service.js'
import { measureRedis } from './redis/client.js'
import type { OpenRedis } from './redis/open.js'
import { createPrune, type Prune } from './retention/prune.js'
import { schedulePrune } from './retention/schedule.js'
import { createDeadStore } from './retention/store.js'
import { type CacheEpoch, createEpoch } from './revocation/epoch.js'
import { createRevocation } from './revocation/revocation.js'
import { createSettle, type Settle } from './revocation/settle.js'
import { createEpochStore } from './revocation/store.js'
import { createServiceTokenService, type ServiceTokenService } from './service-tokens/service.js'
import { createSessionService, type SessionService } from './sessions/service.js'
import { createSessionStore } from './sessions/store.js'
import { type Clock, systemClock } from './shared/clock.js'
import { type CacheLink, noLink } from './token-cache/backend.js'
import { createTokenCache } from './token-cache/cache.js'
import { type Counters, createCounters } from './token-cache/counters.js'
import { createMemoryLink } from './token-cache/memory.js'
import { createLastUse, type LastUse } from './tokens/last-use.js'
import { createTokenService, type TokenService } from './tokens/service.js'
import { createTokenStore } from './tokens/store.js'
import { TokenMint } from './tokens/token.js'
import { type AccountService, createAccountService } from './users/account.js'
import { createBreachCheck } from './users/breached-passwords.js'
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
  /** Null or absent: no spans. */
  tracing?: Tracing | null
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
export async function createServices (config: Config, { database: untraced, redis, logger, tracing = null, clock = systemClock, link: breakLink = real => real, settle: breakSettle = real => real, mailer = createMailer(config), emailChanges }: Foundation): Promise<Services> {
  const counters = createCounters()
  const database = traced(untraced, tracing?.database)
  const memory = redis === null && database.embedded ? createMemoryLink() : null
  const link = breakLink(redis !== null ? redis.link : memory ?? noLink)

  // What is written of last uses lags behind: an idle time must not end a session that is being used elsewhere.
  const idle = { idleSeconds: config.sessionIdleTtlSeconds === null ? null : config.sessionIdleTtlSeconds + 4 * config.lastUseIntervalSeconds }
  const tokenStore = traced(createTokenStore(database, idle), tracing?.tokenStore)
  const sessionStore = createSessionStore(database, idle)
  const userStore = createUserStore(database)
  const attemptStore = createAttemptStore(database)
  const epochStore = createEpochStore(database)
  const mint = new TokenMint(await tokenStore.requireKey('token-check'))
  const passwords = traced(await createPasswords({ key: await tokenStore.requireKey('password'), cost: config.bcryptCost }), tracing?.passwords)

  const epoch = createEpoch({ store: epochStore, link, clock, counters, log: logger, onNeed: () => { void settle.assist() } })
  const cache = traced(createTokenCache({ link, epoch, clock, counters, log: logger, keyPrefix: config.redisKeyPrefix, cacheTtlSeconds: config.cacheTtlSeconds }), tracing?.cache)
  const settle: Settle = traced(breakSettle(createSettle({ store: epochStore, cache, link, epoch, clock, counters })), tracing?.settle)
  const audit = createAudit({ store: createAuditStore(database), clock, retentionSeconds: config.auditRetentionSeconds, onRecorded: (tx, events) => outbox.onRecorded(tx, events), log: logger })
  const mailStore = createMailStore(database)
  const outbox = createOutbox({ store: mailStore, audit, networkOf, onCommitted: () => sender.wake() })
  const revocation = traced(createRevocation({ transactions: database, store: epochStore, settle, log: logger }), tracing?.revocation)

  const limiter = createLoginLimiter(config.loginLimit, { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
  const lastUse = createLastUse({ sessions: sessionStore, tokens: tokenStore, clock, intervalSeconds: config.lastUseIntervalSeconds, graceSeconds: config.refreshGraceSeconds, log: logger })
  const tokens = createTokenService({ lastUse, mint, cache, store: tokenStore, clock, counters, cacheTtlSeconds: config.cacheTtlSeconds })
  const attempts = createAttempts({ store: attemptStore, audit, transactions: database, clock, networkOf, key: await tokenStore.requireKey('attempts') })
  const policy = createPasswordPolicy({ minLength: config.passwordMinLength, isBreached: createBreachCheck(config.breachedPasswordsUrl ?? null, logger) })
  const users = createUserService({ store: userStore, passwords, policy, limiter, attempts, clock, registration: config.registration })
  const sessions = createSessionService({ store: sessionStore, tokens, users, revocation, audit, transactions: database, clock, counters, log: logger, sessionLimit: config.sessionLimit, lifetimes: config })
  const reauthenticate = createReauthenticate({ users, clock })
  const personalTokens = createPersonalTokenService({ tokens, reauthenticate, sessions, audit, clock })
  const serviceTokens = createServiceTokenService({ tokens, users, sessions, audit, transactions: database, clock })
  const oauth = createOauthService({ tokens, users, sessions, revocation, audit, clock })
  const mailLimiter = createMailLimiter(config.loginLimit, { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
  const mail = createMailService({ store: mailStore, outbox, users, sessions, tokens, audit, revocation, transactions: database, limiter: mailLimiter, confirms: config.registration === 'confirm', clock })
  const places = { appUrl: config.appUrl ?? null, publicUrl: config.publicUrl ?? null }
  const sender = createMailSender({ store: mailStore, users, audit, transactions: database, mailer, limiter: mailLimiter, places, counters, clock, log: logger })
  const account = createAccountService({ store: userStore, sessions, tokens, revocation, audit, transactions: database, reauthenticate, emailChanges: emailChanges ?? { request: mail.requestEmailChange }, clock })

  const adminStore = createAdminStore(database)
  const admin = createAdminService({ store: adminStore, users, sessions, tokens, revocation, settle, audit, accounts: account, reauthenticate, forgive: users.forgive })
  const tokenStats = createTokenStats({ store: adminStore, counters, epoch, measure: redis !== null ? () => measureRedis(redis.limiter) : memory?.measure ?? null, clock })

  const prune = createPrune({ store: createDeadStore(database), audit, accounts: account, mail: createExpired({ store: mailStore, clock }), idleAttempts: createIdleAttempts({ store: attemptStore, clock }), clock, counters, retentionSeconds: config.pruneRetentionSeconds })
  let schedule: ReturnType<typeof schedulePrune> | null = null
  const importUsers = createUserImport({ store: userStore, transactions: database, clock })
  const health = createHealth({ database, link, epoch, keyPrefix: config.redisKeyPrefix })
  const metrics = createMetrics({ counters, trusted: () => epoch.trust() !== null, passwords, roundTrip: health.database, load: database.load, outbox: mailStore })

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

/** `real` within the spans that `wrap` puts around it, where somebody wants them. */
function traced<T> (real: T, wrap: ((real: T) => T) | undefined): T {
  return wrap === undefined ? real : wrap(real)
}

function createMailer ({ smtp, mailFrom, dataDir }: Config): Mailer {
  return smtp === null ? createFileMailer(join(dataDir, 'mail'), mailFrom) : createSmtpMailer(smtp, mailFrom)
}
