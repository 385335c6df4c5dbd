/** Where a Redis server, or a Sentinel, listens. */
export interface RedisAddress { host: string, port: number }

/** How a server is entered; `tls` always verifies chain and host name. */
export interface RedisAccess { username: string | undefined, password: string | undefined, tls: boolean }

/** One server, the master of a name that Sentinels know, or a cluster by some of its servers. */
export type RedisConfig = RedisAccess & { caFile: string | undefined } & (
  | { mode: 'server', address: RedisAddress, db: number }
  | { mode: 'sentinel', name: string, db: number, sentinels: RedisAddress[], sentinelAccess: RedisAccess }
  | { mode: 'cluster', seeds: RedisAddress[] })

interface RedisVariables { REDIS_URL?: string, REDIS_SENTINELS?: string, REDIS_CA_FILE?: string }

const oneUrl = 'rediss?://[^\\s,]+'
/** One URL or several, comma-separated. */
export const redisUrlsPattern = `^\\s*${oneUrl}(\\s*,\\s*${oneUrl})*\\s*$`

/** What is wrong with the variables together, each line by their names and without a value. */
export function findRedisProblems ({ REDIS_URL, REDIS_SENTINELS, REDIS_CA_FILE }: RedisVariables): string[] {
  const urls = split(REDIS_URL)
  const sentinels = split(REDIS_SENTINELS)
  const malformed = [...malformedUrls('REDIS_URL', urls), ...malformedUrls('REDIS_SENTINELS', sentinels)]
  if (malformed.length > 0) return malformed
  const problems = [...differing('REDIS_URL', urls), ...differing('REDIS_SENTINELS', sentinels)]
  if (sentinels.length > 0 && urls.length === 0) problems.push('REDIS_SENTINELS needs REDIS_URL, whose host is the name of the master they watch')
  if (sentinels.length > 0 && urls.length > 1) problems.push('REDIS_URL must be one URL where there are REDIS_SENTINELS: its host is the name of the master they watch')
  if (sentinels.length > 0 && urls.length === 1 && new URL(urls[0] as string).port !== '') problems.push('REDIS_URL must have no port where there are REDIS_SENTINELS: they tell it')
  if (urls.length > 1 && urls.some(url => databaseOf(url) !== 0)) problems.push('REDIS_URL must name no database where it lists the servers of a cluster: it has but one')
  if (sentinels.some(url => databaseOf(url) !== 0)) problems.push('REDIS_SENTINELS must name no database')
  if (REDIS_CA_FILE !== undefined && ![...urls, ...sentinels].some(usesTls)) problems.push('REDIS_CA_FILE needs rediss:// in REDIS_URL or REDIS_SENTINELS')
  return problems
}

/** The variables, found without problems; undefined without REDIS_URL. */
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
  return { mode: 'sentinel', ...access, caFile, name, db, sentinels: sentinels.map(url => addressOf(url, 26379)), sentinelAccess: accessOf(firstSentinel) }
}

function split (text: string | undefined): string[] {
  return (text ?? '').split(',').map(url => url.trim()).filter(url => url !== '')
}

function malformedUrls (name: string, urls: string[]): string[] {
  if (urls.some(url => !URL.canParse(url) || new URL(url).hostname === '')) return [`${name} must be a URL with a host, or several with commas between them`]
  const parsed = urls.map(url => new URL(url))
  if (parsed.some(({ search, hash }) => search !== '' || hash !== '')) return [`${name} must have neither ? nor #: percent-encode them in a password`]
  if (parsed.some(({ username, password, hostname }) => [username, password, hostname].some(part => !isDecodable(part)))) return [`${name} has a % that is no percent-encoding`]
  return urls.some(url => databaseOf(url) === null) ? [`${name} may have the number of a database for a path, and nothing else`] : []
}

/** A client enters all of them the same way. */
function differing (name: string, urls: string[]): string[] {
  return new Set(urls.map(url => JSON.stringify(accessOf(url)))).size > 1 ? [`${name} must have the same scheme, user and password in each of its URLs`] : []
}

function accessOf (url: string): RedisAccess {
  const { username, password } = new URL(url)
  return { username: decodeURIComponent(username) || undefined, password: decodeURIComponent(password) || undefined, tls: usesTls(url) }
}

function addressOf (url: string, usualPort: number): RedisAddress {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? usualPort : Number(port) }
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
