import { randomUUID } from 'node:crypto'
import t from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { explainDatabase } from '../../src/database/open.js'
import { createKeys } from '../../src/keys/store.js'
import { createEpochStore } from '../../src/revocation/store.js'
import { becomesTrue, type Ground, newEmail, patienceMs, serverGround, startApp } from '../fixtures/app.js'
import { openSql } from '../fixtures/servers.js'

/** What `work` rejects with; null if it doesn't reject. */
const failure = (work: Promise<unknown>) => work.then(() => null, (error: unknown) => error)

t.test('a key of the wrong length is not used: reading it is a 503, and a start is refused by its name', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return
  const { databaseUrl } = ground
  const sql = openSql(databaseUrl)
  t.teardown(() => sql.end({ timeout: 1 }))
  const one = await startApp(t, ground)
  // A start that is refused leaves it to its caller to close the database.
  async function refusedStart (): Promise<unknown> {
    const database = await (ground as Ground).database()
    const error = await failure(startApp(t, { ...ground as Ground, redisUrl: null, database: async () => database }))
    await database.close()
    return error
  }
  for (const name of ['token-check', 'password', 'attempts'] as const) {
    const [{ value }] = await sql<[{ value: Buffer }]>`select value from secrets where name = ${name}`
    for (const wrong of [value.subarray(0, 16), Buffer.alloc(0), Buffer.concat([value, Buffer.alloc(1)])]) {
      await sql`update secrets set value = ${wrong} where name = ${name}`
      t.match(await failure(createKeys(one.database).require(name)), { statusCode: 503, detail: 'KEY' })
      const refused = explainDatabase(loadConfig({ DATABASE_URL: databaseUrl }), await refusedStart())
      t.match(refused, { name: 'DatabaseUnreachableError' })
      t.match(
        (refused as Error).message,
        new RegExp(`^PostgreSQL at \\S+ returns the key "${name}" with ${wrong.length} bytes instead of 32\\.$`)
      )
    }
    await sql`update secrets set value = ${value} where name = ${name}`
  }
  const { token } = await one.account()
  t.equal((await one.me(token)).statusCode, 200, 'an instance that has read them before goes on')
})

t.test('the key of a refresh token that is too short is answered with 503, and derives nothing', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return
  const sql = openSql(ground.databaseUrl)
  t.teardown(() => sql.end({ timeout: 1 }))
  const one = await startApp(t, ground)
  const { refreshToken } = (await one.register(newEmail(), { refresh: true })).json()
  const refresh = () => one.call('POST', '/v1/refresh', { body: { refreshToken } })
  const first = await refresh()
  t.equal(first.statusCode, 200)
  const kept = await sql`select id, successor_secret as secret from tokens where successor_secret is not null`
  t.equal(kept.length, 1)
  await sql`update tokens set successor_secret = ${Buffer.alloc(16)} where id = ${kept[0]?.id}`
  t.equal((await refresh()).statusCode, 503)
  await sql`update tokens set successor_secret = ${kept[0]?.secret} where id = ${kept[0]?.id}`
  t.equal((await refresh()).json().accessToken, first.json().accessToken, 'with the right one the same successors')
})

t.test('a settlement that names a hash of the wrong length is not taken for done: the cache is not used until a bump', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null || ground.redisUrl === null) return
  const sql = openSql(ground.databaseUrl)
  t.teardown(() => sql.end({ timeout: 1 }))
  const one = await startApp(t, ground)
  const { token } = await one.account()
  t.ok(await one.cached(token))
  await sql`insert into cache_settlements (id, token_hashes, created_at, help)
    values (${randomUUID()}, array['\\xabcd'::bytea], clock_timestamp() - interval '5 seconds', true)`
  t.equal(await becomesTrue(async () => { await one.epoch.poll(); return one.epoch.state() === 'settlement-overdue' }, patienceMs), true)
  t.equal((await one.me(token)).statusCode, 200, 'the database answers')
  t.equal((await sql`select from cache_settlements`).length, 1, 'it is not settled')
  const store = createEpochStore(one.database)
  t.teardown(() => store.close())
  await store.bump()
  t.equal((await sql`select from cache_settlements`).length, 0)
  t.equal(await becomesTrue(async () => { await one.epoch.poll(); return one.epoch.trust() !== null }, patienceMs), true)
  t.equal(one.counters.assists, 0)
})
