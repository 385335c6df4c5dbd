import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import slotOf from 'cluster-key-slot'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { openRedis, RedisRefusedError } from '../../src/redis/open.js'
import { becomesTrue, patienceMs, serverGround, startApp } from '../fixtures/app.js'
import { createAuthority } from '../fixtures/certificates.js'
import { onServer, type SentinelSet, startClusterSet, startSentinelSet } from '../fixtures/redis-sets.js'
import { hasRedisServer } from '../fixtures/servers.js'

/** Sentinels and a cluster, on real servers started by the test. */

t.setTimeout(600_000)

function open (t: Test, env: Record<string, string>) {
  const { redis: config } = loadConfig(env)
  if (config === undefined) throw new Error('REDIS_URL is missing')
  const lines: string[] = []
  const redis = openRedis(config, { keyPrefix: 'lk:', log: { warn: (_fields, text) => { lines.push(text) } } })
  if (redis.limiter instanceof Redis) redis.limiter.options.commandTimeout = patienceMs
  t.teardown(() => redis.close())
  return { ...redis, lines, connected: () => becomesTrue(() => redis.backend.connection !== null, patienceMs) }
}

const skip = hasRedisServer ? false : 'needs redis-server in PATH'

t.test('a master that Sentinels watch', { skip }, async t => {
  const set = await startSentinelSet({ password: 'of-redis', sentinelPassword: 'of-sentinels' })
  t.teardown(set.close)
  const env = {
    REDIS_URL: `redis://:of-redis@${set.masterName}`,
    REDIS_SENTINELS: set.sentinels.map(({ url }) => url).join(),
    REDIS_KEY_PREFIX: 'lk:'
  }

  t.test('is found by its name, with the passwords of both', async t => {
    const { check, connected, backend, lines } = open(t, env)
    await check(patienceMs)
    await connected()
    const master = await set.master()
    t.ok((await backend.identify()).incarnation)
    t.equal(await backend.takeLease('lk:a', 'La', 60_000), null)
    t.strictSame(lines, [])
    t.ok(master)
    const refused = async (change: Partial<typeof env>) => {
      const { check } = open(t, { ...env, ...change })
      return await check(patienceMs).then(() => 'not refused', (error: Error) => { t.type(error, RedisRefusedError); return error.message })
    }
    t.match(await refused({ REDIS_URL: `redis://:wrong@${set.masterName}` }), /refuses user or password of REDIS_URL/)
    t.match(await refused({ REDIS_URL: 'redis://:of-redis@another' }), /watches no master named another: correct the host of REDIS_URL/)
    t.match(
      await refused({ REDIS_SENTINELS: env.REDIS_SENTINELS.replaceAll('of-sentinels', 'wrong') }),
      /\(a Sentinel\) refuses user or password of REDIS_SENTINELS/
    )
    t.match(
      await refused({ REDIS_SENTINELS: env.REDIS_SENTINELS.replaceAll(':of-sentinels@', '') }),
      /\(a Sentinel\) asks for a password: put it into REDIS_SENTINELS/
    )
  })

  t.test('is followed to its successor, ordered or forced, and nothing revoked comes back', async t => {
    const ground = await serverGround(t, { redisUrl: env.REDIS_URL })
    if (ground === null) return
    const [
      one,
      other
    ] = [await startApp(t, { ...ground, prefix: 'lk:' }, { env }), await startApp(t, { ...ground, prefix: 'lk:' }, { env })]
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
        t.ok(
          await becomesTrue(async () => (await app.me(token)).statusCode === 200 && app.counters.hits > hits, patienceMs),
          `${how}: and answers`
        )
        t.equal((await app.me(doomed)).statusCode, 401)
      }
    }
  })
})

/** Each resolves with the time at which the Sentinels agreed on the new master. */
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

const keyOf = (token: string) => `lk:token:${createHash('sha256').update(token).digest('hex')}`

t.test('a cluster of six', { skip }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-cluster-tls-'))
  const authority = createAuthority(dir, 'cluster')
  const set = await startClusterSet({ tls: { ...authority.certify('IP:127.0.0.1'), caFile: authority.caFile } })
  t.teardown(async () => {
    await set.close()
    rmSync(dir, { recursive: true })
  })
  const env = { REDIS_URL: set.url, REDIS_KEY_PREFIX: 'lk:' }
  const ground = await serverGround(t, { redisUrl: set.url })
  if (ground === null) return
  const start = (t: Test) => startApp(t, { ...ground, prefix: 'lk:' }, { env: { ...env, ADDRESS_LIMIT: '1000/1m', SESSION_LIMIT: '0' } })
  type App = Awaited<ReturnType<typeof start>>

  async function isTrusted (t: Test, ...apps: App[]): Promise<void> {
    const from = performance.now()
    t.ok(await becomesTrue(() => apps.every(({ epoch }) => epoch.state() === 'trusted'), 15_000), 'trusted')
    t.comment(`trusted after ${Math.round(performance.now() - from)} ms`)
  }

  /** An account whose token each of `apps` answers from its cache. */
  async function cached (t: Test, ...apps: [App, ...App[]]) {
    const account = await apps[0].account()
    for (const app of apps) {
      const { hits } = app.counters
      t.ok(
        await becomesTrue(async () => (await app.me(account.token)).statusCode === 200 && app.counters.hits > hits, patienceMs),
        'answered from the cache'
      )
    }
    return account
  }

  /** Creates tokens until each master holds at least one. */
  async function cachedOnEach (t: Test, ...apps: [App, ...App[]]) {
    const byOwner = new Map<string, Awaited<ReturnType<App['account']>>>()
    while (byOwner.size < 3) {
      const account = await cached(t, ...apps)
      byOwner.set((await set.ownerOf(keyOf(account.token))).id, account)
    }
    return byOwner
  }

  t.test('is one cache, over TLS too, and each Redis user has only the permissions it needs', async t => {
    const rights = /^user latchkey on >PASSWORD (.*)$/m.exec(readFileSync(
      new URL('../../README.md', import.meta.url),
      'utf8'
    ))?.[1]?.split(' ') ??
      []
    for (const { port } of set.nodes) await onServer(
      port,
      client => client.call('ACL', 'SETUSER', 'latchkey', 'on', '>pw', ...rights, '+cluster|slots')
    )
    const tls = set.nodes.slice(3).map(({ tlsPort }) => `rediss://latchkey:pw@127.0.0.1:${tlsPort}`).join()
    const { check, connected, backend, limiter, lines } = open(t, { REDIS_URL: tls, REDIS_CA_FILE: authority.caFile })
    await check(patienceMs)
    await connected()
    t.ok((await backend.identify()).incarnation, 'found by replicas alone')
    const keys = Array.from({ length: 30 }, (_, i) => `lk:${i}`)
    for (const name of keys) t.equal(await backend.takeLease(name, 'La', 60_000), null)
    t.equal((await backend.overwrite(keys, 60_000)).incarnation, (await backend.identify()).incarnation, 'one overwrite covers all shards')
    for (const name of keys) t.equal(await backend.takeLease(name, 'Lb', 60_000), 'R')
    t.ok(await becomesTrue(() => limiter.status === 'ready', patienceMs))
    t.equal(await limiter.get('lk:7'), 'R')
    t.strictSame(lines, [])

    const plain = open(t, env)
    await plain.check(patienceMs)
    await plain.connected()
    t.equal((await plain.backend.identify()).incarnation, (await backend.identify()).incarnation, 'the same to whoever asks')
    for (const { port } of set.nodes) await onServer(port, client => client.call('ACL', 'SETUSER', 'latchkey', '-cluster|slots'))
    const forbidden = open(t, { REDIS_URL: tls, REDIS_CA_FILE: authority.caFile })
    await t.rejects(forbidden.check(patienceMs), { name: RedisRefusedError.name, message: /grant it \+cluster\|slots/ })
  })

  t.test('settles in each shard, and counts limits', async t => {
    const [one, other] = [await start(t), await start(t)]
    await isTrusted(t, one, other)
    for (const { token } of (await cachedOnEach(t, one, other)).values()) {
      const { bumps } = one.counters
      t.equal((await one.logout(token)).statusCode, 204)
      t.equal((await other.me(token)).statusCode, 401)
      t.equal(one.counters.bumps, bumps, 'without a bump')
      const owner = await set.ownerOf(keyOf(token))
      t.equal(await onServer(owner.port, client => client.get(keyOf(token))), 'R', 'where the key belongs')
    }
    const counted = await Promise.all((await set.masters()).map(({ port }) => onServer(port, client => client.keys('lk:limit:*'))))
    t.ok(counted.flat().length > 0, 'limits count in the cluster')
    await one.trusted()
    t.match((await one.call('GET', '/health/ready')).json(), { status: 'ok', cache: { trusted: true } })
  })

  t.test('goes on when a master dies, and nothing revoked comes back', async t => {
    const [one, other] = [await start(t), await start(t)]
    await isTrusted(t, one, other)
    for (const how of ['killed', 'ordered'] as const) {
      const each = await cachedOnEach(t, one, other)
      const [victim] = await set.masters()
      if (victim === undefined) return t.fail('no master')
      const doomed = each.get(victim.id)?.token as string
      const registrations = () => one.counters.registrations + other.counters.registrations
      const before = registrations()
      const succession = how === 'killed' ? set.kill(victim) : set.failOver(victim)
      t.equal((await one.logout(doomed)).statusCode, 204, `${how}: ended while nobody is master`)
      t.equal((await other.me(doomed)).statusCode, 401)
      await succession
      await isTrusted(t, one, other)
      t.ok(registrations() > before, 'as another cluster')
      t.equal((await other.me(doomed)).statusCode, 401)
      for (const { token } of each.values()) if (token !== doomed) t.equal((await other.me(token)).statusCode, 200)
      await cachedOnEach(t, one, other)
      if (how === 'killed') await set.revive(victim)
    }
  })

  t.test('a slot that moves takes nothing with it', async t => {
    const [one, other] = [await start(t), await start(t)]
    await isTrusted(t, one, other)
    const { token } = await cached(t, one, other)
    const { token: kept } = await cached(t, one, other)
    const slot = slotOf(keyOf(token))
    const from = await set.ownerOf(keyOf(token))
    const to = (await set.masters()).find(({ id }) => id !== from.id)
    if (to === undefined) return t.fail('no other master')
    await set.moveSlot(slot, to, async () => {
      t.equal((await other.me(token)).statusCode, 200)
      t.equal((await one.logout(token)).statusCode, 204, 'ended while its slot was moving')
      t.equal((await other.me(token)).statusCode, 401)
    })
    t.equal((await other.me(token)).statusCode, 401)
    await isTrusted(t, one, other)
    t.equal((await other.me(token)).statusCode, 401)
    t.equal((await other.me(kept)).statusCode, 200)
    await cachedOnEach(t, one, other)
  })

  t.test('a slot given away without its keys leaves no entry that is believed', async t => {
    const [one, other] = [await start(t), await start(t)]
    await isTrusted(t, one, other)
    const { token } = await cached(t, one, other)
    const from = await set.ownerOf(keyOf(token))
    const to = (await set.masters()).find(({ id }) => id !== from.id)
    if (to === undefined) return t.fail('no other master')
    await set.forceSlot(slotOf(keyOf(token)), to)
    t.equal((await one.logout(token)).statusCode, 204)
    for (let i = 0; i < 20; i++) t.equal((await other.me(token)).statusCode, 401)
    await isTrusted(t, one, other)
    t.equal((await other.me(token)).statusCode, 401)
  })
})
