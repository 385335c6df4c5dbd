import { envSchema } from 'env-schema'
import Type, { type Static } from 'typebox'
import { redisUrlsPattern } from './redis.js'

const duration = (fallback: string) => Type.String({ pattern: '^[1-9][0-9]{0,8}(ms|s|m|h|d)$', default: fallback })
/** An address without the quoting and comments that RFC 5322 would allow. */
const mailbox = '[^\\s<>@,;:"\\p{C}]+@[^\\s<>@,;:"\\p{C}]+'
/** An address on another host, a path on this one, or the image itself. */
const logo = 'https://[^\\s"\'<>]+|/[^\\s"\'<>/\\\\][^\\s"\'<>\\\\]*|data:image/(png|svg\\+xml|webp|jpeg|gif)[;,][^\\s"\'<>]+'
const limit = (fallback: string) => Type.String({ pattern: '^(0|[1-9][0-9]{0,6}/[1-9][0-9]{0,6}(s|m|h|d))$', default: fallback })

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** Every variable that Latchkey reads. .env.example, compose.yaml and the README's table have the same ones. */
export const environmentSchema = Type.Object({
  NODE_ENV: Type.String({ default: '' }),
  HOST: Type.String({ minLength: 1, default: '127.0.0.1' }),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  DRAIN_DELAY: Type.String({ pattern: '^(0|[1-9][0-9]{0,8}(ms|s|m|h|d))$', default: '2s' }),
  DATABASE_URL: Type.Optional(Type.String()),
  DATABASE_URL_FILE: Type.Optional(Type.String()),
  DATABASE_POOL: Type.Integer({ minimum: 1, maximum: 1000, default: 10 }),
  DATABASE_SCHEMA: Type.String({ maxLength: 63, pattern: '^(?!pg_|information_schema$)[a-z_][a-z0-9_]*$', default: 'public' }),
  DATA_DIR: Type.String({ minLength: 1, default: '.latchkey' }),
  REDIS_URL: Type.Optional(Type.String({ pattern: redisUrlsPattern })),
  REDIS_URL_FILE: Type.Optional(Type.String()),
  REDIS_SENTINELS: Type.Optional(Type.String({ pattern: redisUrlsPattern })),
  REDIS_SENTINELS_FILE: Type.Optional(Type.String()),
  REDIS_CA_FILE: Type.Optional(Type.String()),
  REDIS_KEY_PREFIX: Type.String({ maxLength: 64, pattern: '^[!-~]*$', default: 'lk:' }),
  VAULT_KEYS_FILE: Type.Optional(Type.String()),
  SECOND_FACTOR: Type.Union([Type.Literal('optional'), Type.Literal('admins'), Type.Literal('everyone')], { default: 'optional' }),
  SESSION_LIMIT: Type.Integer({ minimum: 0, maximum: 10000, default: 1 }),
  PERSONAL_TOKEN_LIMIT: Type.Integer({ minimum: 1, maximum: 10000, default: 100 }),
  SESSION_DATA_LIMIT: limit('300/1m'),
  WRITE_LIMIT: limit('300/1m'),
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
  CORS_HEADERS: Type.String({ default: '' }),
  PRUNE_SCHEDULE: Type.String({ default: '0 2 * * *' }),
  PRUNE_TIMEZONE: Type.String({ default: 'UTC' }),
  PRUNE_RETENTION: duration('7d'),
  AUDIT_RETENTION: duration('365d'),
  UPSTASH_REDIS_REST_URL: Type.Optional(Type.String()),
  UPSTASH_REDIS_REST_TOKEN: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9._~+/-]+=*$', maxLength: 4_096 })),
  UPSTASH_REDIS_REST_TOKEN_FILE: Type.Optional(Type.String()),
  EDGE_TTL: duration('30s'),
  INTROSPECT_UNVERIFIED: Type.Union([Type.Literal('true'), Type.Literal('false')], { default: 'false' }),
  REGISTRATION: Type.Union([Type.Literal('open'), Type.Literal('closed'), Type.Literal('confirm')], { default: 'open' }),
  PUBLIC_URL: Type.Optional(Type.String({ pattern: '^https?://' })),
  APP_URL: Type.Optional(Type.String({ pattern: '^https?://[^#\\s]+$', maxLength: 512 })),
  PAGES: Type.Union([Type.Literal('true'), Type.Literal('false')], { default: 'true' }),
  APP_NAME: Type.String({ maxLength: 64, pattern: '^[^\\s\\p{C}]([^\\p{C}]*[^\\s\\p{C}])?$', default: 'Latchkey' }),
  APP_LOGO: Type.Optional(Type.String({ pattern: `^(${logo})$`, maxLength: 16_384 })),
  APP_COLOR: Type.String({ pattern: '^#[0-9A-Fa-f]{6}$', default: '#1d5fa6' }),
  SMTP_URL: Type.Optional(Type.String({ pattern: '^smtps?://[^#\\s]+$' })),
  SMTP_URL_FILE: Type.Optional(Type.String()),
  SMTP_NAME: Type.Optional(Type.String({ pattern: '^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\\[[0-9A-Fa-f.:IPv]+\\])$' })),
  MAIL_FROM: Type.Optional(Type.String({ pattern: `^([^<>@"\\p{C}]+ <${mailbox}>|${mailbox})$`, maxLength: 320 })),
  METRICS_PORT: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  LOG_LEVEL: Type.Union(logLevels.map(level => Type.Literal(level)), { default: 'info' })
})

/** The variables that were set, and the defaults of the others. */
export type Environment = Static<typeof environmentSchema>

/** One of ajv's complaints. */
interface Finding { instancePath: string, keyword: string, message?: string, params: { allowedValue?: unknown } }

/** Checks `given` against the schema. A variable that does not fit gets a line in `problems` and counts as absent, so all are checked. */
export function parseEnvironment (given: Record<string, string | undefined>): { environment: Environment, problems: string[] } {
  try {
    return { environment: envSchema<Environment>({ schema: environmentSchema, data: given, env: false, dotenv: false }), problems: [] }
  } catch (error) {
    const { errors: findings = [] } = error as { errors?: Finding[] }
    const bad = new Set(findings.map(({ instancePath }) => instancePath.slice(1)).filter(name => name in given))
    if (bad.size === 0) throw error
    const rest = parseEnvironment(Object.fromEntries(Object.entries(given).filter(([name]) => !bad.has(name))))
    return { environment: rest.environment, problems: [...[...bad].map(name => explain(name, findings)), ...rest.problems] }
  }
}

/** What ajv found wrong with one variable, without its value. */
function explain (name: string, findings: Finding[]): string {
  const own = findings.filter(({ instancePath }) => instancePath === `/${name}`)
  const allowed = own.filter(({ keyword }) => keyword === 'const').map(({ params }) => String(params.allowedValue))
  return `${name} ${allowed.length > 0 ? `must be one of ${allowed.join(', ')}` : own[0]?.message ?? 'is invalid'}`
}
