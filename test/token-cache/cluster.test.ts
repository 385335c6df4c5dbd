import slotOf from 'cluster-key-slot'
import t from 'tap'
import { MisroutedError, RefusedCommandError } from '../../src/token-cache/backend.js'
import { createClusterBackend } from '../../src/token-cache/cluster.js'
import type { RedisBackend } from '../../src/token-cache/redis.js'
import { readSlotMap, type SlotRow } from '../../src/token-cache/slots.js'

const half = 8_192
const row = (from: number, to: number, port: number): SlotRow => [from, to, ['', port, `node${port}`]]
const halves = [row(0, half - 1, 1), row(half, 16_383, 2)]

/** Servers 1, 2 and 3, whose connections, replies and views the test can change. */
function createServers () {
  const servers = [1, 2, 3].map(port => ({
    port, connection: 1 as number
      | null, opened: 0, closed: 0, incarnation: `run${port}` as string | null, view: halves, asked: 0, identified: 0,
    read: [] as string[], written: [] as string[], failure: null as Error | null, meanwhile: () => {}, changed: () => {}
  }))
  const at = (port: number) => servers[port - 1] as (typeof servers)[number]
  const backend = createClusterBackend({
    seeds: [{ host: 'a', port: 1 }],
    open ({ port }, onChange): RedisBackend {
      const server = at(port)
      server.opened++
      server.changed = onChange
      const answer = async <T>(value: () => T): Promise<T> => {
        if (server.failure !== null) throw server.failure
        return value()
      }
      const who = () => ({ connection: server.connection ?? 0, incarnation: server.incarnation })
      return {
        get connection () { return server.connection },
        get: key => answer(() => { server.read.push(key); return null }),
        takeLease: key => answer(() => { server.written.push(key); return null }),
        compareAndSet: key => answer(() => { server.written.push(key); return true }),
        overwrite: keys => answer(() => { server.meanwhile(); server.written.push(...keys); return who() }),
        identify: () => answer(() => { server.meanwhile(); server.identified++; return who() }),
        slots: () => answer(() => { server.asked++; return server.view }),
        close: async () => { server.closed++ }
      }
    }
  })
  return { backend, at, all: servers }
}

/** A key in the half that belongs to server 1 or to server 2. */
const keyAt = (port: number) => ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find(key => (slotOf(key) < half ? 1 : 2) === port) as string
const connected = async () => {
  const world = createServers()
  return { ...world, first: await world.backend.identify() }
}

t.test('there is no connection before the slot map is known, and none while any shard has none', async t => {
  const { backend, at } = createServers()
  t.equal(backend.connection, null)
  await t.rejects(backend.takeLease('a', 'La', 1))
  await backend.identify()
  t.type(backend.connection, 'number')
  at(2).connection = null
  t.equal(backend.connection, null)
  for (const call of [
    () => backend.takeLease(keyAt(1), 'La', 1),
    () => backend.overwrite([keyAt(1)], 1),
    () => backend.identify()
  ] as Array<() => Promise<unknown>>) await t.rejects(call(), /not connected/)
})

t.test('each key goes to the server that has its slot', async t => {
  const { backend, at } = await connected()
  for (const port of [1, 2]) {
    await backend.takeLease(keyAt(port), 'La', 1)
    await backend.compareAndSet(keyAt(port), 'La', 'V', 1)
  }
  await backend.overwrite([keyAt(1), keyAt(2)], 1)
  for (const port of [1, 2]) t.strictSame(at(port).written, Array(3).fill(keyAt(port)))
})

t.test('the connection changes as soon as the connection of any shard does, however short the break', async t => {
  const { backend, at, first } = await connected()
  at(2).connection = 2
  t.not(backend.connection, first.connection)
  const second = backend.connection
  t.equal(backend.connection, second, 'and then stays the same')
  t.equal((await backend.identify()).incarnation, first.incarnation, 'of the same cluster')
})

t.test('the incarnation changes with every master, and with every slot that moves between the same masters', async t => {
  const { backend, at, all, first } = await connected()
  const seen = [first.incarnation]
  at(2).incarnation = 'run4'
  seen.push((await backend.identify()).incarnation)
  for (const server of all) server.view = [row(0, half, 1), row(half + 1, 16_383, 2)]
  const { connection } = backend
  seen.push((await backend.identify()).incarnation)
  t.not(backend.connection, connection, 'a new map means a new connection')
  for (const server of all) server.view = [row(0, half - 1, 2), row(half, 16_383, 1)]
  seen.push((await backend.identify()).incarnation)
  t.equal(new Set(seen).size, 4)
  for (const server of all) server.view = [row(0, 99, 2), row(half, 16_383, 1), row(100, half - 1, 2)]
  t.equal((await backend.identify()).incarnation, seen[3], 'but not with a different notation of the same map')
})

t.test('one shard that is not a master is enough to trust none', async t => {
  const { backend, at } = await connected()
  at(1).incarnation = null
  t.equal((await backend.identify()).incarnation, null)
  t.equal((await backend.overwrite([keyAt(2)], 1)).incarnation, null, 'as last confirmed')
  t.equal((await backend.overwrite([keyAt(1)], 1)).incarnation, null)
})

t.test('an overwrite asks the shards it writes to, and the others only if they are not confirmed on this connection', async t => {
  const { backend, at, first } = await connected()
  const before = at(2).identified
  t.strictSame(await backend.overwrite([keyAt(1)], 1), first)
  t.equal(at(2).identified, before)
  at(1).incarnation = 'run5'
  t.not((await backend.overwrite([keyAt(1)], 1)).incarnation, first.incarnation, 'the reply of the shard written to counts at once')
  at(1).connection = 2
  await backend.overwrite([keyAt(1)], 1)
  t.equal(at(2).identified, before + 1)
  await backend.overwrite([], 1)
  t.equal(at(2).identified, before + 2, 'with nothing to write, all of them')
})

t.test('an operation that spans a change is rejected', async t => {
  for (const work of ['overwrite', 'identify'] as const) {
    const { backend, at } = await connected()
    at(2).meanwhile = () => { at(1).connection = 7 }
    await t.rejects(work === 'identify' ? backend.identify() : backend.overwrite([keyAt(1), keyAt(2)], 1), /replaced/, work)
  }
  const { backend, at } = await connected()
  at(2).failure = new Error('no answer')
  await t.rejects(backend.overwrite([keyAt(1), keyAt(2)], 1), /no answer/, 'one shard of two is not enough')
  t.strictSame(await backend.overwrite([keyAt(1)], 1).then(({ incarnation }) => typeof incarnation), 'string')
})

t.test('MOVED is not followed, but makes the map be fetched again; a refused command does not', async t => {
  const { backend, at, all } = await connected()
  const asked = () => all.reduce((sum, server) => sum + server.asked, 0)
  const before = asked()
  at(1).failure = new RefusedCommandError('ASK')
  await t.rejects(backend.takeLease(keyAt(1), 'La', 1), RefusedCommandError)
  t.equal(asked(), before)
  at(1).failure = new MisroutedError('moved')
  await t.rejects(backend.takeLease(keyAt(1), 'La', 1), MisroutedError)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(asked(), before + 1)
  t.strictSame([at(2).written, at(3).written], [[], []])
})

t.test('a node that is not in the map is disconnected, and the seeds are asked when all other nodes are gone', async t => {
  const { backend, at, all } = await connected()
  for (const server of all) server.view = [row(0, half - 1, 3), row(half, 16_383, 2)]
  await backend.identify()
  t.same([at(1).closed, at(3).opened], [1, 1])
  at(2).connection = null
  at(3).connection = null
  await backend.identify().catch(() => {})
  t.equal(at(1).opened, 2)
  await backend.close()
})

t.test('a slot map with a gap is rejected', async t => {
  t.throws(() => readSlotMap([row(0, 100, 1), row(102, 16_383, 2)], { host: 'a', port: 1 }), /not every slot/)
  t.throws(() => readSlotMap([], { host: 'a', port: 1 }), /not every slot/)
  t.match(
    readSlotMap([[0, 16_383, [null, 6_379, 'x']]], { host: 'asked', port: 1 }).masters,
    [{ address: { host: 'asked', port: 6_379 }, slots: '0-16383' }]
  )
  const { backend, all, first } = await connected()
  for (const server of all) server.view = [row(0, 100, 1)]
  t.strictSame(await backend.identify(), first, 'the known map stays in use')
  const { backend: blind, all: torn } = createServers()
  for (const server of torn) server.view = [row(0, 100, 1)]
  await t.rejects(blind.identify(), /not every slot/)
})
