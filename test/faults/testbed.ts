import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type RedisClusterSet, type SentinelSet, startClusterSet, startSentinelSet } from '../fixtures/redis-sets.js'
import { hasRedisServer, openSql, type RedisServer, startRedis } from '../fixtures/servers.js'
import { type Api, createApi } from './api.js'
import { closeConnections } from './client.js'
import { compileInstance } from './compile.js'
import { graceMs } from './families.js'
import { startPostgres } from './postgres.js'
import type { Setup } from './setups.js'

/** A server that the run needs is missing; the message says what to install. */
export class MissingServerError extends Error {
  override name = 'MissingServerError'
}

/** Three APIs and a verifier, their PostgreSQL and Redis, and a proxy on each connection to a single server. */
export type Testbed = Awaited<ReturnType<typeof createTestbed>>

export async function createTestbed (mutant: string | null, setup: Setup) {
  if (!hasRedisServer) throw new MissingServerError('redis-server is missing: install Redis 7 or later')
  const found = await startPostgres(setup.postgres)
  if (found === null) throw new MissingServerError('PostgreSQL is missing: install its server (initdb), or set TEST_DATABASE_URL')
  const database = found
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-faults-redis-'))
  const folderOf = (name: string) => { mkdirSync(join(folder, name)); return join(folder, name) }
  const prefix = `lkf:${randomBytes(4).toString('hex')}:`
  const connect = () => openSql(database.url, { max: 2 })
  let sql = connect()
  const code = compileInstance()
  const apis: Api[] = []
  const verifiers: Api[] = []
  const spares: RedisServer[] = []
  let sentinels: SentinelSet | null = null
  let cluster: RedisClusterSet | null = null
  let redis = await startRedis({ dir: folderOf('first') })

  async function close (): Promise<void> {
    await Promise.all([...apis, ...verifiers].map(api => api.close()))
    await Promise.all([redis, ...spares].map(server => server.kill().catch(() => {})))
    await sentinels?.close()
    await cluster?.close()
    await sql.end({ timeout: 0 }).catch(() => {})
    await database.stop()
    rmSync(folder, { recursive: true, force: true })
    code.remove()
    closeConnections()
  }

  try {
    if (setup.redis === 'sentinel') sentinels = await startSentinelSet({ downAfterMs: 500 })
    if (setup.redis === 'cluster') cluster = await startClusterSet({ nodeTimeoutMs: 1_000 })
    const where = {
      ...sentinels === null
        ? {}
        : { REDIS_URL: `redis://${sentinels.masterName}`, REDIS_SENTINELS: sentinels.sentinels.map(({ url }) => url).join() },
      ...cluster === null ? {} : { REDIS_URL: cluster.url }
    }
    const servers = { redisPort: redis.port, databasePort: database.port, databaseUrl: database.urlThrough }
    const shared = { DATABASE_POOL: '10', REDIS_KEY_PREFIX: prefix, ...where }
    for (let index = 0; index < 3; index++) {
      apis.push(await createApi(index, code.entry, servers, {
        BCRYPT_COST: '4', LOGIN_LIMIT: '1000000/1m', ADDRESS_LIMIT: '0', SESSION_LIMIT: '3', REFRESH_GRACE: `${graceMs}ms`, ...shared,
        ...mutant === null ? {} : { FAULTS_MUTANT: mutant }
      }))
    }
    verifiers.push(await createApi(apis.length, code.verifier, servers, shared))
    await Promise.all(apis.map(api => api.start()))
    await Promise.all(verifiers.map(api => api.start()))
  } catch (error) {
    await close()
    throw error
  }

  const members = [...apis, ...verifiers]

  /** Runs commands on the Redis at `port`; error replies reject. */
  async function onRedis<T> (port: number, work: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => null, maxRetriesPerRequest: 0, lazyConnect: true })
    client.on('error', () => {})
    try {
      await client.connect()
      return await work(client)
    } finally {
      client.disconnect()
    }
  }

  return {
    apis,
    /** Processes that only check tokens. */
    verifiers,
    /** All that check tokens: the APIs and the verifiers. */
    members,
    get sql () { return sql },
    database,
    sentinels,
    cluster,
    prefix,
    close,
    keyOf: (hash: string) => `${prefix}token:${hash}`,
    get redis () { return redis },
    /** Sends a command to the current Redis. */
    redisCommand: (
      name: string,
      ...args: Array<string | number>
    ): Promise<unknown> => onRedis(redis.port, client => client.call(name, ...args)),
    onRedis,

    /** A random instance that takes requests, as a load balancer would choose. */
    anyUp (except?: Api): Api | null {
      return anyOf(apis, except)
    },

    /** The same, of all that can be asked about a token. */
    anyReader: (): Api | null => anyOf(members),

    /** Starts Redis again on its port; it loads the dump in its folder, if there is one. */
    async restartRedis (): Promise<void> {
      redis = await startRedis({ port: redis.port, dir: redis.dir })
    },

    /** Starts a replica that follows the current Redis through `port`; in sync when this resolves. */
    async startReplica (port: number): Promise<RedisServer> {
      const replica = await startRedis({
        dir: folderOf(`replica-${spares.length}`),
        args: ['--replicaof', '127.0.0.1', String(port), '--repl-diskless-sync-delay', '0']
      })
      spares.push(replica)
      for (let i = 0; i < 100; i++) {
        const info = await onRedis(replica.port, client => client.info('replication'))
        if (/master_link_status:up/.test(info)) break
        await delay(50)
      }
      return replica
    },

    /** Makes `next` the current Redis, where new connections lead. Returns the old one. */
    succeed (next: RedisServer): RedisServer {
      const old = redis
      redis = next
      spares.splice(spares.indexOf(next), 1, old)
      for (const { redisLink } of members) redisLink.target(next.port)
      return old
    },

    /** Kills the primary, promotes its standby, and leads every connection there; it soon has a standby of its own. */
    async promoteStandby (): Promise<void> {
      await database.promote()
      for (const { databaseLink } of members) {
        databaseLink.target(Number(new URL(database.url).port))
        databaseLink.drop()
      }
      void sql.end({ timeout: 0 }).catch(() => {})
      sql = connect()
    },

    /** Milliseconds until every instance trusts its cache again; null if one doesn't within `withinMs`. */
    async trustReturns (withinMs: number): Promise<number | null> {
      const since = performance.now()
      while (performance.now() - since < withinMs) {
        const ready = await Promise.all(members.map(api => isTrusted(api)))
        if (ready.every(Boolean)) return performance.now() - since
        await delay(100)
      }
      return null
    },

    /** How many tokens the verifiers that run now have been asked about, and how many of them the cache answered. */
    async verifierStats (): Promise<{ verified: number, hits: number }> {
      const replies = await Promise.all(verifiers.filter(({ state }) => state === 'up').map(api => api.ask({ method: 'GET', path: '/health/ready' })))
      const all = replies.map(({ body }) => (JSON.parse(body) as { stats: { verified: number, hits: number } }).stats)
      return { verified: all.reduce((sum, { verified }) => sum + verified, 0), hits: all.reduce((sum, { hits }) => sum + hits, 0) }
    },

    /** The epoch and a key's value in Redis, for the report. */
    async describe (hash: string): Promise<string> {
      const [epoch] = await sql`select generation, incarnation from cache_epoch`.catch(() => [undefined])
      const { port } = await cluster?.ownerOf(`${prefix}token:${hash}`) ?? await sentinels?.master() ?? redis
      const there = await onRedis(port, client => client.get(`${prefix}token:${hash}`)).catch(() => 'unreachable')
      return `epoch ${epoch?.generation} in ${String(epoch?.incarnation).slice(0, 8)}; Redis has ${there?.slice(0, 24) ?? 'nothing'}`
    }
  }
}

function anyOf (among: Api[], except?: Api): Api | null {
  const up = among.filter(api => api.state === 'up' && !api.shunned && api !== except)
  return up[Math.floor(Math.random() * up.length)] ?? null
}

async function isTrusted (api: Api): Promise<boolean> {
  const reply = await api.ask({ method: 'GET', path: '/health/ready' })
  return reply.status === 200 && (JSON.parse(reply.body) as { cache: { trusted: boolean } }).cache.trusted
}
