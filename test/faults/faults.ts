import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Api } from './api.js'
import { killAtEachAwait } from './deaths.js'
import type { Load } from './load.js'
import type { Oracle } from './oracle.js'
import type { Testbed } from './testbed.js'
import { logOut } from './ways.js'
import { startWire } from './wire.js'

export interface Scene {
  testbed: Testbed
  load: Load
  oracle: Oracle, /** Whether to run the whole fault or a selection of it. */
  thorough: boolean
  hold (ms: number): Promise<void>
}

/** `strike` breaks something, keeps it broken for a while, and resolves once it is repaired. `short`: part of the short run. */
export interface Fault { short: boolean, strike (scene: Scene): Promise<void> }

/** Runs `work` every `everyMs` for `ms`. */
async function repeatedly (ms: number, everyMs: number, work: () => Promise<unknown>): Promise<void> {
  const until = performance.now() + ms
  while (performance.now() < until) {
    await work()
    await delay(everyMs)
  }
}

function broken (one: (testbed: Testbed) => Api, breakIt: (api: Api) => void, mendIt: (api: Api) => void, ms: number): Fault['strike'] {
  return async ({ testbed, hold }) => {
    const api = one(testbed)
    breakIt(api)
    await hold(ms)
    mendIt(api)
  }
}

let turn = 0
const oneOf = ({ members }: Testbed): Api => members[turn++ % members.length] as Api

/** Promotes a replica; revocations written to the old master afterwards are missing in it. */
async function failOver ({ testbed, hold }: Scene, killClients: boolean): Promise<void> {
  const replica = await testbed.startReplica(testbed.redis.port)
  await hold(500)
  await testbed.onRedis(replica.port, client => client.call('REPLICAOF', 'NO', 'ONE'))
  // What is written to the old master meanwhile never reaches its successor.
  await hold(300)
  const old = testbed.succeed(replica)
  await testbed.onRedis(old.port, client => client.call('REPLICAOF', '127.0.0.1', replica.port))
  if (killClients) for (const { redisLink } of testbed.members) redisLink.drop()
  await hold(2_500)
}

/** All faults by name. */
export const faults: Record<string, Fault> = {
  none: { short: true, strike: ({ hold }) => hold(1_500) },

  'redis-killed': {
    short: true,
    async strike ({ testbed, hold }) {
      await testbed.redis.kill('SIGKILL')
      await hold(4_000)
      await testbed.restartRedis()
    }
  },

  'redis-old-snapshot': {
    short: true,
    async strike ({ testbed, hold }) {
      await testbed.redisCommand('SAVE')
      const { dir } = testbed.redis
      copyFileSync(join(dir, 'dump.rdb'), join(dir, 'old.rdb'))
      await hold(1_200)
      await testbed.redis.kill('SIGKILL')
      copyFileSync(join(dir, 'old.rdb'), join(dir, 'dump.rdb'))
      await testbed.restartRedis()
      rmSync(join(dir, 'dump.rdb'), { force: true })
      await hold(1_200)
    }
  },

  'redis-frozen': {
    short: true,
    async strike ({ testbed, hold }) {
      process.kill(testbed.redis.pid, 'SIGSTOP')
      await hold(3_800)
      process.kill(testbed.redis.pid, 'SIGCONT')
    }
  },

  'api-frozen': { short: true, strike: broken(oneOf, api => api.freeze(), api => api.resume(), 3_000) },

  'client-kill': {
    short: false,
    strike: ({ testbed, hold }) =>
      Promise.all([hold(3_000), repeatedly(3_000, 150, () => testbed.redisCommand('CLIENT', 'KILL', 'TYPE', 'normal'))]).then(() => {})
  },

  'debug-sleep': {
    short: false,
    async strike ({ testbed, hold }) {
      const slept = testbed.redisCommand('DEBUG', 'SLEEP', 2.5)
      await hold(3_000)
      await slept
    }
  },

  flushall: {
    short: false,
    strike: ({ testbed }) => repeatedly(3_000, 100, () => testbed.redisCommand('FLUSHALL'))
  },

  'allkeys-lru': {
    short: false,
    async strike ({ testbed, hold }) {
      const used = Number(/used_memory:(\d+)/.exec(String(await testbed.redisCommand('INFO', 'memory')))?.[1])
      await testbed.redisCommand('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
      await testbed.redisCommand('CONFIG', 'SET', 'maxmemory', used - 50_000)
      await hold(3_000)
      await testbed.redisCommand('CONFIG', 'SET', 'maxmemory', 0)
    }
  },

  'out-of-memory': {
    short: false,
    async strike ({ testbed, hold }) {
      await testbed.redisCommand('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
      await testbed.redisCommand('CONFIG', 'SET', 'maxmemory', 1)
      await hold(3_000)
      await testbed.redisCommand('CONFIG', 'SET', 'maxmemory', 0)
    }
  },

  /** A whole revocation happens between the database's answer and the fill. */
  'slow-fills': {
    short: true,
    async strike (scene) {
      const slow = oneOf(scene.testbed)
      // Its pool serves the racing reads only: a transaction over so slow a connection would hold it for seconds.
      slow.shunned = true
      slow.databaseLink.delay(250, 'replies')
      await scene.testbed.onRedis(scene.testbed.redis.port, redis => raceFills(scene, slow, redis, 2_500))
      slow.databaseLink.delay(0, 'replies')
      slow.shunned = false
    }
  },

  'redis-cut-from-one': { short: false, strike: broken(oneOf, api => api.redisLink.mode('cut'), api => api.redisLink.mode('pass'), 3_500) },
  'redis-swallowed-for-one': {
    short: true,
    strike: broken(oneOf, api => api.redisLink.mode('swallow'), api => api.redisLink.mode('pass'), 3_000)
  },
  'redis-stalled-for-one': {
    short: false,
    strike: broken(oneOf, api => api.redisLink.mode('stall'), api => api.redisLink.mode('pass'), 3_500)
  },
  'redis-stranded-for-all': {
    short: false,
    async strike ({ testbed, hold }) {
      for (const { redisLink } of testbed.members) redisLink.strand()
      await hold(1_000)
    }
  },

  'postgres-cut-from-one': {
    short: true,
    strike: broken(oneOf, api => api.databaseLink.mode('cut'), api => api.databaseLink.mode('pass'), 2_500)
  },
  'postgres-swallowed-for-one': {
    short: false,
    strike: broken(oneOf, api => api.databaseLink.mode('swallow'), api => api.databaseLink.mode('pass'), 4_000)
  },
  'postgres-stalled-for-one': {
    short: false,
    strike: broken(oneOf, api => api.databaseLink.mode('stall'), api => api.databaseLink.mode('pass'), 4_000)
  },
  'postgres-cut': {
    short: false,
    async strike ({ testbed, hold }) {
      for (const { databaseLink } of testbed.members) databaseLink.mode('cut')
      await hold(3_000)
      for (const { databaseLink } of testbed.members) databaseLink.mode('pass')
    }
  },
  'postgres-frozen': {
    short: true,
    async strike ({ testbed, hold }) {
      const { own } = testbed.database
      const set = (frozen: boolean) => {
        if (own !== null) own.freeze(frozen)
        else for (const { databaseLink } of testbed.members) databaseLink.mode(frozen ? 'stall' : 'pass')
      }
      set(true)
      await hold(3_000)
      set(false)
    }
  },

  'postgres-clients-killed': {
    short: true,
    strike: ({ testbed }) =>
      repeatedly(
        2_500,
        250,
        () =>
          testbed.sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'latchkey'`
      )
  },

  'failover-clients-killed': { short: false, strike: scene => failOver(scene, true) },
  'failover-clients-kept': { short: false, strike: scene => failOver(scene, false) },

  /** The replica lacks the last revocations; the old master still runs, and one instance still uses it. */
  'failover-lost-writes': {
    short: true,
    async strike ({ testbed, hold }) {
      const replication = await startWire(testbed.redis.port)
      try {
        const replica = await testbed.startReplica(replication.port)
        replication.mode('stall')
        await hold(800)
        await testbed.onRedis(replica.port, client => client.call('REPLICAOF', 'NO', 'ONE'))
        const behind = oneOf(testbed)
        const old = testbed.succeed(replica)
        behind.redisLink.target(old.port)
        for (const api of testbed.members) if (api !== behind) api.redisLink.drop()
        await hold(2_500)
        behind.redisLink.target(replica.port)
        await testbed.onRedis(old.port, client => client.call('REPLICAOF', '127.0.0.1', replica.port))
      } finally {
        replication.close()
      }
    }
  },

  'verifier-killed': {
    short: false,
    async strike ({ testbed, hold }) {
      for (const verifier of testbed.verifiers) {
        await verifier.kill()
        await hold(300)
        await verifier.revive()
      }
    }
  },

  'api-killed': {
    short: true,
    strike: scene => killAtEachAwait(scene, scene.thorough ? null : ['after transaction', 'after overwriting', 'before statement'])
  },

  'api-killed-without-redis': {
    short: false,
    async strike (scene) {
      for (const { redisLink } of scene.testbed.members) redisLink.mode('cut')
      await killAtEachAwait(scene, scene.thorough ? null : ['after transaction'])
      for (const { redisLink } of scene.testbed.members) redisLink.mode('pass')
    }
  }
}

/** Evicts tokens, reads them on an instance that is slow to fill, and revokes them on another while the fill is in progress. */
async function raceFills ({ testbed, load }: Scene, slow: Api, redis: Redis, ms: number): Promise<void> {
  const until = performance.now() + ms
  async function race (): Promise<void> {
    while (performance.now() < until) {
      const user = load.takeUser()
      if (user === null) {
        await delay(20)
        continue
      }
      const plan = logOut(user)
      const token = plan.ends[0]!
      await redis.del(testbed.keyOf(token.hash))
      const reading = load.track(load.read(token, slow))
      await delay(10 + Math.random() * 60)
      await load.revoke(user, plan, testbed.anyUp(slow))
      await reading
      load.release(user)
    }
  }
  await Promise.all(Array.from({ length: 6 }, race))
}
