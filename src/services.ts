import { join } from 'node:path'
import type { Registry } from 'prom-client'
import { createAdmin } from './admin/index.js'
import type { Overview } from './admin/overview.js'
import type { AdminService } from './admin/service.js'
import type { TokenStats } from './admin/stats.js'
import { createFailureCounts } from './attempts/index.js'
import { createLoginLimiter } from './attempts/login-limiter.js'
import { createAuditTrail } from './audit/index.js'
import type { Audit } from './audit/service.js'
import type { Config } from './config/config.js'
import { type Counters, createCounters } from './counters.js'
import type { Database } from './database/database.js'
import { createEdgeHints } from './edge-hints/index.js'
import { createFactorChecks, createFactors } from './factors/index.js'
import { createOwesFactor, type OwesFactor } from './factors/policy.js'
import type { FactorService } from './factors/service.js'
import { createHealth, type Health } from './http/health.js'
import { createKeys } from './keys/store.js'
import { createMail } from './mail/index.js'
import { createMailLimiter } from './mail/limiter.js'
import type { Mailer } from './mail/mailer.js'
import type { MailService } from './mail/service.js'
import { createFileMailer, createSmtpMailer } from './mail/transport.js'
import { createOauthService, type OauthService } from './oauth/service.js'
import type { Log } from './observability/logger.js'
import { createMetrics } from './observability/metrics.js'
import type { Tracing } from './observability/tracing.js'
import { createPersonalTokenService, type PersonalTokenService } from './personal-tokens/service.js'
import { measureRedis } from './redis/client.js'
import type { OpenRedis } from './redis/open.js'
import { createRetention } from './retention/index.js'
import type { Prune } from './retention/prune.js'
import type { CacheEpoch } from './revocation/epoch.js'
import { createProtocol } from './revocation/index.js'
import type { Settle } from './revocation/settle.js'
import { createServiceTokenService, type ServiceTokenService } from './service-tokens/service.js'
import { createSessionData } from './session-data/index.js'
import type { SessionDataService } from './session-data/service.js'
import { createSessions } from './sessions/index.js'
import { createRefreshLimiter, createWriteLimiter } from './sessions/limiter.js'
import type { SessionService } from './sessions/service.js'
import { createFirstAdmin } from './setup/index.js'
import type { Setup } from './setup/service.js'
import { networkOf } from './shared/address.js'
import { type Clock, systemClock } from './shared/clock.js'
import { traced } from './shared/traced.js'
import { type CacheBackend, noBackend } from './token-cache/backend.js'
import { createMemoryBackend } from './token-cache/memory.js'
import type { Writes } from './tokens/authenticate.js'
import { createTokens, idleSecondsOf } from './tokens/index.js'
import type { LastUse } from './tokens/last-use.js'
import type { TokenService } from './tokens/service.js'
import type { AccountService } from './users/account.js'
import type { EmailChanges } from './users/email-changes.js'
import type { UserImport } from './users/import.js'
import { createAccounts, createUsers } from './users/index.js'
import type { UserService } from './users/service.js'
import { createVault, type Vault, type VaultKey } from './vault/vault.js'

/** What the services stand on. All but the first three are for tests, which hold clocks still, break the cache and read mails. */
export interface Foundation {
  database: Database
  redis: Pick<OpenRedis, 'limiter' | 'backend'> | null
  logger: Log
  /** By default those of VAULT_KEYS_FILE. */
  vaultKeys?: VaultKey[]
  clock?: Clock
  backend?: (real: CacheBackend) => CacheBackend
  settle?: (real: Settle) => Settle
  emailChanges?: EmailChanges
  /** Null: mails wait for another instance. */
  mailer?: Mailer | null
  /** Null or absent: no spans. */
  tracing?: Tracing | null
}

/** All that Latchkey does, without HTTP. */
export interface Services {
  tokens: TokenService
  sessions: SessionService
  factors: FactorService
  owesFactor: OwesFactor
  sessionData: SessionDataService
  personalTokens: PersonalTokenService
  serviceTokens: ServiceTokenService
  oauth: OauthService
  users: UserService
  account: AccountService
  /** WRITE_LIMIT */
  writes: Writes
  admin: AdminService
  tokenStats: TokenStats
  overview: Overview
  setup: Setup
  audit: Audit
  mail: MailService
  vault: Vault
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

/** Joins the features over a migrated database, each after those that it needs. */
export async function createServices (config: Config, foundation: Foundation): Promise<Services> {
  const { redis, logger: log, tracing: spans = null, clock = systemClock, mailer = createMailer(config) } = foundation
  const { backend: wrapBackend = real => real, settle: wrapSettle = real => real } = foundation
  const database = traced(foundation.database, spans?.database)
  const keys = createKeys(database)
  const vault = createVault(foundation.vaultKeys ?? config.vaultKeys)
  const counters = createCounters()
  const memory = redis === null && database.embedded ? createMemoryBackend() : null
  const backend = wrapBackend(redis?.backend ?? memory ?? noBackend)
  const limits = { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix }
  const idleSeconds = idleSecondsOf(config)
  const common = { database, clock, log, counters, config, networkOf }

  const hints = createEdgeHints(common)
  const protocol = await createProtocol({
    ...common,
    copies: hints,
    backend,
    keyPrefix: config.redisKeyPrefix,
    cacheTtlSeconds: config.cacheTtlSeconds,
    wrapSettle,
    spans
  })
  const { revocation, epoch } = protocol
  const { tokens, lastUse } = await createTokens({ ...common, keys, cache: protocol.cache, spans })
  const audit = createAuditTrail({ ...common, retentionSeconds: config.auditRetentionSeconds })
  const failures = await createFailureCounts({ ...common, keys, audit })
  const { users, passwords, importUsers } = await createUsers({
    ...common,
    keys,
    limiter: createLoginLimiter(config.loginLimit, limits),
    attempts: failures.attempts,
    audit,
    spans
  })
  const { check, challenges, reauthenticate } = createFactorChecks({ ...common, vault, users, audit })
  const owesFactor = createOwesFactor(config.secondFactor)
  const sessions = createSessions({
    ...common,
    tokens,
    users,
    challenges,
    check,
    limiter: createRefreshLimiter(limits),
    revocation,
    audit,
    idleSeconds
  })
  const factors = createFactors({ ...common, vault, users, sessions, tokens, audit, reauthenticate, challenges })
  const limiter = createWriteLimiter(config.sessionDataLimit, 'session-data', limits)
  const sessionData = createSessionData({ ...common, protocol, sessions, limiter, idleSeconds })
  const personalTokens = createPersonalTokenService({
    tokens,
    reauthenticate,
    sessions,
    audit,
    clock,
    limit: config.personalTokenLimit,
    needsVerifiedEmail: config.smtp !== null
  })
  const serviceTokens = createServiceTokenService({ tokens, sessions, revocation, audit, transactions: database, clock })
  const oauth = createOauthService({
    tokens,
    users,
    sessions,
    revocation,
    audit,
    clock,
    hints,
    introspectUnverified: config.introspectUnverified,
    owesFactor
  })
  const { mail, sender, expired, outbox } = createMail({
    ...common,
    users,
    sessions,
    tokens,
    revocation,
    audit,
    check,
    mailer,
    limiter: createMailLimiter(config.loginLimit, limits)
  })
  const account = createAccounts({
    ...common,
    sessions,
    tokens,
    revocation,
    audit,
    reauthenticate,
    emailChanges: foundation.emailChanges ?? { request: mail.requestEmailChange },
    notifyDeleted: mail.notifyDeleted
  })
  const measure = redis === null ? memory?.measure ?? null : () => measureRedis(redis.limiter)
  const { admin, tokenStats, overview } = createAdmin({
    ...common,
    users,
    sessions,
    tokens,
    accounts: account,
    protocol,
    audit,
    reauthenticate,
    factors,
    measure
  })
  const setup = createFirstAdmin({ ...common, users, sessions, audit })
  const retention = createRetention({
    ...common,
    counters: counters.prune,
    audit,
    accounts: account,
    idleAttempts: failures.idle,
    challenges,
    mail: expired
  })
  const health = createHealth({ database, backend, epoch, keyPrefix: config.redisKeyPrefix })
  const metrics = createMetrics({
    counters,
    trusted: () => epoch.trust() !== null,
    passwords,
    roundTrip: health.database,
    load: database.load,
    outbox
  })

  return {
    tokens, sessions, factors, owesFactor,
    sessionData, personalTokens, serviceTokens, oauth, users, account, admin, tokenStats, overview, setup, audit, mail,
    vault, importUsers, epoch, lastUse, counters, metrics, health,
    prune: retention.prune,
    writes: createWriteLimiter(config.writeLimit, 'write', limits),
    start () { for (const part of [retention, epoch, lastUse, sender]) part.start() },
    async stop () {
      await Promise.all([retention.stop(), sender.stop()])
      await lastUse.stop()
      await protocol.stop()
      await hints?.stop()
    }
  }
}

function createMailer ({ smtp, smtpName, mailFrom, dataDir }: Config): Mailer {
  return smtp === null ? createFileMailer(join(dataDir, 'mail'), mailFrom) : createSmtpMailer(smtp, mailFrom, { name: smtpName })
}
