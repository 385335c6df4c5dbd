import { randomBytes, randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { sessions, tokens, users } from '../../db/schema.js'
import { within } from '../../src/database/database.js'
import { createRetentionStore } from '../../src/retention/store.js'
import { createTokenStore } from '../../src/tokens/store.js'
import { TokenHash } from '../../src/tokens/token.js'
import { onEachGround, serverGround } from '../fixtures/app.js'
import { held } from '../fixtures/held.js'

const newHash = () => new TokenHash(randomBytes(32).toString('hex'))
const soon = () => new Date(Date.now() + 60_000)
const past = (ms: number) => new Date(Date.now() - ms)

onEachGround(t, async (t, ground) => {
  const database = await ground.database()
  const tokenStore = createTokenStore(database)
  const deadStore = createRetentionStore(database)
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

  t.test('dead rows are deleted in batches, sessions after their tokens', async t => {
    const user = await addUser()
    const [over, alive] = [await addSession(user, { endedAt: past(200_000) }), await addSession(user)]
    for (let i = 0; i < 5; i++) await addToken(user, over, i < 3 ? { expiresAt: past(200_000) } : { revokedAt: past(200_000) })
    const [live, fresh] = [await addToken(user, alive), await addToken(user, alive, { revokedAt: past(10_000) })]
    const before = past(100_000)
    t.strictSame(await deadStore.count(before), { tokens: 5, sessions: 1 })
    t.strictSame(await deadStore.delete(before, 2).then(deleted => deleted?.tokens), 4, 'two that expired and two that were revoked')
    let batches = 0
    for (let deleted = await deadStore.delete(before, 2); deleted !== null &&
      deleted.tokens + deleted.sessions > 0; deleted = await deadStore.delete(before, 2)) batches++
    t.ok(batches >= 1)
    t.strictSame(await deadStore.count(before), { tokens: 0, sessions: 0 })
    t.strictSame(await find(live, fresh), ['live', 'revoked'])
    const left = await database.query(db => db.select({ id: sessions.id }).from(sessions).where(sql`user_id = ${user}`))
    t.strictSame(left, [{ id: alive }])
  })
})

t.test('a prune deletes nothing while another instance is pruning', async t => {
  const ground = await serverGround(t, { redisUrl: null })
  if (ground === null) return
  const [one, other] = [await ground.database(), await ground.database()]
  t.teardown(() => Promise.all([one.close(), other.close()]))
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
