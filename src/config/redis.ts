/** Where a Redis server, or a Sentinel, listens. */
export interface RedisAddress { host: string, port: number }

/** How to log in to a server. With `tls` its certificate and host name are always verified. */
export interface RedisAccess { username: string | undefined, password: string | undefined, tls: boolean }

/** One server, the master that Sentinels watch under `name`, or a cluster, of which `seeds` are some servers. */
export type RedisConfig = RedisAccess & { caFile: string | undefined } & (
  | { mode: 'server', address: RedisAddress, db: number }
  | { mode: 'sentinel', name: string, db: number, sentinels: RedisAddress[], sentinelAccess: RedisAccess }
  | { mode: 'cluster', seeds: RedisAddress[] })

interface RedisVariables { REDIS_URL?: string, REDIS_SENTINELS?: string, REDIS_CA_FILE?: string }

const oneUrl = 'rediss?://[^\\s,]+'
/** One URL, or several separated by commas. */
export const redisUrlsPattern = `^\\s*${oneUrl}(\\s*,\\s*${oneUrl})*\\s*$`

/** What is wrong with these variables, alone and together: by name, without values. */
export function findRedisProblems ({ REDIS_URL, REDIS_SENTINELS, REDIS_CA_FILE }: RedisVariables): string[] {
  const urls = split(REDIS_URL)
  const sentinels = split(REDIS_SENTINELS)
  const malformed = [...findMalformed('REDIS_URL', urls), ...findMalformed('REDIS_SENTINELS', sentinels)]
  if (malformed.length > 0) return malformed

  const watched = sentinels.length > 0
  const cluster = urls.length > 1
  const problems: Array<[found: boolean, problem: string]> = [
    [haveDifferentAccess(urls), 'REDIS_URL must have the same scheme, user and password in each of its URLs'],
    [haveDifferentAccess(sentinels), 'REDIS_SENTINELS must have the same scheme, user and password in each of its URLs'],
    [watched && urls.length === 0, 'REDIS_SENTINELS needs REDIS_URL, whose host is the name of the master that the Sentinels watch'],
    [watched && cluster, 'REDIS_URL must be one URL when REDIS_SENTINELS is set: its host is the name of the master that they watch'],
    [watched && urls.length === 1 && hasPort(urls[0]), 'REDIS_URL must have no port when REDIS_SENTINELS is set: the Sentinels give it'],
    [cluster && urls.some(namesDatabase), 'REDIS_URL must name no database when it lists several servers: a cluster has only one'],
    [sentinels.some(namesDatabase), 'REDIS_SENTINELS must name no database'],
    [REDIS_CA_FILE !== undefined && ![...urls, ...sentinels].some(usesTls), 'REDIS_CA_FILE needs rediss:// in REDIS_URL or REDIS_SENTINELS']
  ]
  return problems.filter(([found]) => found).map(([, problem]) => problem)
}

/** Reads variables in which `findRedisProblems` found nothing; undefined without REDIS_URL. */
export function readRedisConfig ({ REDIS_URL, REDIS_SENTINELS, REDIS_CA_FILE: caFile }: RedisVariables): RedisConfig | undefined {
  const urls = split(REDIS_URL)
  const sentinels = split(REDIS_SENTINELS)
  const [first] = urls
  if (first === undefined) return undefined
  const access = accessOf(first)
  if (urls.length > 1) return { mode: 'cluster', ...access, caFile, seeds: urls.map(url => addressOf(url, 6379)) }
  const db = databaseOf(first) as number
  const [firstSentinel] = sentinels
  if (firstSentinel === undefined) return { mode: 'server', ...access, caFile, address: addressOf(first, 6379), db }
  const name = decodeURIComponent(new URL(first).hostname)
  const sentinelAccess = accessOf(firstSentinel)
  return { mode: 'sentinel', ...access, caFile, name, db, sentinels: sentinels.map(url => addressOf(url, 26379)), sentinelAccess }
}

function split (text: string | undefined): string[] {
  return (text ?? '').split(',').map(url => url.trim()).filter(url => url !== '')
}

function findMalformed (name: string, texts: string[]): string[] {
  const urls = texts.map(text => URL.canParse(text) ? new URL(text) : null)
  if (urls.some(url => url === null || url.hostname === '')) return [`${name} must be a URL with a host, or several separated by commas`]
  for (const { search, hash, username, password, hostname } of urls as URL[]) {
    if (search !== '' || hash !== '') return [`${name} must have neither ? nor #: percent-encode them in a password`]
    if (![username, password, hostname].every(isDecodable)) return [`${name} has a % that is not part of a percent-encoding`]
  }
  return texts.some(url => databaseOf(url) === null) ? [`${name} may have a path only if it is the number of a database`] : []
}

/** A client logs in to all of its servers in the same way. */
function haveDifferentAccess (urls: string[]): boolean {
  return new Set(urls.map(url => JSON.stringify(accessOf(url)))).size > 1
}

function accessOf (url: string): RedisAccess {
  const { username, password } = new URL(url)
  return { username: decodeURIComponent(username) || undefined, password: decodeURIComponent(password) || undefined, tls: usesTls(url) }
}

function addressOf (url: string, defaultPort: number): RedisAddress {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? defaultPort : Number(port) }
}

function hasPort (url: string | undefined): boolean {
  return url !== undefined && new URL(url).port !== ''
}

function namesDatabase (url: string): boolean {
  return databaseOf(url) !== 0
}

function databaseOf (url: string): number | null {
  const path = /^\/?(\d{0,5})$/.exec(new URL(url).pathname)
  return path === null ? null : Number(path[1])
}

function usesTls (url: string): boolean {
  return url.startsWith('rediss:')
}

function isDecodable (text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
