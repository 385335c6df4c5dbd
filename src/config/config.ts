import { type Environment, environmentSchema, parseEnvironment } from './environment.js'
import { findProblems } from './problems.js'
import { readRedisConfig } from './redis.js'
import { readSecretFiles } from './secret-files.js'
import { mailHost, readSmtp } from './smtp.js'
import { type Limit, list, secondsOrNone, toLimit, toSeconds } from './values.js'

/** The configuration cannot be used. The message names every bad variable, and no value. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** The validated environment, frozen. Empty variables count as absent. */
export type Config = Readonly<ReturnType<typeof readConfig>>

/** Reads `env` (by default the process's own) and the secret files that it names. Throws ConfigError. */
export function loadConfig (env: Record<string, string | undefined> = process.env): Config {
  const isOurs = (name: string) => Object.hasOwn(environmentSchema.properties, name)
  const set = Object.entries(env).filter(([name, value]) => isOurs(name) && value !== undefined && value !== '')
  const { given, fromFile, problems: unreadable } = readSecretFiles(Object.fromEntries(set))
  const { environment, problems: malformed } = parseEnvironment(given)
  const nameFile = (problem: string, name: string) => problem.replace(new RegExp(`\\b${name}\\b`), `$& (of ${name}_FILE)`)
  const problems = [...unreadable, ...[...malformed, ...findProblems(environment)].map(problem => fromFile.reduce(nameFile, problem))]
  if (problems.length > 0) throw new ConfigError(`Invalid environment: ${[...new Set(problems)].join('; ')}`)
  return Object.freeze(readConfig(environment))
}

function readConfig (env: Environment) {
  return {
    production: env.NODE_ENV === 'production',
    host: env.HOST,
    port: env.PORT,
    drainDelaySeconds: secondsOrNone(env.DRAIN_DELAY),
    databaseUrl: env.DATABASE_URL,
    databasePool: env.DATABASE_POOL,
    dataDir: env.DATA_DIR,
    redis: readRedisConfig(env),
    redisKeyPrefix: env.REDIS_KEY_PREFIX,
    sessionLimit: env.SESSION_LIMIT,
    tokenTtlSeconds: toSeconds(env.TOKEN_TTL),
    accessTokenTtlSeconds: toSeconds(env.ACCESS_TOKEN_TTL),
    refreshTokenTtlSeconds: toSeconds(env.REFRESH_TOKEN_TTL),
    refreshGraceSeconds: toSeconds(env.REFRESH_GRACE),
    sessionTtlSeconds: toSeconds(env.SESSION_TTL),
    sessionIdleTtlSeconds: env.SESSION_IDLE_TTL === undefined ? null : toSeconds(env.SESSION_IDLE_TTL),
    lastUseIntervalSeconds: toSeconds(env.LAST_USE_INTERVAL),
    cacheTtlSeconds: toSeconds(env.CACHE_TTL),
    bcryptCost: env.BCRYPT_COST,
    passwordMinLength: env.PASSWORD_MIN_LENGTH,
    personalTokenLimit: env.PERSONAL_TOKEN_LIMIT,
    breachedPasswordsUrl: env.BREACHED_PASSWORDS_URL,
    loginLimit: toLimit(env.LOGIN_LIMIT) as Limit,
    addressLimit: toLimit(env.ADDRESS_LIMIT),
    trustProxy: list(env.TRUST_PROXY),
    cookieSecure: env.COOKIE_SECURE === 'true',
    corsOrigins: list(env.CORS_ORIGINS),
    corsHeaders: list(env.CORS_HEADERS),
    pruneSchedule: env.PRUNE_SCHEDULE,
    pruneTimezone: env.PRUNE_TIMEZONE,
    pruneRetentionSeconds: toSeconds(env.PRUNE_RETENTION),
    auditRetentionSeconds: toSeconds(env.AUDIT_RETENTION),
    introspectUnverified: env.INTROSPECT_UNVERIFIED === 'true',
    registration: env.REGISTRATION,
    publicUrl: env.PUBLIC_URL,
    appUrl: env.APP_URL,
    smtp: env.SMTP_URL === undefined ? null : readSmtp(env.SMTP_URL),
    smtpName: env.SMTP_NAME,
    mailFrom: env.MAIL_FROM ?? `latchkey@${mailHost(env.PUBLIC_URL ?? env.APP_URL)}`,
    metricsPort: env.METRICS_PORT,
    logLevel: env.LOG_LEVEL
  }
}
