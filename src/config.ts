import { isIP } from 'node:net'
import { envSchema } from 'env-schema'
import { validate as isCronExpression } from 'node-cron'
import Type, { type Static } from 'typebox'
import { findRedisProblems, readRedisConfig, redisUrlsPattern } from './config-redis.js'

/** So many points within so many seconds. */
export interface Limit { points: number, seconds: number }

const duration = (fallback: string) => Type.String({ pattern: '^[1-9][0-9]{0,8}(ms|s|m|h|d)$', default: fallback })
const limit = (fallback: string) => Type.String({ pattern: '^(0|[1-9][0-9]{0,6}/[1-9][0-9]{0,6}(s|m|h|d))$', default: fallback })

/** How mails leave. `tls`: from the first byte, by STARTTLS, or not at all. */
export interface Smtp { host: string, port: number, tls: 'implicit' | 'required' | 'off', user: string | null, password: string | null }

/** The environment as CONTRACT names it; .env.example keeps the same keys. */
export const environmentSchema = Type.Object({
  NODE_ENV: Type.String({ default: '' }),
  HOST: Type.String({ minLength: 1, default: '127.0.0.1' }),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^postgres(ql)?://' })),
  DATABASE_POOL: Type.Integer({ minimum: 1, maximum: 1000, default: 10 }),
  DATA_DIR: Type.String({ minLength: 1, default: '.latchkey' }),
  REDIS_URL: Type.Optional(Type.String({ pattern: redisUrlsPattern })),
  REDIS_SENTINELS: Type.Optional(Type.String({ pattern: redisUrlsPattern })),
  REDIS_CA_FILE: Type.Optional(Type.String()),
  REDIS_KEY_PREFIX: Type.String({ maxLength: 64, pattern: '^[!-~]*$', default: 'lk:' }),
  SESSION_LIMIT: Type.Integer({ minimum: 0, maximum: 10000, default: 1 }),
  TOKEN_TTL: duration('30d'),
  ACCESS_TOKEN_TTL: duration('15m'),
  REFRESH_TOKEN_TTL: duration('7d'),
  REFRESH_GRACE: duration('30s'),
  SESSION_TTL: duration('30d'),
  SESSION_IDLE_TTL: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,8}(ms|s|m|h|d)$' })),
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
  MAIL_FROM: Type.Optional(Type.String({ pattern: '^([^<>@"\\p{C}]+ <[^\\s<>@,;:"\\p{C}]+@[^\\s<>@,;:"\\p{C}]+>|[^\\s<>@,;:"\\p{C}]+@[^\\s<>@,;:"\\p{C}]+)$', maxLength: 320 })),
  METRICS_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  LOG_LEVEL: Type.Union(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map(level => Type.Literal(level)), { default: 'info' })
})

const durations = ['TOKEN_TTL', 'ACCESS_TOKEN_TTL', 'REFRESH_TOKEN_TTL', 'REFRESH_GRACE', 'SESSION_TTL', 'SESSION_IDLE_TTL', 'CACHE_TTL', 'PRUNE_RETENTION', 'AUDIT_RETENTION'] as const
const limits = ['LOGIN_LIMIT', 'ADDRESS_LIMIT'] as const
/** A century: ten thousand times as long, and the end of a token would be past the last Date there is. */
const longestSeconds = 36_500 * 86_400
/** Timers of Node end after 2^31 ms: a limit in memory would open at once. */
const longestWindowSeconds = 24 * 86_400

type Environment = Static<typeof environmentSchema>

/** A start that cannot be: the message names every bad variable, and never a value. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** The validated environment; frozen. Empty variables count as absent. */
export type Config = Readonly<ReturnType<typeof readConfig>>

/** Reads `env` (the process's own by default) or throws a ConfigError. */
export function loadConfig (env: Record<string, string | undefined> = process.env): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([key, value]) => key in environmentSchema.properties && value !== undefined && value !== ''))
  const { environment, misfits } = parse(given)
  const problems = [...misfits, ...findProblems(environment)]
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
    ...env.LOGIN_LIMIT === '0' ? ['LOGIN_LIMIT cannot be switched off'] : [],
    ...env.SESSION_IDLE_TTL !== undefined && toSeconds(env.SESSION_IDLE_TTL) < 60 ? ['SESSION_IDLE_TTL must be at least 1m: last use is known to within seconds'] : [],
    // Below this a repeated revocation would no longer find the rows it has to name.
    ...toSeconds(env.PRUNE_RETENTION) < toSeconds(env.CACHE_TTL) + 120 ? ['PRUNE_RETENTION must be at least CACHE_TTL and two minutes'] : []
  ]
}

function readConfig (env: Environment) {
  return {
    production: env.NODE_ENV === 'production',
    host: env.HOST,
    port: env.PORT,
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

/** Seconds of a duration like 30s, 15m, 7d. */
function toSeconds (text: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) as RegExpExecArray
  return Number(amount) * { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 }[unit as 'ms']
}

function toLimit (text: string): Limit | null {
  if (text === '0') return null
  const [points, time] = text.split('/') as [string, string]
  return { points: Number(points), seconds: toSeconds(time) }
}

/** Where and how mails leave; null for a URL that says it badly. Within this machine nothing needs to be encrypted, elsewhere it does unless told otherwise. */
function readSmtp (text: string): Smtp | null {
  if (!URL.canParse(text)) return null
  const { protocol, hostname, port, username, password, pathname, searchParams } = new URL(text)
  const [[name, tls], ...more] = [...searchParams, []]
  if (hostname === '' || !/^\/?$/.test(pathname) || more.length > 1 || (name !== undefined && (name !== 'tls' || !/^(required|off)$/.test(tls ?? '')))) return null
  const implicit = protocol === 'smtps:'
  if (implicit && tls === 'off') return null
  try {
    return {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? implicit ? 465 : 587 : Number(port),
      tls: implicit ? 'implicit' : tls === 'off' || (tls === undefined && isLoopback(hostname)) ? 'off' : 'required',
      user: username === '' ? null : decodeURIComponent(username),
      password: password === '' ? null : decodeURIComponent(password)
    }
  } catch {
    return null
  }
}

/** The part behind the @ of an address of our own: the host of `url`, if it has a name. */
function mailHost (url: string | undefined): string {
  const hostname = url === undefined || !URL.canParse(url) ? 'localhost' : new URL(url).hostname
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? hostname : 'localhost'
}

function isLoopback (hostname: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

function list (text: string): string[] {
  return text.split(',').map(part => part.trim()).filter(part => part !== '')
}

function checkUrl (name: string, text: string | undefined): string[] {
  return text === undefined || URL.canParse(text) ? [] : [`${name} must be a URL`]
}

function isNetwork (text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  return family !== 0 && !address.includes('%') && more.length === 0 && (bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)))
}

function isOrigin (text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).origin === text && !text.includes('*')
}

function isTimeZone (name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== ''
  } catch {
    return false
  }
}
