import { envSchema } from 'env-schema'
import { validate as isCronExpression } from 'node-cron'
import Type, { type Static } from 'typebox'
import { readSecretFiles } from './files.js'
import { findRedisProblems, readRedisConfig, redisUrlsPattern } from './redis.js'
import { mailHost, readSmtp } from './smtp.js'
import { isNetwork, isOrigin, isTimeZone, type Limit, list, secondsOrNone, toLimit, toSeconds } from './values.js'

const duration = (fallback: string) => Type.String({ pattern: '^[1-9][0-9]{0,8}(ms|s|m|h|d)$', default: fallback })
const limit = (fallback: string) => Type.String({ pattern: '^(0|[1-9][0-9]{0,6}/[1-9][0-9]{0,6}(s|m|h|d))$', default: fallback })

/** The environment as CONTRACT names it; .env.example keeps the same keys. */
export const environmentSchema = Type.Object({
  NODE_ENV: Type.String({ default: '' }),
  HOST: Type.String({ minLength: 1, default: '127.0.0.1' }),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  DRAIN_DELAY: Type.String({ pattern: '^(0|[1-9][0-9]{0,8}(ms|s|m|h|d))$', default: '2s' }),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^postgres(ql)?://' })),
  DATABASE_URL_FILE: Type.Optional(Type.String()),
  DATABASE_POOL: Type.Integer({ minimum: 1, maximum: 1000, default: 10 }),
  DATA_DIR: Type.String({ minLength: 1, default: '.latchkey' }),
  REDIS_URL: Type.Optional(Type.String({ pattern: redisUrlsPattern })),
  REDIS_URL_FILE: Type.Optional(Type.String()),
  REDIS_SENTINELS: Type.Optional(Type.String({ pattern: redisUrlsPattern })),
  REDIS_SENTINELS_FILE: Type.Optional(Type.String()),
  REDIS_CA_FILE: Type.Optional(Type.String()),
  REDIS_KEY_PREFIX: Type.String({ maxLength: 64, pattern: '^[!-~]*$', default: 'lk:' }),
  SESSION_LIMIT: Type.Integer({ minimum: 0, maximum: 10000, default: 1 }),
  TOKEN_TTL: duration('30d'),
  ACCESS_TOKEN_TTL: duration('15m'),
  REFRESH_TOKEN_TTL: duration('7d'),
  REFRESH_GRACE: duration('30s'),
  SESSION_TTL: duration('30d'),
  SESSION_IDLE_TTL: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,8}(ms|s|m|h|d)$' })),
  LAST_USE_INTERVAL: duration('5s'),
  CACHE_TTL: duration('5m'),
  BCRYPT_COST: Type.Integer({ minimum: 4, maximum: 15, default: 12 }),
  PASSWORD_MIN_LENGTH: Type.Integer({ minimum: 1, maximum: 256, default: 8 }),
  BREACHED_PASSWORDS_URL: Type.Optional(Type.String({ pattern: '^https?://[^?#]+$' })),
  LOGIN_LIMIT: limit('5/1m'),
  ADDRESS_LIMIT: limit('300/1m'),
  TRUST_PROXY: Type.String({ default: '' }),
  COOKIE_SECURE: Type.Union([Type.Literal('true'), Type.Literal('false')], { default: 'true' }),
  CORS_ORIGINS: Type.String({ default: '' }),
  PRUNE_SCHEDULE: Type.String({ default: '0 2 * * *' }),
  PRUNE_TIMEZONE: Type.String({ default: 'UTC' }),
  PRUNE_RETENTION: duration('7d'),
  AUDIT_RETENTION: duration('365d'),
  REGISTRATION: Type.Union([Type.Literal('open'), Type.Literal('closed'), Type.Literal('confirm')], { default: 'open' }),
  PUBLIC_URL: Type.Optional(Type.String({ pattern: '^https?://' })),
  APP_URL: Type.Optional(Type.String({ pattern: '^https?://[^#\\s]+$', maxLength: 512 })),
  SMTP_URL: Type.Optional(Type.String({ pattern: '^smtps?://[^#\\s]+$' })),
  SMTP_URL_FILE: Type.Optional(Type.String()),
  MAIL_FROM: Type.Optional(Type.String({ pattern: '^([^<>@"\\p{C}]+ <[^\\s<>@,;:"\\p{C}]+@[^\\s<>@,;:"\\p{C}]+>|[^\\s<>@,;:"\\p{C}]+@[^\\s<>@,;:"\\p{C}]+)$', maxLength: 320 })),
  METRICS_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  LOG_LEVEL: Type.Union(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map(level => Type.Literal(level)), { default: 'info' })
})

const durations = ['TOKEN_TTL', 'ACCESS_TOKEN_TTL', 'REFRESH_TOKEN_TTL', 'REFRESH_GRACE', 'SESSION_TTL', 'SESSION_IDLE_TTL', 'LAST_USE_INTERVAL', 'CACHE_TTL', 'PRUNE_RETENTION', 'AUDIT_RETENTION'] as const
const limits = ['LOGIN_LIMIT', 'ADDRESS_LIMIT'] as const
/** A century: ten thousand times as long, and the end of a token would be past the last Date there is. */
const longestSeconds = 36_500 * 86_400
/** Who restarts a server gives up on it before long. */
const longestDrainSeconds = 300
/** Timers of Node end after 2^31 ms: a limit in memory would open at once. */
const longestWindowSeconds = 24 * 86_400

type Environment = Static<typeof environmentSchema>

/** A start that cannot be: the message names every bad variable, and never a value. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** The validated environment; frozen. Empty variables count as absent. */
export type Config = Readonly<ReturnType<typeof readConfig>>

/** Reads `env` (the process's own by default), and the files of secrets that it names, or throws a ConfigError. */
export function loadConfig (env: Record<string, string | undefined> = process.env): Config {
  const own = Object.fromEntries(Object.entries(env).filter(([key, value]) => key in environmentSchema.properties && value !== undefined && value !== ''))
  const { given, fromFile, problems: unread } = readSecretFiles(own)
  const { environment, misfits } = parse(given)
  const named = [...misfits, ...findProblems(environment)].map(problem => fromFile.reduce((text, name) => text.replace(new RegExp(`\\b${name}\\b`), `$& (of ${name}_FILE)`), problem))
  const problems = [...unread, ...named]
  if (problems.length > 0) throw new ConfigError(`Invalid environment: ${[...new Set(problems)].join('; ')}`)
  return Object.freeze(readConfig(environment))
}

interface Finding { instancePath: string, keyword: string, message?: string, params: { allowedValue?: unknown } }

/** What fits the schema, and a line for each variable that doesn't: the others are looked at all the same, so that one message names every bad one. */
function parse (given: Record<string, string | undefined>): { environment: Environment, misfits: string[] } {
  try {
    return { environment: envSchema<Environment>({ schema: environmentSchema, data: given, env: false, dotenv: false }), misfits: [] }
  } catch (error) {
    const { errors: findings = [] } = error as { errors?: Finding[] }
    const bad = new Set(findings.map(({ instancePath }) => instancePath.slice(1)).filter(name => name in given))
    if (bad.size === 0) throw error
    const rest = parse(Object.fromEntries(Object.entries(given).filter(([name]) => !bad.has(name))))
    return { environment: rest.environment, misfits: [...[...bad].map(name => explain(name, findings)), ...rest.misfits] }
  }
}

/** ajv's findings on one variable, without its value. */
function explain (name: string, findings: Finding[]): string {
  const own = findings.filter(({ instancePath }) => instancePath === `/${name}`)
  const allowed = own.filter(({ keyword }) => keyword === 'const').map(({ params }) => String(params.allowedValue))
  return `${name} ${allowed.length > 0 ? `must be one of ${allowed.join(', ')}` : own[0]?.message ?? 'is invalid'}`
}

function findProblems (env: Environment): string[] {
  return [
    ...checkUrl('DATABASE_URL', env.DATABASE_URL), ...findRedisProblems(env), ...checkUrl('PUBLIC_URL', env.PUBLIC_URL), ...checkUrl('BREACHED_PASSWORDS_URL', env.BREACHED_PASSWORDS_URL), ...checkUrl('APP_URL', env.APP_URL),
    ...env.SMTP_URL === undefined || readSmtp(env.SMTP_URL) !== null ? [] : ['SMTP_URL must be like smtps://user:password@host:465 or smtp://host:587, with nothing more than ?tls=required or ?tls=off'],
    ...list(env.CORS_ORIGINS).filter(origin => !isOrigin(origin)).map(() => 'CORS_ORIGINS must list origins like https://app.example.com, without path or wildcard'),
    ...list(env.TRUST_PROXY).filter(network => !isNetwork(network)).map(() => 'TRUST_PROXY must list addresses or CIDRs'),
    ...isCronExpression(env.PRUNE_SCHEDULE) ? [] : ['PRUNE_SCHEDULE must be a cron expression'],
    ...isTimeZone(env.PRUNE_TIMEZONE) ? [] : ['PRUNE_TIMEZONE must be an IANA time zone'],
    ...durations.filter(name => toSeconds(env[name] ?? '1s') > longestSeconds).map(name => `${name} must be at most 36500d`),
    ...limits.filter(name => (toLimit(env[name])?.seconds ?? 0) > longestWindowSeconds).map(name => `${name} must be within 24d`),
    ...secondsOrNone(env.DRAIN_DELAY) > longestDrainSeconds ? ['DRAIN_DELAY must be at most 5m'] : [],
    ...env.LOGIN_LIMIT === '0' ? ['LOGIN_LIMIT cannot be switched off'] : [],
    ...toSeconds(env.LAST_USE_INTERVAL) < 5 || toSeconds(env.LAST_USE_INTERVAL) > 3_600 ? ['LAST_USE_INTERVAL must be from 5s to 1h'] : [],
    ...env.SESSION_IDLE_TTL !== undefined && toSeconds(env.SESSION_IDLE_TTL) < 12 * toSeconds(env.LAST_USE_INTERVAL) ? ['SESSION_IDLE_TTL must be at least twelve times LAST_USE_INTERVAL: the last use is not known more closely'] : [],
    // Below this a repeated revocation would no longer find the rows it has to name.
    ...toSeconds(env.PRUNE_RETENTION) < toSeconds(env.CACHE_TTL) + 120 ? ['PRUNE_RETENTION must be at least CACHE_TTL and two minutes'] : []
  ]
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
    breachedPasswordsUrl: env.BREACHED_PASSWORDS_URL,
    loginLimit: toLimit(env.LOGIN_LIMIT) as Limit,
    addressLimit: toLimit(env.ADDRESS_LIMIT),
    trustProxy: list(env.TRUST_PROXY),
    cookieSecure: env.COOKIE_SECURE === 'true',
    corsOrigins: list(env.CORS_ORIGINS),
    pruneSchedule: env.PRUNE_SCHEDULE,
    pruneTimezone: env.PRUNE_TIMEZONE,
    pruneRetentionSeconds: toSeconds(env.PRUNE_RETENTION),
    auditRetentionSeconds: toSeconds(env.AUDIT_RETENTION),
    registration: env.REGISTRATION,
    publicUrl: env.PUBLIC_URL,
    appUrl: env.APP_URL,
    smtp: env.SMTP_URL === undefined ? null : readSmtp(env.SMTP_URL),
    mailFrom: env.MAIL_FROM ?? `latchkey@${mailHost(env.PUBLIC_URL ?? env.APP_URL)}`,
    metricsPort: env.METRICS_PORT,
    logLevel: env.LOG_LEVEL
  }
}

function checkUrl (name: string, text: string | undefined): string[] {
  return text === undefined || URL.canParse(text) ? [] : [`${name} must be a URL`]
}
