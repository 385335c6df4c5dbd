import { validate as isCronExpression } from 'node-cron'
import { isNetwork } from '../shared/address.js'
import type { Environment } from './environment.js'
import { findPostgresProblem } from './postgres.js'
import { findRedisProblems } from './redis.js'
import { readSmtp } from './smtp.js'
import { findUpstashProblems } from './upstash.js'
import { isHeaderName, isOrigin, isTimeZone, list, secondsOrNone, toLimit, toSeconds } from './values.js'

const durations = [
  'TOKEN_TTL', 'ACCESS_TOKEN_TTL', 'REFRESH_TOKEN_TTL', 'REFRESH_GRACE', 'SESSION_TTL', 'SESSION_IDLE_TTL', 'LAST_USE_INTERVAL',
  'CACHE_TTL', 'PRUNE_RETENTION', 'AUDIT_RETENTION'
] as const
const limits = ['LOGIN_LIMIT', 'ADDRESS_LIMIT', 'SESSION_DATA_LIMIT', 'WRITE_LIMIT'] as const
const urls = ['PUBLIC_URL', 'BREACHED_PASSWORDS_URL', 'APP_URL'] as const

/** A century. A Date could not hold the expiry of a token that lives ten thousand times as long. */
const maxSeconds = 36_500 * 86_400
/** Supervisors kill a process that takes longer than some minutes to stop. */
const maxDrainSeconds = 300
/** Node's timers overflow at 2^31 ms, so a limit that is counted in memory would reset at once. */
const maxWindowSeconds = 24 * 86_400

/** What is wrong with the variables beyond their syntax, a line each: by name, without values. */
export function findProblems (env: Environment): string[] {
  return [...findUrlProblems(env), ...findListProblems(env), ...findTimeProblems(env), ...findUpstashProblems(env)]
}

function findUrlProblems (env: Environment): string[] {
  const problems = urls.filter(name => env[name] !== undefined && !URL.canParse(env[name])).map(name => `${name} must be a URL`)
  const postgresProblem = env.DATABASE_URL === undefined ? null : findPostgresProblem(env.DATABASE_URL)
  if (postgresProblem !== null) problems.push(postgresProblem)
  problems.push(...findRedisProblems(env))
  if (env.APP_LOGO?.startsWith('https:') === true && !URL.canParse(env.APP_LOGO)) problems.push('APP_LOGO must be a URL')
  if (env.SMTP_URL !== undefined && readSmtp(env.SMTP_URL) === null) {
    problems.push('SMTP_URL must be like smtps://user:password@host:465 or smtp://host:587, and may end in ?tls=required or ?tls=off only')
  }
  return problems
}

function findListProblems (env: Environment): string[] {
  const problems: string[] = []
  if (!list(env.CORS_ORIGINS).every(isOrigin)) {
    problems.push('CORS_ORIGINS must list origins like https://app.example.com, without path or wildcard')
  }
  if (!list(env.CORS_HEADERS).every(isHeaderName)) problems.push('CORS_HEADERS must list names of headers like X-Request-Id')
  if (!list(env.TRUST_PROXY).every(isNetwork)) problems.push('TRUST_PROXY must list addresses or CIDRs')
  return problems
}

function findTimeProblems (env: Environment): string[] {
  const problems = durations.filter(name => toSeconds(env[name] ?? '1s') > maxSeconds).map(name => `${name} must be at most 36500d`)
  const tooLong = limits.filter(name => (toLimit(env[name])?.seconds ?? 0) > maxWindowSeconds)
  problems.push(...tooLong.map(name => `${name} must have a time of at most 24d`))
  if (!isCronExpression(env.PRUNE_SCHEDULE)) problems.push('PRUNE_SCHEDULE must be a cron expression')
  if (!isTimeZone(env.PRUNE_TIMEZONE)) problems.push('PRUNE_TIMEZONE must be an IANA time zone')
  if (secondsOrNone(env.DRAIN_DELAY) > maxDrainSeconds) problems.push('DRAIN_DELAY must be at most 5m')
  if (env.LOGIN_LIMIT === '0') problems.push('LOGIN_LIMIT cannot be switched off')

  const lastUseSeconds = toSeconds(env.LAST_USE_INTERVAL)
  if (lastUseSeconds < 5 || lastUseSeconds > 3_600) problems.push('LAST_USE_INTERVAL must be from 5s to 1h')
  if (env.SESSION_IDLE_TTL !== undefined && toSeconds(env.SESSION_IDLE_TTL) < 12 * lastUseSeconds) {
    problems.push('SESSION_IDLE_TTL must be at least twelve times LAST_USE_INTERVAL, which limits how exactly the last use is known')
  }
  // A repeated revocation must still find the rows whose cache entries may be alive.
  if (toSeconds(env.PRUNE_RETENTION) < toSeconds(env.CACHE_TTL) + 120) {
    problems.push('PRUNE_RETENTION must be at least CACHE_TTL and two minutes')
  }
  return problems
}
