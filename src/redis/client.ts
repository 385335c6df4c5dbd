import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { ConfigError } from '../config/config.js'
import type { RedisAccess, RedisAddress, RedisConfig } from '../config/redis.js'

/** The longest a request waits for Redis. */
export const commandTimeoutMs = 100

/** A server that hasn't said a word for so long, not even to the poll, is dialled again: its host may be gone without a trace. */
const silenceMs = 2_000
const dialTimeoutMs = 1_000

type Options = Omit<RedisOptions, 'replyMapping'>

/** A client and what ioredis doesn't tell: `well` ends the series of failures, `close` ends the client for good. */
export interface RedisClient { client: Redis, well (): void, close (): void }

/**
 * Each default of ioredis that is turned off here would break the revocation protocol: a queued or resent write arrives after the world has
 * moved on.
 */
const failFast = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  commandTimeout: commandTimeoutMs,
  connectTimeout: dialTimeoutMs,
  socketTimeout: silenceMs,
  disconnectTimeout: 100,
  connectionName: 'latchkey'
} satisfies Options

/** The authority of REDIS_CA_FILE; throws a ConfigError where it can't be read. */
export function readAuthority ({ caFile }: Pick<RedisConfig, 'caFile'>): string | undefined {
  if (caFile === undefined) return undefined
  try {
    const pem = readFileSync(caFile, 'utf8')
    if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new Error('no PEM')
    return pem
  } catch {
    throw new ConfigError('REDIS_CA_FILE must be a file with certificates in PEM that this process may read')
  }
}

/** How one server is entered: user, password, and TLS that verifies chain and name whatever the environment says. */
function entering ({ username, password, tls }: RedisAccess, host: string | null, ca: string | undefined): Options {
  return {
    ...username === undefined ? {} : { username },
    ...password === undefined ? {} : { password },
    ...tls ? { tls: { rejectUnauthorized: true, ...ca === undefined ? {} : { ca }, ...host === null || isIP(host) !== 0 ? {} : { servername: host } } } : {}
  }
}

/** A client of one server, dialled in the background: Redis is never waited for. */
export function createRedis (access: RedisAccess, { host, port }: RedisAddress, { db = 0, ca }: { db?: number, ca?: string | undefined } = {}): RedisClient {
  // A server that is loading or out of our reach is found out by our own first commands.
  return tend({ host, port, db, ...entering(access, host, ca), enableReadyCheck: false })
}

/** How a Sentinel at `host` is entered, for a connection that isn't made again. */
export function sentinelOptions ({ sentinelAccess }: RedisConfig & { mode: 'sentinel' }, host: string, ca: string | undefined): Options {
  return { ...entering(sentinelAccess, host, ca), retryStrategy: null, enableReadyCheck: false, enableOfflineQueue: false, maxRetriesPerRequest: 0, disconnectTimeout: 100 }
}

/** A client of whichever server the Sentinels call master; it follows them when they say that it is another one. */
export function createSentinelRedis (config: RedisConfig & { mode: 'sentinel' }, ca: string | undefined): RedisClient {
  const { username: sentinelUsername, password: sentinelPassword, tls } = entering(config.sentinelAccess, null, ca)
  return tend({
    name: config.name,
    db: config.db,
    ...entering(config, null, ca),
    enableTLSForSentinelMode: config.tls,
    sentinels: config.sentinels,
    ...sentinelUsername === undefined ? {} : { sentinelUsername },
    ...sentinelPassword === undefined ? {} : { sentinelPassword },
    ...tls === undefined ? {} : { sentinelTLS: tls },
    // Those that were named, and none whose addresses may mean nothing from here.
    updateSentinels: false,
    failoverDetector: true,
    sentinelCommandTimeout: 500,
    sentinelRetryStrategy: times => Math.min(100 * times, 500),
    sentinelReconnectStrategy: times => Math.min(100 * times, 2_000)
  })
}

/** The cluster for counters, which may be resent; the cache has connections of its own, see token-cache/cluster.ts. */
export function createCluster (config: RedisConfig & { mode: 'cluster' }, ca: string | undefined): Cluster {
  const client = new Cluster(config.seeds, {
    redisOptions: { ...failFast, ...entering(config, null, ca) },
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxRedirections: 3,
    slotsRefreshTimeout: 500,
    clusterRetryStrategy: times => Math.min(100 * times, 500),
    // A certificate is for the name that the servers announce, not for what it resolves to.
    dnsLookup: (address, callback) => callback(null, address)
  })
  // What is wrong is told by the connections of the cache.
  client.on('error', () => {})
  return client
}

/** How much is in Redis: keys of the logical database, bytes of the whole of it, over all masters. Rejects where one doesn't answer. */
export async function measureRedis (client: Redis | Cluster): Promise<{ keys: number, memoryBytes: number | null }> {
  const masters = client instanceof Cluster ? client.nodes('master') : [client]
  const sizes = await Promise.all(masters.map(async master => {
    const [keys, info] = await Promise.all([master.dbsize(), master.info('memory')])
    return { keys, bytes: Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? Number.NaN) }
  }))
  const bytes = sizes.reduce((sum, size) => sum + size.bytes, 0)
  return { keys: sizes.reduce((sum, size) => sum + size.keys, 0), memoryBytes: Number.isNaN(bytes) ? null : bytes }
}

function tend (options: Options): RedisClient {
  let failures = 0
  let closed = false
  const client = new Redis({ ...failFast, enableAutoPipelining: true, ...options, retryStrategy: () => Math.min(25 * 2 ** failures++, 500) })
  // A disconnection in the middle of asking the Sentinels ends an ioredis client for good.
  client.on('end', () => {
    if (!closed) setTimeout(() => { if (!closed) client.connect().catch(() => {}) }, 500).unref()
  })
  return {
    client,
    well () { failures = 0 },
    close () {
      closed = true
      client.disconnect()
    }
  }
}
