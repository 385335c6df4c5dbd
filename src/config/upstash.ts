import { toBaseUrl, toSeconds } from './values.js'

interface UpstashVariables {
  UPSTASH_REDIS_REST_URL?: string
  UPSTASH_REDIS_REST_TOKEN?: string
  EDGE_TTL: string
  SESSION_IDLE_TTL?: string
}

/** What is wrong with these variables, alone and together: by name, without values. */
export function findUpstashProblems (
  { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token, EDGE_TTL, SESSION_IDLE_TTL }: UpstashVariables
): string[] {
  const problems: string[] = []
  const ttlSeconds = toSeconds(EDGE_TTL)
  if (ttlSeconds < 1 || ttlSeconds > 300) problems.push('EDGE_TTL must be from 1s to 5m')
  if (url === undefined && token !== undefined) problems.push('UPSTASH_REDIS_REST_TOKEN needs UPSTASH_REDIS_REST_URL')
  if (url === undefined) return problems

  if (/^rediss?:/i.test(url)) problems.push('UPSTASH_REDIS_REST_URL must be the REST URL, which begins with https://: redis:// is for other clients')
  else if (!isBaseUrl(url)) {
    problems.push('UPSTASH_REDIS_REST_URL must be like https://name.upstash.io, without quotes, user, query and fragment')
  } else if (token === undefined) problems.push('UPSTASH_REDIS_REST_URL needs UPSTASH_REDIS_REST_TOKEN')
  if (SESSION_IDLE_TTL !== undefined && toSeconds(SESSION_IDLE_TTL) < 2 * ttlSeconds) {
    problems.push('SESSION_IDLE_TTL must be at least twice EDGE_TTL, because uses that a hint answers are not seen here')
  }
  return problems
}

/** Reads variables in which `findUpstashProblems` found nothing; null where no hints are to be written. */
export function readUpstash ({ UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token }: UpstashVariables) {
  return url === undefined || token === undefined ? null : { url: toBaseUrl(url), token }
}

function isBaseUrl (text: string): boolean {
  if (!/^https?:\/\/[^\s@?#]+$/i.test(text) || !URL.canParse(text)) return false
  // What Upstash's client accepts.
  return /^https?:\/\/[^\s#$./?].\S*$/.test(toBaseUrl(text))
}
