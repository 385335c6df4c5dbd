import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { ConfigError } from '../config/config.js'
import type { RedisAccess, RedisAddress, RedisConfig } from '../config/redis.js'

/** The longest a request waits for Redis. */
export const commandTimeoutMs = 100

/** The poll makes a server answer more often than this. One that stays silent for longer may be gone without closing the connection. */
const silenceMs = 2_000
const connectTimeoutMs = 1_000

type Options = Omit<RedisOptions, 'replyMapping'>

/** A client. `resetBackoff` makes the next reconnection immediate; `close` ends it for good. */
export interface RedisClient { client: Redis, resetBackoff (): void, close (): void }

/** By default ioredis queues, resends and retries commands. A write that arrives late would break the revocation protocol. */
const failFast = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  commandTimeout: commandTimeoutMs,
  connectTimeout: connectTimeoutMs,
  socketTimeout: silenceMs,
  disconnectTimeout: 100,
  disableClientInfo: true
} satisfies Options

/** A connection's name among others. A user is name enough, and needs no right to set one. */
function named ({ username }: Options): Options {
  return username === undefined ? { connectionName: 'latchkey' } : {}
}

/** The certificates in REDIS_CA_FILE; undefined if it is not set. Throws ConfigError if the file cannot be used. */
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

/** Credentials, and TLS that verifies certificate and name whatever NODE_TLS_REJECT_UNAUTHORIZED says. */
function accessOptions ({ username, password, tls }: RedisAccess, host: string | null, ca: string | undefined): Options {
  const servername = host === null || isIP(host) !== 0 ? {} : { servername: host }
  return {
    ...username === undefined ? {} : { username },
    ...password === undefined ? {} : { password },
    ...tls ? { tls: { rejectUnauthorized: true, ...ca === undefined ? {} : { ca }, ...servername } } : {}
  }
}

interface ServerOptions { db?: number, ca?: string | undefined }

/** A client of one server that connects in the background; nothing waits for it. */
export function createRedis (access: RedisAccess, { host, port }: RedisAddress, { db = 0, ca }: ServerOptions = {}): RedisClient {
  // No ready check: our own first commands notice a server that is still loading.
  return createClient({ host, port, db, ...accessOptions(access, host, ca), enableReadyCheck: false })
}

/** Options for one connection to the Sentinel at `host`, without reconnecting. */
export function sentinelOptions ({ sentinelAccess }: RedisConfig & { mode: 'sentinel' }, host: string, ca: string | undefined): Options {
  const { disableClientInfo, disconnectTimeout } = failFast
  const once = { retryStrategy: null, enableReadyCheck: false, enableOfflineQueue: false, maxRetriesPerRequest: 0 }
  return { ...accessOptions(sentinelAccess, host, ca), ...once, disableClientInfo, disconnectTimeout }
}

/** A client of the server that the Sentinels name as master, now and after each failover. */
export function createSentinelRedis (config: RedisConfig & { mode: 'sentinel' }, ca: string | undefined): RedisClient {
  const { username: sentinelUsername, password: sentinelPassword, tls } = accessOptions(config.sentinelAccess, null, ca)
  return createClient({
    name: config.name,
    db: config.db,
    ...accessOptions(config, null, ca),
    enableTLSForSentinelMode: config.tls,
    sentinels: config.sentinels,
    ...sentinelUsername === undefined ? {} : { sentinelUsername },
    ...sentinelPassword === undefined ? {} : { sentinelPassword },
    ...tls === undefined ? {} : { sentinelTLS: tls },
    // Only those in REDIS_SENTINELS: the addresses of others may not be reachable from here.
    updateSentinels: false,
    failoverDetector: true,
    sentinelCommandTimeout: 500,
    sentinelRetryStrategy: times => Math.min(100 * times, 500),
    sentinelReconnectStrategy: times => Math.min(100 * times, 2_000)
  })
}

/** The cluster for counters, which may be sent twice. The cache has its own connections: see token-cache/cluster.ts. */
export function createCluster (config: RedisConfig & { mode: 'cluster' }, ca: string | undefined): Cluster {
  const access = accessOptions(config, null, ca)
  const client = new Cluster(config.seeds, {
    redisOptions: { ...failFast, ...named(access), ...access },
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxRedirections: 3,
    slotsRefreshTimeout: 500,
    clusterRetryStrategy: times => Math.min(100 * times, 500),
    // Certificates are for the names that the servers announce, not for their addresses.
    dnsLookup: (address, callback) => callback(null, address)
  })
  // The cache's connections to the same servers log what is wrong.
  client.on('error', () => {})
  return client
}

/** Keys of the logical database, and bytes of the whole server, summed over all masters. Rejects if one of them does not answer. */
export async function measureRedis (client: Redis | Cluster): Promise<{ keys: number, memoryBytes: number | null }> {
  const masters = client instanceof Cluster ? client.nodes('master') : [client]
  const sizes = await Promise.all(masters.map(async master => {
    const [keys, info] = await Promise.all([master.dbsize(), master.info('memory')])
    return { keys, bytes: Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? Number.NaN) }
  }))
  const bytes = sizes.reduce((sum, size) => sum + size.bytes, 0)
  return { keys: sizes.reduce((sum, size) => sum + size.keys, 0), memoryBytes: Number.isNaN(bytes) ? null : bytes }
}

function createClient (options: Options): RedisClient {
  let failures = 0
  let closed = false
  const retryStrategy = () => Math.min(25 * 2 ** failures++, 500)
  const client = new Redis({ ...failFast, ...named(options), enableAutoPipelining: true, ...options, retryStrategy })
  // ioredis gives up for good if it is disconnected while it asks the Sentinels.
  client.on('end', () => {
    if (!closed) setTimeout(() => { if (!closed) client.connect().catch(() => {}) }, 500).unref()
  })
  return {
    client,
    resetBackoff () { failures = 0 },
    close () {
      closed = true
      client.disconnect()
    }
  }
}
