import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import t, { type Test } from 'tap'
import { cacheEpoch, cacheSettlements, sessions, tokens, users } from '../../db/schema.js'
import { loadConfig } from '../../src/config/config.js'
import { type Database, within } from '../../src/database/database.js'
import { createRedis } from '../../src/redis/client.js'
import { createRetentionStore } from '../../src/retention/store.js'
import type { RevokingTx } from '../../src/revocation/revocation.js'
import { createEpochStore, type EpochStore } from '../../src/revocation/store.js'
import { type CacheBackend, RefusedCommandError } from '../../src/token-cache/backend.js'
import { createMemoryBackend } from '../../src/token-cache/memory.js'
import { createRedisBackend } from '../../src/token-cache/redis.js'
import { createTokenStore } from '../../src/tokens/store.js'
import { TokenHash } from '../../src/tokens/token.js'
import { becomesTrue, onEachGround, patienceMs, serverGround, skipMissing } from '../fixtures/app.js'
import { findRedis, hasRedisServer, type RedisServer, startRedis } from '../fixtures/servers.js'

const pollMs = patienceMs
const newHash = () => new TokenHash(randomBytes(32).toString('hex'))
const soon = () => new Date(Date.now() + 60_000)
const past = (ms: number) => new Date(Date.now() - ms)

/** What was registered, and before that; the age of its confirmation. */
async function setEpoch (database: Database, { generation = 1_000, incarnation = 'one', confirmedAgeMs = 0, retired = [] as string[] } = {}): Promise<void> {
  await database.query(db => db.update(cacheEpoch).set({ generation, incarnation, confirmedAt: past(confirmedAgeMs), retired }))
  await database.query(db => db.delete(cacheSettlements))
}

async function addSettlement (database: Database, store: EpochStore, { hashes = [newHash()], ageMs = 0, help = false } = {}): Promise<string> {
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
  const tokenStore = createTokenStore(database)
  const deadStore = createRetentionStore(database)
  t.teardown(async () => {
    await store.close()
    await database.close()
  })

  t.test('the epoch', async t => {
    t.test('another server is registered under a higher generation', async t => {
      await setEpoch(database)
      t.equal(await store.register('two', 1_000, pollMs), true)
      const { generation, incarnation, standby, confirmedAgeMs } = await store.poll(pollMs)
      t.ok(generation > 1_000)
      t.match({ incarnation, standby }, { incarnation: 'two', standby: false })
      t.ok(confirmedAgeMs !== null && confirmedAgeMs < 5_000, 'its registration confirms it')
    })

    t.test('nothing is registered over a generation that has moved on', async t => {
      await setEpoch(database, { generation: 2_000 })
      t.equal(await store.register('two', 1_999, pollMs), false)
      t.match(await store.poll(pollMs), { generation: 2_000, incarnation: 'one' })
    })

    t.test('the registered server is not registered again', async t => {
      await setEpoch(database)
      t.equal(await store.register('one', 1_000, pollMs), false)
      t.equal((await store.poll(pollMs)).generation, 1_000)
    })

    t.test('of two that register at once, one does', async t => {
      await setEpoch(database)
      const done = await Promise.all([store.register('two', 1_000, pollMs), store.register('three', 1_000, pollMs)])
      t.strictSame(done.sort(), [false, true])
    })

    t.test('a server that was replaced comes back once nobody has confirmed the other for 15 s', async t => {
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

    t.test('of the servers that were replaced the last 64 are remembered', async t => {
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

    t.test('a bump leads to the clock, and never back', async t => {
      const before = Date.now()
      await setEpoch(database, { generation: 5 })
      const { generation, incarnation } = await store.bump([])
      t.ok(generation >= before - 1_000 && generation <= Date.now() + 1_000, 'milliseconds since 1970')
      t.equal(incarnation, 'one')
      const ahead = Date.now() + 1e9
      await setEpoch(database, { generation: ahead })
      t.equal((await store.bump([])).generation, ahead + 1, 'past a clock that is behind')
      const bumps = await Promise.all([store.bump([]), store.bump([]), store.bump([])])
      t.equal(new Set(bumps.map(({ generation }) => generation)).size, 3, 'no generation is used twice')
    })
  })

  t.test('settlements', async t => {
    t.test('one comes with the transaction that revokes, or not at all', async t => {
      await setEpoch(database)
      const id = randomUUID()
      await t.rejects(database.transaction(async tx => {
        await store.insertSettlement(tx as RevokingTx, id, [newHash()])
        throw new Error('no')
      }))
      t.strictSame(await waitingOf(store, id), [])
      t.equal((await store.poll(pollMs)).oldestSettlementMs, null)
      const kept = await addSettlement(database, store, { hashes: [] })
      t.strictSame(await waitingOf(store, id, kept), [kept], 'one that names nothing is one, too')
    })

    t.test('the poll tells the age of the oldest, and whether help is wanted', async t => {
      await setEpoch(database)
      await addSettlement(database, store)
      const old = await addSettlement(database, store, { ageMs: 4_000 })
      const { oldestSettlementMs, helpWanted } = await store.poll(pollMs)
      t.ok((oldestSettlementMs ?? 0) > 3_500 && (oldestSettlementMs ?? 0) < 60_000)
      t.equal(helpWanted, false)
      await store.askForHelp([old])
      t.equal((await store.poll(pollMs)).helpWanted, true)
    })

    t.test('they are finished by whoever overwrote in the registered server', async t => {
      await setEpoch(database)
      const [mine, other] = [await addSettlement(database, store), await addSettlement(database, store)]
      t.match(await store.finish([mine], 'two'), { generation: 1_000, incarnation: 'one' })
      t.match(await store.finish([mine], null), { incarnation: 'one' })
      t.strictSame(await waitingOf(store, mine, other), [mine, other].sort(), 'not through another server, nor through none')
      t.match(await store.finish([mine], 'one'), { generation: 1_000, incarnation: 'one' })
      t.strictSame(await waitingOf(store, mine, other), [other])
      t.match(await store.finish([mine], 'one'), { incarnation: 'one' }, 'one that a peer has finished is judged by the epoch')
    })

    t.test('without any registered server they are finished at once', async t => {
      await setEpoch(database)
      await database.query(db => db.update(cacheEpoch).set({ incarnation: null }))
      const id = await addSettlement(database, store)
      t.match(await store.finish([id], null), { incarnation: null })
      t.strictSame(await waitingOf(store, id), [])
    })

    t.test('a bump finishes those it was sent for', async t => {
      await setEpoch(database)
      const [mine, other] = [await addSettlement(database, store), await addSettlement(database, store)]
      await store.bump([mine])
      t.strictSame(await waitingOf(store, mine, other), [other])
    })

    t.test('help is given to those that ask for it and to the overdue, with all their hashes', async t => {
      await setEpoch(database)
      const hashes = [newHash(), newHash(), newHash()]
      const young = await addSettlement(database, store, { ageMs: -60_000 })
      const asking = await addSettlement(database, store, { hashes: hashes.slice(0, 2), help: true })
      const overdue = await addSettlement(database, store, { hashes: hashes.slice(2), ageMs: 3_500 })
      const empty = await addSettlement(database, store, { hashes: [], ageMs: 9_000 })
      let seen: string[] = []
      const assisted = await store.assist(3_000, async given => {
        seen = given.map(hash => hash.hex())
        return 'one'
      })
      t.equal(assisted, 3)
      t.strictSame(seen.sort(), hashes.map(hash => hash.hex()).sort())
      t.strictSame(await waitingOf(store, young, asking, overdue, empty), [young])
    })

    t.test('help through another server, through none, or that fails, finishes nothing', async t => {
      await setEpoch(database)
      const id = await addSettlement(database, store, { help: true })
      await store.assist(3_000, async () => 'two')
      t.equal(await store.assist(3_000, async () => null), 0)
      await t.rejects(store.assist(3_000, async () => { throw new Error('no') }))
      t.strictSame(await waitingOf(store, id), [id])
      t.equal(await store.assist(3_000, async () => 'one'), 1, 'and the next may try')
    })
  })

  t.test('tokens', async t => {
    const at = new Date()
    async function addUser (disabled = false): Promise<string> {
      const id = randomUUID()
      await database.query(db => db.insert(users).values({ id, email: `${id}@example.com`, passwordHash: 'x', createdAt: at, disabledAt: disabled ? at : null, name: 'Ada' }))
      return id
    }
    async function addSession (userId: string, { expiresAt = soon(), endedAt = null as Date | null } = {}): Promise<string> {
      const id = randomUUID()
      await database.query(db => db.insert(sessions).values({ id, userId, createdAt: at, lastUsedAt: at, expiresAt, endedAt }))
      return id
    }
    async function addToken (userId: string, sessionId: string, { expiresAt = soon(), revokedAt = null as Date | null } = {}): Promise<TokenHash> {
      const hash = newHash()
      const id = await database.transaction(tx => tokenStore.insert(tx, { hash, kind: 'access', userId, sessionId, abilities: ['*'], createdAt: at, expiresAt }))
      if (revokedAt !== null) await database.query(db => db.update(tokens).set({ revokedAt }).where(sql`id = ${id}`))
      return hash
    }
    const find = async (...hashes: TokenHash[]) => {
      const found = await tokenStore.find(hashes.map(hash => hash.hex()), Date.now())
      return hashes.map(hash => found.get(hash.hex())?.state ?? 'unknown')
    }

    t.test('one is live, or not, whoever it was', async t => {
      const [user, disabled] = [await addUser(), await addUser(true)]
      const [session, ended] = [await addSession(user), await addSession(user, { expiresAt: past(1_000) })]
      const hashes = [
        await addToken(user, session), await addToken(user, session, { revokedAt: new Date(Date.now() + 60_000) }), await addToken(user, session, { expiresAt: past(10) }),
        await addToken(user, ended), await addToken(disabled, await addSession(disabled)), newHash()
      ]
      t.strictSame(await find(...hashes), ['live', 'revoked', 'over', 'over', 'disabled', 'unknown'], 'revoked at whatever time is revoked')
    })

    t.test('a live one says whose it is, and ends with its session', async t => {
      const user = await addUser()
      const expiresAt = new Date(Date.now() + 30_000)
      const session = await addSession(user, { expiresAt })
      const hash = await addToken(user, session)
      const found = (await tokenStore.find([hash.hex()], Date.now())).get(hash.hex())
      t.match(found, { state: 'live', principal: { expiresAtMs: expiresAt.getTime(), token: { kind: 'access', abilities: ['*'] }, session: { id: session }, user: { id: user, name: 'Ada', role: 'user', emailVerifiedAt: null } } })
    })

    t.test('one that was told before is the same principal until a word of it, or the time, has changed', async t => {
      const withIdle = createTokenStore(database, { idleSeconds: 3_600 })
      const user = await addUser()
      const expiresAt = new Date(Date.now() + 7_200_000)
      const session = await addSession(user, { expiresAt })
      const hash = await addToken(user, session, { expiresAt })
      const told = async (store: typeof tokenStore, atMs = Date.now()) => (await store.find([hash.hex()], atMs)).get(hash.hex())
      const live = async (store = tokenStore) => {
        const found = await told(store)
        return found?.state === 'live' ? found.principal : null
      }
      t.ok(await live() && await live(withIdle), 'of one that comes once nothing is remembered')
      const [first, idle] = [await live(), await live(withIdle)]
      t.equal(await live(), first)
      t.ok(Object.isFrozen(first) && Object.isFrozen(first?.user), 'so nobody can change it')
      t.equal((await told(tokenStore, expiresAt.getTime() + 1))?.state, 'over', 'by then')
      t.equal(await live(), first, 'which says nothing of now')

      const lastUsedAt = past(5_000)
      await database.query(db => db.update(sessions).set({ lastUsedAt }).where(sql`id = ${session}`))
      t.equal(await live(), first, 'the last use counts where sessions can be idle')
      t.not(await live(withIdle), idle)
      t.equal((await told(withIdle, lastUsedAt.getTime() + 3_599_000))?.state, 'live')
      t.equal((await told(withIdle, lastUsedAt.getTime() + 3_601_000))?.state, 'over')

      await database.query(db => db.update(users).set({ name: 'Grace' }).where(sql`id = ${user}`))
      t.match([(await live())?.user?.name, (await live(withIdle))?.user?.name], ['Grace', 'Grace'])
      await database.query(db => db.update(users).set({ disabledAt: new Date() }).where(sql`id = ${user}`))
      t.strictSame(await find(hash), ['disabled'])
      await database.query(db => db.update(users).set({ disabledAt: null }).where(sql`id = ${user}`))
      await database.query(db => db.update(tokens).set({ revokedAt: new Date() }).where(sql`user_id = ${user}`))
      t.strictSame(await find(hash), ['revoked'])
    })

    t.test('a hundred are found in one read', async t => {
      const user = await addUser()
      const session = await addSession(user)
      const hashes: TokenHash[] = []
      for (let i = 0; i < 100; i++) hashes.push(i % 2 === 0 ? await addToken(user, session) : newHash())
      t.strictSame(await find(...hashes), hashes.map((_, i) => i % 2 === 0 ? 'live' : 'unknown'))
    })

    t.test('what a session held is revoked and named, again and again', async t => {
      const user = await addUser()
      const [one, other] = [await addSession(user), await addSession(user)]
      const [first, kept] = [await addToken(user, one), await addToken(user, other)]
      const long = await addToken(user, one, { revokedAt: past(100_000) })
      const end = (ids: string[]) => database.transaction(async tx => {
        await tokenStore.revokeOfSessions(tx as RevokingTx, ids)
        return (await tokenStore.revokedOfUser(tx as RevokingTx, user, 90)).map(hash => hash.hex())
      })
      t.strictSame(await end([one]), [first.hex()], 'not those revoked so long ago that no cache holds them')
      t.strictSame(await end([one]), [first.hex()], 'although there is nothing left to revoke')
      t.strictSame(await end([]), [first.hex()])
      t.strictSame(await find(first, kept, long), ['revoked', 'live', 'revoked'])
    })

    t.test('a revocation that is rolled back has not been', async t => {
      const user = await addUser()
      const session = await addSession(user)
      const hash = await addToken(user, session)
      await t.rejects(database.transaction(async tx => {
        await tokenStore.revokeOfSessions(tx as RevokingTx, [session])
        throw new Error('no')
      }))
      t.strictSame(await find(hash), ['live'])
    })

    t.test('the dead are deleted in batches, sessions after their tokens', async t => {
      const user = await addUser()
      const [over, alive] = [await addSession(user, { endedAt: past(200_000) }), await addSession(user)]
      for (let i = 0; i < 5; i++) await addToken(user, over, i < 3 ? { expiresAt: past(200_000) } : { revokedAt: past(200_000) })
      const [live, fresh] = [await addToken(user, alive), await addToken(user, alive, { revokedAt: past(10_000) })]
      const before = past(100_000)
      t.strictSame(await deadStore.count(before), { tokens: 6, sessions: 1 }, 'one token is of the test before')
      t.strictSame(await deadStore.delete(before, 2).then(deleted => deleted?.tokens), 4, 'two that expired and two that were revoked')
      let batches = 0
      for (let deleted = await deadStore.delete(before, 2); deleted !== null && deleted.tokens + deleted.sessions > 0; deleted = await deadStore.delete(before, 2)) batches++
      t.ok(batches >= 1)
      t.strictSame(await deadStore.count(before), { tokens: 0, sessions: 0 })
      t.strictSame(await find(live, fresh), ['live', 'revoked'])
      const left = await database.query(db => db.select({ id: sessions.id }).from(sessions).where(sql`user_id = ${user}`))
      t.strictSame(left, [{ id: alive }])
    })
  })
})

t.test('what one instance holds another leaves alone', async t => {
  const ground = await serverGround(t, { redisUrl: null })
  if (ground === null) return
  const [one, other] = [await ground.database(), await ground.database()]
  const [first, second] = [createEpochStore(one), createEpochStore(other)]
  t.teardown(async () => {
    await Promise.all([first.close(), second.close()])
    await Promise.all([one.close(), other.close()])
  })

  /** Keeps `work`'s transaction open until released. */
  function held (work: (entered: () => void, released: Promise<void>) => Promise<unknown>) {
    let release = () => {}
    const released = new Promise<void>(resolve => { release = resolve })
    let done: Promise<unknown> = Promise.resolve()
    const entered = new Promise<void>((resolve, reject) => { done = work(resolve, released); done.catch(reject) })
    return { entered, release: async () => { release(); await done } }
  }

  t.test('two that help at once never take the same settlement', async t => {
    await setEpoch(one)
    const [a, b] = [await addSettlement(one, first, { help: true }), newHash()]
    const helping = held((entered, released) => first.assist(3_000, async () => { entered(); await released; return 'one' }))
    await helping.entered
    const late = await addSettlement(one, first, { hashes: [b], help: true })
    let seen: string[] = []
    t.equal(await second.assist(3_000, async hashes => { seen = hashes.map(hash => hash.hex()); return 'one' }), 1)
    t.strictSame(seen, [b.hex()], 'only the one that nobody holds')
    t.match(await second.bump([a]), { incarnation: 'one' }, 'a bump waits for nobody')
    t.strictSame(await waitingOf(second, a, late), [a], 'and leaves the row to its holder')
    await helping.release()
    t.strictSame(await waitingOf(second, a, late), [])
  })

  t.test('a prune that another instance is at deletes nothing', async t => {
    const deadStore = createRetentionStore(other)
    const pruning = held((entered, released) => one.transaction(async tx => {
      await within(tx).execute(sql`select pg_advisory_xact_lock(7402319)`)
      entered()
      await released
    }))
    await pruning.entered
    t.equal(await deadStore.delete(new Date(), 10), null)
    await pruning.release()
    t.strictSame(await deadStore.delete(new Date(0), 10), { tokens: 0, sessions: 0 })
  })
})

/** Patient, unless told otherwise: a test on a busy machine isn't about time-outs. */
async function openRedis (t: Test, url: string, { patient = true } = {}) {
  const config = loadConfig({ REDIS_URL: url }).redis
  if (config?.mode !== 'server') throw new Error('one server is meant')
  const { client, close } = createRedis(config, config.address, { db: config.db })
  client.on('error', () => {})
  if (patient) client.options.commandTimeout = patienceMs
  const link = createRedisBackend(client)
  t.teardown(close)
  if (!await becomesTrue(() => link.connection !== null, patienceMs)) t.fail('no connection to Redis')
  return { client, link }
}

const links: Record<string, (t: Test) => Promise<CacheBackend | null>> = {
  'in this process': async () => createMemoryBackend(),
  'on Redis': async t => {
    const url = await findRedis()
    if (url !== null) return (await openRedis(t, url)).link
    skipMissing(t, 'needs Redis: install and start it, or set TEST_REDIS_URL')
    return null
  }
}

for (const [name, open] of Object.entries(links)) {
  t.test(`the link ${name}`, async t => {
    const link = await open(t)
    if (link === null) return
    const prefix = `lkt:${randomBytes(6).toString('hex')}:`
    let count = 0
    const newKey = () => `${prefix}${count++}`

    t.test('a lease is taken where nothing stands, and else tells what stands', async t => {
      const key = newKey()
      t.equal(await link.takeLease(key, 'La', 60_000), null)
      t.equal(await link.takeLease(key, 'Lb', 60_000), 'La')
      t.equal(await link.takeLease(key, 'Lc', 60_000), 'La', 'and leaves it there')
    })

    t.test('a look tells what stands, and leaves it so', async t => {
      const [taken, free] = [newKey(), newKey()]
      await link.takeLease(taken, 'La', 60_000)
      t.strictSame(await Promise.all([taken, free, taken].map(key => link.get(key))), ['La', null, 'La'], 'each its own, several at once')
      t.equal(await link.takeLease(free, 'Lb', 60_000), null, 'nothing was left where nothing stood')
    })

    t.test('a look begun after a change sees it, though others are under way', async t => {
      const key = newKey()
      await link.takeLease(key, 'La', 60_000)
      const early = link.get(key)
      await new Promise(resolve => setImmediate(resolve))
      await link.overwrite([key], 60_000)
      t.equal(await link.get(key), 'R')
      t.match(await early, /^(La|R)$/)
    })

    t.test('of leases taken at once, one is', async t => {
      const key = newKey()
      const taken = await Promise.all(['La', 'Lb', 'Lc'].map(lease => link.takeLease(key, lease, 60_000)))
      t.equal(taken.filter(there => there === null).length, 1)
    })

    t.test('a value replaces what is expected, and nothing else', async t => {
      const key = newKey()
      t.equal(await link.compareAndSet(key, 'La', 'V1|x', 60_000), false, 'not where nothing stands')
      await link.takeLease(key, 'La', 60_000)
      t.equal(await link.compareAndSet(key, 'Lb', 'V1|x', 60_000), false)
      t.equal(await link.compareAndSet(key, 'La', 'V1|{"a":"é|\\n"}', 60_000), true)
      t.equal(await link.takeLease(key, 'Lc', 60_000), 'V1|{"a":"é|\\n"}')
    })

    t.test('what was overwritten is revoked, whatever stood there', async t => {
      const [leased, filled, free] = [newKey(), newKey(), newKey()]
      await link.takeLease(leased, 'La', 60_000)
      await link.takeLease(filled, 'La', 60_000)
      await link.compareAndSet(filled, 'La', 'V1|x', 60_000)
      await link.overwrite([leased, filled, free], 60_000)
      for (const key of [leased, filled, free]) t.equal(await link.takeLease(key, 'Lb', 60_000), 'R')
      t.equal(await link.compareAndSet(leased, 'La', 'V1|x', 60_000), false, 'a lease is gone with it')
    })

    t.test('what was deleted is gone, and its lease too', async t => {
      const key = newKey()
      await link.takeLease(key, 'La', 2_000)
      await link.overwrite([key], null)
      t.equal(await link.compareAndSet(key, 'La', 'V1|x', 2_000), false)
      t.equal(await link.takeLease(key, 'Lb', 2_000), null)
    })

    t.test('everything ends with its time', async t => {
      const [leased, filled, revoked] = [newKey(), newKey(), newKey()]
      await link.takeLease(leased, 'La', 50)
      await link.takeLease(filled, 'La', 60_000)
      await link.compareAndSet(filled, 'La', 'V1|x', 50)
      await link.overwrite([revoked], 50)
      await new Promise(resolve => setTimeout(resolve, 90))
      for (const key of [leased, filled, revoked]) t.equal(await link.takeLease(key, 'Lb', 2_000), null)
    })

    t.test('whoever overwrites learns who answered, also when there is nothing to overwrite', async t => {
      const identity = await link.identify()
      t.ok(identity.incarnation)
      t.equal(identity.connection, link.connection)
      t.strictSame(await link.overwrite([], 2_000), identity)
      t.strictSame(await link.overwrite([newKey()], null), identity)
    })
  })
}

t.test('a Redis in trouble', { skip: hasRedisServer ? false : 'needs redis-server in PATH' }, async t => {
  async function own (t: Test, options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
    const server = await startRedis(options)
    t.teardown(() => server.kill())
    return server
  }

  t.test('without memory, entries are deleted instead of overwritten, and the link is sound', async t => {
    const { url } = await own(t, { args: ['--maxmemory-policy', 'noeviction'] })
    const { client, link } = await openRedis(t, url)
    await link.takeLease('a', 'La', 60_000)
    await link.takeLease('b', 'La', 60_000)
    await client.call('CONFIG', 'SET', 'maxmemory', '1')
    const { connection } = link
    await t.rejects(link.takeLease('c', 'La', 2_000), RefusedCommandError)
    await t.rejects(link.compareAndSet('a', 'La', 'V1|x', 2_000), RefusedCommandError)
    const identity = await link.overwrite(['a', 'b', 'c'], 60_000)
    t.ok(identity.incarnation)
    t.equal(link.connection, connection)
    t.strictSame(await client.mget('a', 'b', 'c'), [null, null, null])
  })

  for (const keys of [['a'], ['a', 'b', 'c']]) {
    t.test(`${keys.length} looked up at once on a server that was demoted under the connection are not believed`, async t => {
      const { url } = await own(t)
      const { client, link } = await openRedis(t, url)
      for (const key of keys) await client.set(key, 'V1|x')
      t.strictSame(await Promise.all(keys.map(link.get)), keys.map(() => 'V1|x'))
      await client.call('REPLICAOF', '127.0.0.1', '1')
      t.equal(await client.get('a'), 'V1|x', 'it would answer')
      const looks = await Promise.allSettled(keys.map(link.get))
      t.strictSame(looks.map(({ status }) => status), keys.map(() => 'rejected'))
      t.equal(link.connection, null, 'and it is left')
    })
  }

  t.test('a server that was demoted is left, and is no master afterwards', async t => {
    const { url } = await own(t)
    const { client, link } = await openRedis(t, url)
    const before = await link.identify()
    await client.call('REPLICAOF', '127.0.0.1', '1')
    t.equal((await link.identify()).incarnation, null)
    t.equal(link.connection, null, 'at once')
    t.ok(await becomesTrue(() => link.connection !== null, 15_000), 'and another one is made')
    t.not(link.connection, before.connection)
    for (const write of [() => link.takeLease('a', 'La', 2_000), () => link.overwrite(['a'], 2_000)] as Array<() => Promise<unknown>>) {
      await t.rejects(write(), /READONLY/)
      t.equal(link.connection, null)
      t.ok(await becomesTrue(() => link.connection !== null, 15_000))
    }
    t.ok(await becomesTrue(() => link.connection !== null, 15_000))
    await client.call('REPLICAOF', 'NO', 'ONE')
    const after = await link.identify()
    t.ok(after.incarnation, 'promoted again')
    t.not(after.incarnation, before.incarnation, 'as another one')
  })

  t.test('a server that was restarted is another one, on another connection', async t => {
    const first = await own(t)
    const { link } = await openRedis(t, first.url)
    const before = await link.identify()
    await first.kill()
    t.ok(await becomesTrue(() => link.connection === null, 15_000), 'its end is noticed')
    await t.rejects(link.takeLease('a', 'La', 2_000))
    await t.rejects(link.overwrite(['a'], 2_000))
    await own(t, { port: first.port })
    t.ok(await becomesTrue(() => link.connection !== null, 15_000))
    const after = await link.identify()
    t.not(after.connection, before.connection)
    t.not(after.incarnation, before.incarnation)
  })

  t.test('a server that is frozen is waited for a tenth of a second', async t => {
    const server = await own(t)
    const { link } = await openRedis(t, server.url, { patient: false })
    process.kill(server.pid, 'SIGSTOP')
    const calls: Record<string, () => Promise<unknown>> = {
      takeLease: () => link.takeLease('a', 'La', 2_000),
      compareAndSet: () => link.compareAndSet('a', 'La', 'V1|x', 2_000),
      overwrite: () => link.overwrite(['a', 'b'], 2_000),
      identify: () => link.identify()
    }
    for (const [name, call] of Object.entries(calls)) {
      const from = performance.now()
      await t.rejects(Promise.race([call(), delay(1_000)]), name)
      const tookMs = performance.now() - from
      t.ok(tookMs > 80, `${name} took ${tookMs.toFixed(0)} ms`)
    }
    process.kill(server.pid, 'SIGCONT')
    t.ok(await becomesTrue(() => link.identify().then(({ incarnation }) => incarnation !== null, () => false), 15_000), 'and is used again')
    t.ok(await becomesTrue(() => link.takeLease(randomUUID(), 'La', 2_000).then(there => there === null, () => false), 15_000))
  })
})
