import { randomBytes, randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { sessions, tokens, users } from '../../db/schema.js'
import type { RevokingTx } from '../../src/database/transaction.js'
import { createTokenStore } from '../../src/tokens/store.js'
import { TokenHash } from '../../src/tokens/token.js'
import { onEachGround } from '../fixtures/app.js'

const newHash = () => new TokenHash(randomBytes(32).toString('hex'))
const soon = () => new Date(Date.now() + 60_000)
const past = (ms: number) => new Date(Date.now() - ms)

onEachGround(t, async (t, ground) => {
  const database = await ground.database()
  const tokenStore = createTokenStore(database)
  t.teardown(() => database.close())

  const at = new Date()
  async function addUser (disabled = false): Promise<string> {
    const id = randomUUID()
    await database.query(db =>
      db.insert(users).values({
        id,
        email: `${id}@example.com`,
        passwordHash: 'x',
        createdAt: at,
        disabledAt: disabled ? at : null,
        name: 'Ada'
      }))
    return id
  }
  async function addSession (userId: string, { expiresAt = soon(), endedAt = null as Date | null } = {}): Promise<string> {
    const id = randomUUID()
    await database.query(db => db.insert(sessions).values({ id, userId, createdAt: at, lastUsedAt: at, expiresAt, endedAt }))
    return id
  }
  async function addToken (
    userId: string,
    sessionId: string,
    { expiresAt = soon(), revokedAt = null as Date | null } = {}
  ): Promise<TokenHash> {
    const hash = newHash()
    const id = await database.transaction(
      tx => tokenStore.insert(tx, { hash, kind: 'access', userId, sessionId, abilities: ['*'], createdAt: at, expiresAt }
    ))
    if (revokedAt !== null) await database.query(db => db.update(tokens).set({ revokedAt }).where(sql`id = ${id}`))
    return hash
  }
  const find = async (...hashes: TokenHash[]) => {
    const found = await tokenStore.find(hashes.map(hash => hash.hex()), Date.now())
    return hashes.map(hash => found.get(hash.hex())?.state ?? 'unknown')
  }

  t.test('a token is found live, revoked, over, disabled or unknown, whoever it belongs to', async t => {
    const [user, disabled] = [await addUser(), await addUser(true)]
    const [session, ended] = [await addSession(user), await addSession(user, { expiresAt: past(1_000) })]
    const hashes = [
      await addToken(
        user,
        session
      ), await addToken(
        user,
        session,
        { revokedAt: new Date(Date.now() + 60_000) }
      ), await addToken(user, session, { expiresAt: past(10) }),
      await addToken(user, ended), await addToken(disabled, await addSession(disabled)), newHash()
    ]
    t.strictSame(await find(...hashes), ['live', 'revoked', 'over', 'over', 'disabled', 'unknown'], 'any revocation time counts as revoked')
  })

  t.test('a live token names its principal, and ends with its session', async t => {
    const user = await addUser()
    const expiresAt = new Date(Date.now() + 30_000)
    const session = await addSession(user, { expiresAt })
    const hash = await addToken(user, session)
    const found = (await tokenStore.find([hash.hex()], Date.now())).get(hash.hex())
    t.match(
      found,
      {
        state: 'live',
        value: {
          expiresAtMs: expiresAt.getTime(),
          token: { kind: 'access', abilities: ['*'] },
          session: { id: session },
          user: { id: user, name: 'Ada', role: 'user', emailVerifiedAt: null }
        }
      }
    )
  })

  t.test('a repeated look-up returns the same principal until its data changes or it is over', async t => {
    const withIdle = createTokenStore(database, { idleSeconds: 3_600 })
    const user = await addUser()
    const expiresAt = new Date(Date.now() + 7_200_000)
    const session = await addSession(user, { expiresAt })
    const hash = await addToken(user, session, { expiresAt })
    const told = async (store: typeof tokenStore, atMs = Date.now()) => (await store.find([hash.hex()], atMs)).get(hash.hex())
    const live = async (store = tokenStore) => {
      const found = await told(store)
      return found?.state === 'live' ? found.value : null
    }
    t.ok(await live() && await live(withIdle), 'of one that comes once nothing is remembered')
    const [first, idle] = [await live(), await live(withIdle)]
    t.equal(await live(), first)
    t.ok(Object.isFrozen(first) && Object.isFrozen(first?.user), 'so that nobody can change it')
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

  t.test('a hundred tokens are found in one read', async t => {
    const user = await addUser()
    const session = await addSession(user)
    const hashes: TokenHash[] = []
    for (let i = 0; i < 100; i++) hashes.push(i % 2 === 0 ? await addToken(user, session) : newHash())
    t.strictSame(await find(...hashes), hashes.map((_, i) => i % 2 === 0 ? 'live' : 'unknown'))
  })

  t.test('the tokens of a session are revoked and returned, on every repetition', async t => {
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

  t.test('a revocation that is rolled back has no effect', async t => {
    const user = await addUser()
    const session = await addSession(user)
    const hash = await addToken(user, session)
    await t.rejects(database.transaction(async tx => {
      await tokenStore.revokeOfSessions(tx as RevokingTx, [session])
      throw new Error('no')
    }))
    t.strictSame(await find(hash), ['live'])
  })
})
