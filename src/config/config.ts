import { type Environment, environmentSchema, parseEnvironment } from './environment.js'
import { findProblems } from './problems.js'
import { readRedisConfig } from './redis.js'
import { readSecretFiles } from './secret-files.js'
import { mailHost, readSmtp } from './smtp.js'
import { readUpstash } from './upstash.js'
import { type Limit, list, secondsOrNone, toBaseUrl, toLimit, toSeconds } from './values.js'
import { readVaultKeys, type VaultKey } from './vault-keys.js'

/** The configuration cannot be used. The message names every bad variable, and no value. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** The validated environment, frozen. */
export type Config = Readonly<ReturnType<typeof readConfig>>

/** Variables by name. Those that are empty count as absent. */
export type Variables = Record<string, string | undefined>

/** What `readVariables` has found; `config` is null where there are problems. */
export interface ReadVariables { environment: Environment, set: string[], fromFile: string[], problems: string[], config: Config | null }

/** Reads `env` (by default the process's own) and the secret files that it names. Throws ConfigError. */
export function loadConfig (env?: Variables): Config {
  const { config, problems } = readVariables(env)
  if (config === null) throw new ConfigError(`Invalid environment: ${problems.join('; ')}`)
  return config
}

/** The same, with every problem, which names variables and no values; `set` are the names of those that aren't defaults. */
export function readVariables (env: Variables = process.env): ReadVariables {
  const isOurs = (name: string) => Object.hasOwn(environmentSchema.properties, name)
  const set = Object.entries(env).filter(([name, value]) => isOurs(name) && value !== undefined && value !== '')
  const { given, fromFile, problems: unreadable } = readSecretFiles(Object.fromEntries(set))
  const { environment, problems: malformed } = parseEnvironment(given)
  const nameFile = (problem: string, name: string) => problem.replace(new RegExp(`\\b${name}\\b`), `$& (of ${name}_FILE)`)
  const { VAULT_KEYS_FILE: vaultFile } = environment
  const vault = vaultFile === undefined ? { keys: [], problems: [] } : readVaultKeys(vaultFile)
  const found = [...malformed, ...findProblems(environment)].map(problem => fromFile.reduce(nameFile, problem))
  const problems = [...unreadable, ...vault.problems, ...found]
  const config = problems.length > 0 ? null : Object.freeze(readConfig(environment, vault.keys))
  return { environment, set: Object.keys(given), fromFile, problems: [...new Set(problems)], config }
}

function readConfig (env: Environment, vaultKeys: VaultKey[]) {
  return {
    production: env.NODE_ENV === 'production',
    host: env.HOST,
    port: env.PORT,
    drainDelaySeconds: secondsOrNone(env.DRAIN_DELAY),
    databaseUrl: env.DATABASE_URL,
    databasePool: env.DATABASE_POOL,
    databaseSchema: env.DATABASE_SCHEMA,
    dataDir: env.DATA_DIR,
    redis: readRedisConfig(env),
    redisKeyPrefix: env.REDIS_KEY_PREFIX,
    vaultKeys,
    secondFactor: env.SECOND_FACTOR,
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
    sessionDataLimit: toLimit(env.SESSION_DATA_LIMIT),
    writeLimit: toLimit(env.WRITE_LIMIT),
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
    upstash: readUpstash(env),
    edgeTtlSeconds: toSeconds(env.EDGE_TTL),
    introspectUnverified: env.INTROSPECT_UNVERIFIED === 'true',
    registration: env.REGISTRATION,
    publicUrl: env.PUBLIC_URL === undefined ? undefined : toBaseUrl(env.PUBLIC_URL),
    appUrl: env.APP_URL,
    pages: env.PAGES === 'true',
    appName: env.APP_NAME,
    appLogo: env.APP_LOGO,
    appColor: env.APP_COLOR,
    smtp: env.SMTP_URL === undefined ? null : readSmtp(env.SMTP_URL),
    smtpName: env.SMTP_NAME,
    mailFrom: env.MAIL_FROM ?? `latchkey@${mailHost(env.PUBLIC_URL ?? env.APP_URL)}`,
    metricsPort: env.METRICS_PORT,
    logLevel: env.LOG_LEVEL
  }
}
