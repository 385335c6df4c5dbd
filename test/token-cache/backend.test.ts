import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { createRedis } from '../../src/redis/client.js'
import { type CacheBackend, RefusedCommandError } from '../../src/token-cache/backend.js'
import { createMemoryBackend } from '../../src/token-cache/memory.js'
import { createRedisBackend } from '../../src/token-cache/redis.js'
import { becomesTrue, patienceMs, skipMissing } from '../fixtures/app.js'
import { findRedis, hasRedisServer, type RedisServer, startRedis } from '../fixtures/servers.js'

/** Patient by default: on a busy machine, a test is not about timeouts. */
async function openRedis (t: Test, url: string, { patient = true } = {}) {
  const config = loadConfig({ REDIS_URL: url }).redis
  if (config?.mode !== 'server') throw new Error('one server is meant')
  const { client, close } = createRedis(config, config.address, { db: config.db })
  client.on('error', () => {})
  if (patient) client.options.commandTimeout = patienceMs
  const backend = createRedisBackend(client)
  t.teardown(close)
  if (!await becomesTrue(() => backend.connection !== null, patienceMs)) t.fail('no connection to Redis')
  return { client, backend }
}

const backends: Record<string, (t: Test) => Promise<CacheBackend | null>> = {
  'in this process': async () => createMemoryBackend(),
  'on Redis': async t => {
    const url = await findRedis()
    if (url !== null) return (await openRedis(t, url)).backend
    skipMissing(t, 'needs Redis: install and start it, or set TEST_REDIS_URL')
    return null
  }
}

for (const [name, open] of Object.entries(backends)) {
  t.test(`the backend ${name}`, async t => {
    const backend = await open(t)
    if (backend === null) return
    const prefix = `lkt:${randomBytes(6).toString('hex')}:`
    let count = 0
    const newKey = () => `${prefix}${count++}`

    t.test('a lease is taken where there is no entry, and otherwise the existing entry is returned', async t => {
      const key = newKey()
      t.equal(await backend.takeLease(key, 'La', 60_000), null)
      t.equal(await backend.takeLease(key, 'Lb', 60_000), 'La')
      t.equal(await backend.takeLease(key, 'Lc', 60_000), 'La', 'and leaves it there')
    })

    t.test('a read returns the entry and leaves it as it is', async t => {
      const [taken, free] = [newKey(), newKey()]
      await backend.takeLease(taken, 'La', 60_000)
      t.strictSame(
        await Promise.all([taken, free, taken].map(key => backend.get(key))),
        ['La', null, 'La'],
        'each its own, several at once'
      )
      t.equal(await backend.takeLease(free, 'Lb', 60_000), null, 'no entry was left where there was none')
    })

    t.test('a read begun after a change sees it, although other reads are in progress', async t => {
      const key = newKey()
      await backend.takeLease(key, 'La', 60_000)
      const early = backend.get(key)
      await new Promise(resolve => setImmediate(resolve))
      await backend.overwrite([key], 60_000)
      t.equal(await backend.get(key), 'R')
      t.match(await early, /^(La|R)$/)
    })

    t.test('of several leases requested at once, one is granted', async t => {
      const key = newKey()
      const taken = await Promise.all(['La', 'Lb', 'Lc'].map(lease => backend.takeLease(key, lease, 60_000)))
      t.equal(taken.filter(there => there === null).length, 1)
    })

    t.test('a value replaces the expected entry, and nothing else', async t => {
      const key = newKey()
      t.equal(await backend.compareAndSet(key, 'La', 'V1|x', 60_000), false, 'not where there is no entry')
      await backend.takeLease(key, 'La', 60_000)
      t.equal(await backend.compareAndSet(key, 'Lb', 'V1|x', 60_000), false)
      t.equal(await backend.compareAndSet(key, 'La', 'V1|{"a":"é|\\n"}', 60_000), true)
      t.equal(await backend.takeLease(key, 'Lc', 60_000), 'V1|{"a":"é|\\n"}')
    })

    t.test('an overwritten entry is revoked, whatever it held', async t => {
      const [leased, filled, free] = [newKey(), newKey(), newKey()]
      await backend.takeLease(leased, 'La', 60_000)
      await backend.takeLease(filled, 'La', 60_000)
      await backend.compareAndSet(filled, 'La', 'V1|x', 60_000)
      await backend.overwrite([leased, filled, free], 60_000)
      for (const key of [leased, filled, free]) t.equal(await backend.takeLease(key, 'Lb', 60_000), 'R')
      t.equal(await backend.compareAndSet(leased, 'La', 'V1|x', 60_000), false, 'a lease is gone as well')
    })

    t.test('a deleted entry is gone, and so is its lease', async t => {
      const key = newKey()
      await backend.takeLease(key, 'La', 2_000)
      await backend.overwrite([key], null)
      t.equal(await backend.compareAndSet(key, 'La', 'V1|x', 2_000), false)
      t.equal(await backend.takeLease(key, 'Lb', 2_000), null)
    })

    t.test('every entry expires at its time', async t => {
      const [leased, filled, revoked] = [newKey(), newKey(), newKey()]
      await backend.takeLease(leased, 'La', 50)
      await backend.takeLease(filled, 'La', 60_000)
      await backend.compareAndSet(filled, 'La', 'V1|x', 50)
      await backend.overwrite([revoked], 50)
      await new Promise(resolve => setTimeout(resolve, 90))
      for (const key of [leased, filled, revoked]) t.equal(await backend.takeLease(key, 'Lb', 2_000), null)
    })

    t.test('an overwrite returns which server answered, even when there is nothing to overwrite', async t => {
      const identity = await backend.identify()
      t.ok(identity.incarnation)
      t.equal(identity.connection, backend.connection)
      t.strictSame(await backend.overwrite([], 2_000), identity)
      t.strictSame(await backend.overwrite([newKey()], null), identity)
    })
  })
}

t.test('a Redis in trouble', { skip: hasRedisServer ? false : 'needs redis-server in PATH' }, async t => {
  async function own (t: Test, options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
    const server = await startRedis(options)
    t.teardown(() => server.kill())
    return server
  }

  t.test('when memory runs out, entries are deleted instead of overwritten, and the backend stays usable', async t => {
    const { url } = await own(t, { args: ['--maxmemory-policy', 'noeviction'] })
    const { client, backend } = await openRedis(t, url)
    await backend.takeLease('a', 'La', 60_000)
    await backend.takeLease('b', 'La', 60_000)
    await client.call('CONFIG', 'SET', 'maxmemory', '1')
    const { connection } = backend
    await t.rejects(backend.takeLease('c', 'La', 2_000), RefusedCommandError)
    await t.rejects(backend.compareAndSet('a', 'La', 'V1|x', 2_000), RefusedCommandError)
    const identity = await backend.overwrite(['a', 'b', 'c'], 60_000)
    t.ok(identity.incarnation)
    t.equal(backend.connection, connection)
    t.strictSame(await client.mget('a', 'b', 'c'), [null, null, null])
  })

  for (const keys of [['a'], ['a', 'b', 'c']]) {
    t.test(`${keys.length} read at once from a server that was demoted under the connection are not trusted`, async t => {
      const { url } = await own(t)
      const { client, backend } = await openRedis(t, url)
      for (const key of keys) await client.set(key, 'V1|x')
      t.strictSame(await Promise.all(keys.map(backend.get)), keys.map(() => 'V1|x'))
      await client.call('REPLICAOF', '127.0.0.1', '1')
      t.equal(await client.get('a'), 'V1|x', 'the server would answer')
      const looks = await Promise.allSettled(keys.map(backend.get))
      t.strictSame(looks.map(({ status }) => status), keys.map(() => 'rejected'))
      t.equal(backend.connection, null, 'and the connection is dropped')
    })
  }

  t.test('a server that was demoted is disconnected, and does not count as a master afterwards', async t => {
    const { url } = await own(t)
    const { client, backend } = await openRedis(t, url)
    const before = await backend.identify()
    await client.call('REPLICAOF', '127.0.0.1', '1')
    t.equal((await backend.identify()).incarnation, null)
    t.equal(backend.connection, null, 'at once')
    t.ok(await becomesTrue(() => backend.connection !== null, 15_000), 'a new connection is made')
    t.not(backend.connection, before.connection)
    for (const write of [
      () => backend.takeLease('a', 'La', 2_000),
      () => backend.overwrite(['a'], 2_000)
    ] as Array<() => Promise<unknown>>) {
      await t.rejects(write(), /READONLY/)
      t.equal(backend.connection, null)
      t.ok(await becomesTrue(() => backend.connection !== null, 15_000))
    }
    t.ok(await becomesTrue(() => backend.connection !== null, 15_000))
    await client.call('REPLICAOF', 'NO', 'ONE')
    const after = await backend.identify()
    t.ok(after.incarnation, 'promoted again')
    t.not(after.incarnation, before.incarnation, 'as a different one')
  })

  t.test('a restarted server counts as a different one, on a new connection', async t => {
    const first = await own(t)
    const { backend } = await openRedis(t, first.url)
    const before = await backend.identify()
    await first.kill()
    t.ok(await becomesTrue(() => backend.connection === null, 15_000), 'the lost connection is noticed')
    await t.rejects(backend.takeLease('a', 'La', 2_000))
    await t.rejects(backend.overwrite(['a'], 2_000))
    await own(t, { port: first.port })
    t.ok(await becomesTrue(() => backend.connection !== null, 15_000))
    const after = await backend.identify()
    t.not(after.connection, before.connection)
    t.not(after.incarnation, before.incarnation)
  })

  t.test('a frozen server is waited for a tenth of a second', async t => {
    const server = await own(t)
    const { backend } = await openRedis(t, server.url, { patient: false })
    process.kill(server.pid, 'SIGSTOP')
    const calls: Record<string, () => Promise<unknown>> = {
      takeLease: () => backend.takeLease('a', 'La', 2_000),
      compareAndSet: () => backend.compareAndSet('a', 'La', 'V1|x', 2_000),
      overwrite: () => backend.overwrite(['a', 'b'], 2_000),
      identify: () => backend.identify()
    }
    for (const [name, call] of Object.entries(calls)) {
      const from = performance.now()
      await t.rejects(Promise.race([call(), delay(1_000)]), name)
      const tookMs = performance.now() - from
      t.ok(tookMs > 80, `${name} took ${tookMs.toFixed(0)} ms`)
    }
    process.kill(server.pid, 'SIGCONT')
    t.ok(
      await becomesTrue(() => backend.identify().then(({ incarnation }) => incarnation !== null, () => false), 15_000),
      'and is used again'
    )
    t.ok(await becomesTrue(() => backend.takeLease(randomUUID(), 'La', 2_000).then(there => there === null, () => false), 15_000))
  })
})

