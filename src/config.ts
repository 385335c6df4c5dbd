import { validate as isCronExpression } from 'node-cron'
import { envSchema } from 'env-schema'
import Type, { type Static } from 'typebox'

/** So many points within so many seconds. */
export interface Limit { points: number, seconds: number }

const duration = (fallback: string) => Type.String({ pattern: '^[1-9][0-9]{0,8}(ms|s|m|h|d)$', default: fallback })
const limit = (fallback: string) => Type.String({ pattern: '^(0|[1-9][0-9]{0,6}/[1-9][0-9]{0,6}(s|m|h|d))$', default: fallback })

/** The environment as CONTRACT names it; .env.example keeps the same keys. */
export const environmentSchema = Type.Object({
  NODE_ENV: Type.String({ default: '' }),
  HOST: Type.String({ minLength: 1, default: '127.0.0.1' }),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^postgres(ql)?://' })),
  DATABASE_POOL: Type.Integer({ minimum: 1, maximum: 1000, default: 10 }),
  DATA_DIR: Type.String({ minLength: 1, default: '.latchkey' }),
  REDIS_URL: Type.Optional(Type.String({ pattern: '^rediss?://[^,]+$' })),
  REDIS_KEY_PREFIX: Type.String({ maxLength: 64, pattern: '^[!-~]*$', default: 'lk:' }),
  SESSION_LIMIT: Type.Integer({ minimum: 0, maximum: 10000, default: 1 }),
  TOKEN_TTL: duration('30d'),
  SESSION_TTL: duration('30d'),
  CACHE_TTL: duration('5m'),
  BCRYPT_COST: Type.Integer({ minimum: 4, maximum: 15, default: 12 }),
  PASSWORD_MIN_LENGTH: Type.Integer({ minimum: 1, maximum: 256, default: 8 }),
  LOGIN_LIMIT: limit('5/1m'),
  ADDRESS_LIMIT: limit('300/1m'),
  TRUST_PROXY: Type.String({ default: '' }),
  CORS_ORIGINS: Type.String({ default: '' }),
  PRUNE_SCHEDULE: Type.String({ default: '0 2 * * *' }),
  PRUNE_TIMEZONE: Type.String({ default: 'UTC' }),
  PRUNE_RETENTION: duration('7d'),
  REGISTRATION: Type.Union([Type.Literal('open'), Type.Literal('closed')], { default: 'open' }),
  PUBLIC_URL: Type.Optional(Type.String({ pattern: '^https?://' })),
  METRICS_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  LOG_LEVEL: Type.Union(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map(level => Type.Literal(level)), { default: 'info' })
})

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
  let environment: Environment
  try {
    environment = envSchema<Environment>({ schema: environmentSchema, data: given, env: false, dotenv: false })
  } catch (error) {
    throw new ConfigError(explain(error))
  }
  return Object.freeze(readConfig(environment))
}

function readConfig (env: Environment) {
  const problems = [
    ...checkUrl('DATABASE_URL', env.DATABASE_URL), ...checkUrl('REDIS_URL', env.REDIS_URL), ...checkUrl('PUBLIC_URL', env.PUBLIC_URL),
    ...list(env.CORS_ORIGINS).filter(origin => !isOrigin(origin)).map(() => 'CORS_ORIGINS must list origins like https://app.example.com, without path or wildcard'),
    ...list(env.TRUST_PROXY).filter(network => !/^[0-9a-fA-F.:]+(\/\d{1,3})?$/.test(network)).map(() => 'TRUST_PROXY must list addresses or CIDRs'),
    ...isCronExpression(env.PRUNE_SCHEDULE) ? [] : ['PRUNE_SCHEDULE must be a cron expression'],
    ...isTimeZone(env.PRUNE_TIMEZONE) ? [] : ['PRUNE_TIMEZONE must be an IANA time zone'],
    ...env.LOGIN_LIMIT === '0' ? ['LOGIN_LIMIT cannot be switched off'] : [],
    // Below this a repeated revocation would no longer find the rows it has to name.
    ...toSeconds(env.PRUNE_RETENTION) < toSeconds(env.CACHE_TTL) + 120 ? ['PRUNE_RETENTION must be at least CACHE_TTL and two minutes'] : []
  ]
  if (problems.length > 0) throw new ConfigError(`Invalid environment: ${[...new Set(problems)].join('; ')}`)

  return {
    production: env.NODE_ENV === 'production',
    host: env.HOST,
    port: env.PORT,
    databaseUrl: env.DATABASE_URL,
    databasePool: env.DATABASE_POOL,
    dataDir: env.DATA_DIR,
    redisUrl: env.REDIS_URL,
    redisKeyPrefix: env.REDIS_KEY_PREFIX,
    sessionLimit: env.SESSION_LIMIT,
    tokenTtlSeconds: toSeconds(env.TOKEN_TTL),
    sessionTtlSeconds: toSeconds(env.SESSION_TTL),
    cacheTtlSeconds: toSeconds(env.CACHE_TTL),
    bcryptCost: env.BCRYPT_COST,
    passwordMinLength: env.PASSWORD_MIN_LENGTH,
    loginLimit: toLimit(env.LOGIN_LIMIT) as Limit,
    addressLimit: toLimit(env.ADDRESS_LIMIT),
    trustProxy: list(env.TRUST_PROXY),
    corsOrigins: list(env.CORS_ORIGINS),
    pruneSchedule: env.PRUNE_SCHEDULE,
    pruneTimezone: env.PRUNE_TIMEZONE,
    pruneRetentionSeconds: toSeconds(env.PRUNE_RETENTION),
    registration: env.REGISTRATION,
    publicUrl: env.PUBLIC_URL,
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

function list (text: string): string[] {
  return text.split(',').map(part => part.trim()).filter(part => part !== '')
}

function checkUrl (name: string, text: string | undefined): string[] {
  return text === undefined || URL.canParse(text) ? [] : [`${name} must be a URL`]
}

function isOrigin (text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).origin === text
}

function isTimeZone (name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== ''
  } catch {
    return false
  }
}

/** ajv's findings without its `env/` paths. */
function explain (error: unknown): string {
  const found = (error as { errors?: Array<{ instancePath: string, message?: string }> }).errors ?? []
  const lines = found.map(({ instancePath, message }) => `${instancePath.slice(1)} ${message ?? 'is invalid'}`)
  return `Invalid environment: ${lines.length > 0 ? lines.join('; ') : String((error as Error).message)}`
}
