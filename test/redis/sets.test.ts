import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.js'
import { openRedis, RedisRefusedError } from '../../src/open-redis.js'
import { becomesTrue, serverGround, startApp } from '../fixtures/app.js'
import { type SentinelSet, startSentinelSet } from '../fixtures/redis-sets.js'
import { hasRedisServer } from '../fixtures/servers.js'

/** Sentinels and a cluster, of real servers that the test has started. */

t.setTimeout(170_000)

function open (t: Test, env: Record<string, string>) {
  const { redis: config } = loadConfig(env)
  if (config === undefined) throw new Error('REDIS_URL is missing')
  const lines: string[] = []
  const redis = openRedis(config, { keyPrefix: 'lk:', log: { warn: (_fields, text) => { lines.push(text) } } })
  t.teardown(() => redis.close())
  return { ...redis, lines }
}

const skip = hasRedisServer ? false : 'needs redis-server in PATH'

t.test('a master that Sentinels watch', { skip }, async t => {
  const set = await startSentinelSet({ password: 'of-redis', sentinelPassword: 'of-sentinels' })
  t.teardown(set.close)
  const env = { REDIS_URL: `redis://:of-redis@${set.masterName}`, REDIS_SENTINELS: set.sentinels.map(({ url }) => url).join(), REDIS_KEY_PREFIX: 'lk:' }

  t.test('is found by its name, with the passwords of both', async t => {
    const { check, link, lines } = open(t, env)
    await check()
    const master = await set.master()
    t.ok((await link.identify()).incarnation)
    t.equal(await link.takeLease('lk:a', 'La', 1_000), null)
    t.strictSame(lines, [])
    t.ok(master)
    const refused = async (change: Partial<typeof env>) => {
      const { check } = open(t, { ...env, ...change })
      return await check().then(() => 'not refused', (error: Error) => { t.type(error, RedisRefusedError); return error.message })
    }
    t.match(await refused({ REDIS_URL: `redis://:wrong@${set.masterName}` }), /refuses user or password of REDIS_URL/)
    t.match(await refused({ REDIS_URL: 'redis://:of-redis@another' }), /watches no master named another: correct the host of REDIS_URL/)
    t.match(await refused({ REDIS_SENTINELS: env.REDIS_SENTINELS.replaceAll('of-sentinels', 'wrong') }), /\(a Sentinel\) refuses user or password of REDIS_SENTINELS/)
    t.match(await refused({ REDIS_SENTINELS: env.REDIS_SENTINELS.replaceAll(':of-sentinels@', '') }), /\(a Sentinel\) asks for a password: put it into REDIS_SENTINELS/)
  })

  t.test('is followed to its successor, ordered or forced, and nothing revoked comes back', async t => {
    const ground = await serverGround(t, { redisUrl: env.REDIS_URL })
    if (ground === null) return
    const [one, other] = [await startApp(t, { ...ground, prefix: 'lk:' }, { env }), await startApp(t, { ...ground, prefix: 'lk:' }, { env })]
    for (const [how, succeed] of Object.entries(successions(set))) {
      const { token } = await one.account()
      const { token: doomed } = await one.account()
      for (const app of [one, other]) for (const each of [token, doomed]) t.equal((await app.me(each)).statusCode, 200)
      const before = { registrations: one.counters.registrations + other.counters.registrations }
      const decidedAt = await succeed()
      t.equal((await one.logout(doomed)).statusCode, 204)
      for (const app of [one, other]) t.equal((await app.me(doomed)).statusCode, 401, `${how}: ended is ended`)
      const trusted = await becomesTrue(() => one.epoch.state() === 'trusted' && other.epoch.state() === 'trusted', 10_000)
      t.ok(trusted, `${how}: the successor is trusted ${Math.round(performance.now() - decidedAt)} ms after the decision`)
      t.ok(one.counters.registrations + other.counters.registrations > before.registrations, 'as another server')
      for (const app of [one, other]) {
        const { hits } = app.counters
        t.ok(await becomesTrue(async () => (await app.me(token)).statusCode === 200 && app.counters.hits > hits, 3_000), `${how}: and answers`)
        t.equal((await app.me(doomed)).statusCode, 401)
      }
    }
  })
})

/** Each resolves with the moment at which the Sentinels had agreed. */
function successions (set: SentinelSet): Record<string, () => Promise<number>> {
  return {
    async ordered () {
      await set.failOver()
      return performance.now()
    },
    async killed () {
      const old = await set.master()
      await old.kill()
      await set.succeeded(old)
      return performance.now()
    }
  }
}
