import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { cacheEpoch, cacheSettlements } from '../../db/schema.js'
import { type Database, within } from '../../src/database/database.js'
import type { RevokingTx } from '../../src/database/transaction.js'
import { createEpochStore, type EpochStore } from '../../src/revocation/store.js'
import { onEachGround, patienceMs, serverGround } from '../fixtures/app.js'
import { held } from '../fixtures/held.js'
import { newHash, past, setEpoch } from './rows.js'

const pollMs = patienceMs

async function addSettlement (
  database: Database,
  store: EpochStore,
  { hashes = [newHash()], ageMs = 0, help = false } = {}
): Promise<string> {
  const id = randomUUID()
  await database.transaction(async tx => {
    await store.insertSettlement(tx as RevokingTx, id, hashes)
    if (ageMs !== 0) await within(tx).update(cacheSettlements).set({ createdAt: past(ageMs) }).where(sql`id = ${id}`)
  })
  if (help) await store.askForHelp([id])
  return id
}

const waitingOf = async (store: EpochStore, ...ids: string[]) => [...(await store.waiting(ids)).waiting].sort()

onEachGround(t, async (t, ground) => {
  const database = await ground.database()
  const store = createEpochStore(database)
  t.teardown(async () => {
    await store.close()
    await database.close()
  })

  t.test('a settlement is committed with the revoking transaction, or not at all', async t => {
    await setEpoch(database)
    const id = randomUUID()
    await t.rejects(database.transaction(async tx => {
      await store.insertSettlement(tx as RevokingTx, id, [newHash()])
      throw new Error('no')
    }))
    t.strictSame(await waitingOf(store, id), [])
    t.equal((await store.poll(pollMs)).oldestSettlementMs, null)
    const kept = await addSettlement(database, store, { hashes: [] })
    t.strictSame(await waitingOf(store, id, kept), [kept], 'a settlement without hashes counts too')
  })

  t.test('the poll reports the age of the oldest, and whether help is wanted', async t => {
    await setEpoch(database)
    await addSettlement(database, store)
    const old = await addSettlement(database, store, { ageMs: 4_000 })
    const { oldestSettlementMs, helpWanted } = await store.poll(pollMs)
    t.ok((oldestSettlementMs ?? 0) > 3_500 && (oldestSettlementMs ?? 0) < 60_000)
    t.equal(helpWanted, false)
    await store.askForHelp([old])
    t.equal((await store.poll(pollMs)).helpWanted, true)
  })

  t.test('settlements are finished by the instance that overwrote in the registered server', async t => {
    await setEpoch(database)
    const [mine, other] = [await addSettlement(database, store), await addSettlement(database, store)]
    t.match(await store.finish([mine], 'two'), { generation: 1_000, incarnation: 'one' })
    t.match(await store.finish([mine], null), { incarnation: 'one' })
    t.strictSame(await waitingOf(store, mine, other), [mine, other].sort(), 'not through another server, nor through none')
    t.match(await store.finish([mine], 'one'), { generation: 1_000, incarnation: 'one' })
    t.strictSame(await waitingOf(store, mine, other), [other])
    t.match(await store.finish([mine], 'one'), { incarnation: 'one' }, 'the epoch decides about one that another instance has finished')
  })

  t.test('settlements are finished at once when no server is registered', async t => {
    await setEpoch(database)
    await database.query(db => db.update(cacheEpoch).set({ incarnation: null }))
    const id = await addSettlement(database, store)
    t.match(await store.finish([id], null), { incarnation: null })
    t.strictSame(await waitingOf(store, id), [])
  })

  t.test('a bump settles everything committed before it', async t => {
    await setEpoch(database)
    const [mine, other] = [await addSettlement(database, store), await addSettlement(database, store)]
    await store.bump()
    t.strictSame(await waitingOf(store, mine, other), [])
  })

  t.test('help is given to settlements that ask for it and to overdue ones, with all their hashes', async t => {
    await setEpoch(database)
    const hashes = [newHash(), newHash(), newHash()]
    const asking = await addSettlement(database, store, { hashes: hashes.slice(0, 2), help: true })
    const overdue = await addSettlement(database, store, { hashes: hashes.slice(2), ageMs: 3_500 })
    const empty = await addSettlement(database, store, { hashes: [], ageMs: 9_000 })
    const young = await addSettlement(database, store)
    let seen: string[] = []
    const assisted = await store.assist(3_000, async given => {
      seen = given.map(hash => hash.hex())
      return 'one'
    })
    t.strictSame(assisted, { taken: 3, more: false })
    t.strictSame(seen.sort(), hashes.map(hash => hash.hex()).sort())
    t.strictSame(await waitingOf(store, young, asking, overdue, empty), [young])
  })

  t.test('a settlement dated in the future counts as overdue: the clock of the database went back', async t => {
    await setEpoch(database)
    const id = await addSettlement(database, store, { ageMs: -300_000 })
    t.equal((await store.poll(pollMs)).oldestSettlementMs, Number.POSITIVE_INFINITY)
    t.strictSame(await store.assist(3_000, async () => 'one'), { taken: 1, more: false })
    t.strictSame(await waitingOf(store, id), [])
  })

  t.test('help is given in batches of a thousand tokens', async t => {
    await setEpoch(database)
    const hashes = Array.from({ length: 400 }, newHash)
    const ids = [
      await addSettlement(database, store, { hashes, help: true }),
      await addSettlement(database, store, { hashes, help: true }),
      await addSettlement(database, store, { hashes, help: true })
    ]
    const sizes: number[] = []
    const help = () => store.assist(3_000, async given => { sizes.push(given.length); return 'one' })
    t.strictSame(await help(), { taken: 2, more: true })
    t.strictSame(await help(), { taken: 1, more: false })
    t.strictSame(sizes, [800, 400])
    t.strictSame(await waitingOf(store, ...ids), [])
  })

  t.test('a settlement of more tokens than may be named is settled by a bump', async t => {
    await setEpoch(database)
    const id = await addSettlement(database, store, { hashes: Array.from({ length: 40_000 }, newHash), ageMs: 4_000 })
    t.strictSame(await store.assist(3_000, async () => { throw new Error('none of them is overwritten') }), { taken: 1, more: true })
    t.ok((await store.poll(pollMs)).generation > 1_000)
    t.strictSame(await waitingOf(store, id), [])
  })

  t.test('help through another server, through none, or with an error finishes nothing', async t => {
    await setEpoch(database)
    const id = await addSettlement(database, store, { help: true })
    await store.assist(3_000, async () => 'two')
    t.equal((await store.assist(3_000, async () => null)).taken, 0)
    await t.rejects(store.assist(3_000, async () => { throw new Error('no') }))
    t.strictSame(await waitingOf(store, id), [id])
    t.equal((await store.assist(3_000, async () => 'one')).taken, 1, 'and the next instance may try')
  })
})

t.test('an instance leaves alone what another one holds', async t => {
  const ground = await serverGround(t, { redisUrl: null })
  if (ground === null) return
  const [one, other] = [await ground.database(), await ground.database()]
  const [first, second] = [createEpochStore(one), createEpochStore(other)]
  t.teardown(async () => {
    await Promise.all([first.close(), second.close()])
    await Promise.all([one.close(), other.close()])
  })

  t.test('two instances that help at once never take the same settlement', async t => {
    await setEpoch(one)
    const [a, b] = [await addSettlement(one, first, { help: true }), newHash()]
    const helping = held((entered, released) => first.assist(3_000, async () => { entered(); await released; return 'one' }))
    await helping.entered
    const late = await addSettlement(one, first, { hashes: [b], help: true })
    let seen: string[] = []
    t.equal((await second.assist(3_000, async hashes => { seen = hashes.map(hash => hash.hex()); return 'one' })).taken, 1)
    t.strictSame(seen, [b.hex()], 'only the one that nobody holds')
    t.match(await second.bump(), { incarnation: 'one' }, 'a bump does not wait')
    t.strictSame(await waitingOf(second, a, late), [a], 'and leaves the row to its holder')
    await helping.release()
    t.strictSame(await waitingOf(second, a, late), [])
  })
})
