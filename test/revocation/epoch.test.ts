import t from 'tap'
import { cacheEpoch } from '../../db/schema.js'
import { createCounters } from '../../src/counters.js'
import { createProtocol } from '../../src/revocation/index.js'
import { createEpochStore } from '../../src/revocation/store.js'
import { systemClock } from '../../src/shared/clock.js'
import { createMemoryBackend } from '../../src/token-cache/memory.js'
import { onEachGround, patienceMs } from '../fixtures/app.js'
import { past, setEpoch } from './rows.js'

const pollMs = patienceMs

onEachGround(t, async (t, ground) => {
  const database = await ground.database()
  const store = createEpochStore(database)
  t.teardown(async () => {
    await store.close()
    await database.close()
  })

  t.test('another server is registered under a higher generation', async t => {
    await setEpoch(database)
    t.equal(await store.register('two', 1_000, pollMs), true)
    const { generation, incarnation, standby, confirmedAgeMs } = await store.poll(pollMs)
    t.ok(generation > 1_000)
    t.match({ incarnation, standby }, { incarnation: 'two', standby: false })
    t.ok(confirmedAgeMs !== null && confirmedAgeMs < 5_000, 'its registration confirms it')
  })

  t.test('nothing is registered if the generation has moved on', async t => {
    await setEpoch(database, { generation: 2_000 })
    t.equal(await store.register('two', 1_999, pollMs), false)
    t.match(await store.poll(pollMs), { generation: 2_000, incarnation: 'one' })
  })

  t.test('the registered server is not registered again', async t => {
    await setEpoch(database)
    t.equal(await store.register('one', 1_000, pollMs), false)
    t.equal((await store.poll(pollMs)).generation, 1_000)
  })

  t.test('of two concurrent registrations, one succeeds', async t => {
    await setEpoch(database)
    const done = await Promise.all([store.register('two', 1_000, pollMs), store.register('three', 1_000, pollMs)])
    t.strictSame(done.sort(), [false, true])
  })

  t.test('a replaced server can return once nobody has confirmed the other one for 15 s', async t => {
    await setEpoch(database)
    t.equal(await store.register('two', 1_000, pollMs), true)
    const { generation } = await store.poll(pollMs)
    t.equal(await store.register('one', generation, pollMs), false, 'at once: no')
    await database.query(db => db.update(cacheEpoch).set({ confirmedAt: past(10_000) }))
    t.equal(await store.register('one', generation, pollMs), false, 'after 10 s: no')
    await database.query(db => db.update(cacheEpoch).set({ confirmedAt: past(15_500) }))
    t.equal(await store.register('one', generation, pollMs), true, 'after 15 s: yes')
    const [row] = await database.query(db => db.select().from(cacheEpoch))
    t.strictSame(row?.retired, ['one', 'two'], 'the newest last')
  })

  t.test('the last 64 of the replaced servers are remembered', async t => {
    await setEpoch(database, { retired: Array.from({ length: 64 }, (_, i) => `old${i}`) })
    t.equal(await store.register('two', 1_000, pollMs), true)
    const [row] = await database.query(db => db.select().from(cacheEpoch))
    t.match({ length: row?.retired.length, first: row?.retired[0], last: row?.retired.at(-1) }, { length: 64, first: 'old1', last: 'one' })
  })

  t.test('only the registered server is confirmed', async t => {
    await setEpoch(database, { confirmedAgeMs: 60_000 })
    await store.confirm('two', pollMs)
    t.ok(((await store.poll(pollMs)).confirmedAgeMs ?? 0) > 50_000)
    await store.confirm('one', pollMs)
    t.ok(((await store.poll(pollMs)).confirmedAgeMs ?? 60_000) < 10_000)
  })

  t.test('a bump sets the generation to the clock, and never goes back', async t => {
    const before = Date.now()
    await setEpoch(database, { generation: 5 })
    const { generation, incarnation } = await store.bump()
    t.ok(generation >= before - 1_000 && generation <= Date.now() + 1_000, 'milliseconds since 1970')
    t.equal(incarnation, 'one')
    const ahead = Date.now() + 1e9
    await setEpoch(database, { generation: ahead })
    t.equal((await store.bump()).generation, ahead + 1, 'past a clock that is behind')
    const bumps = await Promise.all([store.bump(), store.bump(), store.bump()])
    t.equal(new Set(bumps.map(({ generation }) => generation)).size, 3, 'no generation is used twice')
  })

  t.test('a registered server is forgotten once nobody has confirmed it for three minutes', async t => {
    await setEpoch(database, { confirmedAgeMs: 170_000 })
    t.equal(await store.forget(1_000, pollMs), false)
    await setEpoch(database, { confirmedAgeMs: 181_000 })
    t.equal(await store.forget(999, pollMs), false, 'not if the generation has moved on')
    t.equal(await store.forget(1_000, pollMs), true)
    const { generation, incarnation, retired, confirmedAgeMs } = await store.poll(pollMs)
    t.ok(generation > 1_000, 'instances that still trust it find out')
    t.strictSame({ incarnation, retired, confirmedAgeMs }, { incarnation: null, retired: 1, confirmedAgeMs: null })
    t.equal(await store.register('one', generation, pollMs), true, 'and may come back at once')
  })

  t.test('a server confirmed in the future, because the clock went back, does not block others', async t => {
    await setEpoch(database, { confirmedAgeMs: -300_000, retired: ['two'] })
    t.equal(await store.register('two', 1_000, pollMs), true)
  })

  t.test('instances with different key prefixes are two caches, of which one is trusted', async t => {
    await setEpoch(database)
    const backend = createMemoryBackend()
    const start = (keyPrefix: string) => createProtocol({
      database, backend, keyPrefix, clock: systemClock, counters: createCounters(), log: {
        info () {},
        warn () {},
        error () {}
      }, cacheTtlSeconds: 60, wrapSettle: real => real, spans: null
    })
    const [one, other] = [await start('lk:'), await start('new:')]
    t.teardown(() => Promise.all([one.stop(), other.stop()]))
    for (let i = 0; i < 3; i++) for (const { epoch } of [one, other]) await epoch.poll()
    t.strictSame(
      [one.epoch.state(), other.epoch.state()],
      ['not-registered', 'trusted'],
      'the newer one takes over, and the older one waits until nobody confirms it'
    )
  })

  t.test('a database that is declared a copy leaves the cache of the original at once, and has its own', async t => {
    await setEpoch(database)
    const { epoch, stop } = await createProtocol({
      database, backend: createMemoryBackend(), keyPrefix: 'lk:', clock: systemClock, counters: createCounters(), log: {
        info () {},
        warn () {},
        error () {}
      }, cacheTtlSeconds: 60, wrapSettle: real => real, spans: null
    })
    t.teardown(stop)
    const pollUntilTrusted = async () => { for (let i = 0; i < 4 && epoch.trust() === null; i++) await epoch.poll() }
    await pollUntilTrusted()
    const before = epoch.trust()
    await database.prepared("update secrets set value = convert_to(gen_random_uuid()::text, 'UTF8') where name = 'database'", [])
    await epoch.poll()
    t.equal(epoch.trust(), null)
    await pollUntilTrusted()
    t.ok((epoch.trust()?.generation ?? 0) > (before?.generation ?? Number.POSITIVE_INFINITY))
  })
})
