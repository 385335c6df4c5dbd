import { sql } from 'drizzle-orm'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Database } from '../../src/database/database.js'
import { newEmail, onEachGround, password, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { attempt, limited, statuses, wrong } from '../fixtures/attempts.js'
import { hold } from '../fixtures/locks.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

/** Each call gives another address, in another network. */
let addresses = 0
const elsewhere = () => `10.${++addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}`

/** The rows of a query that only tests run. */
async function rows<Row> (one: TestApp, text: string): Promise<Row[]> {
  return await one.database.prepared<Row>(text, [])
}

/** Makes one failed attempt and sets its counter to `count`: that many attempts would take too long. */
async function failures (one: TestApp, email: string, count: number, address = elsewhere()): Promise<void> {
  const before = await rows<{ key: string, failures: number }>(one, "select encode(key, 'hex') as key, failures from login_failures")
  const reply = await attempt(one, email, { address })
  if (reply.statusCode !== 401) throw new Error(`${reply.statusCode} ${reply.body}`)
  const after = await rows<{ key: string, failures: number }>(one, "select encode(key, 'hex') as key, failures from login_failures")
  const changed = after.filter(({ key, failures }) => before.find(row => row.key === key)?.failures !== failures)
  if (changed.length !== 1) throw new Error(`${changed.length} counters changed`)
  await one.database.prepared("update login_failures set failures = $1::int where key = decode($2, 'hex')", [count, changed[0]?.key ?? ''])
}

const blockedFor = 3_600
const events = (
  one: TestApp,
  userId: string | null
) =>
  rows<{ cause: string, ip: string, user_agent: string }>(
    one,
    `select cause, ip, user_agent from events where type = 'login_failed' and user_id ${userId === null
      ? 'is null'
      : `= '${userId}'`} order by created_at, id`
  )
function tally (found: Array<{ cause: string }>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { cause } of found) counts[cause] = (counts[cause] ?? 0) + 1
  return counts
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)
  const two = ground.redisUrl === null ? one : await startApp(t, ground)

  t.test('after a hundred failures in a row nobody can log in from a new network, but owners can from their own', async t => {
    const [{ email, userId }, nobody] = [await one.account(), newEmail()]
    for (let i = 0; i < 100; i += 10) {
      const replies = [email, nobody].flatMap(account =>
        Array.from({ length: 10 }, () => attempt(i % 20 === 0 ? one : two, account, { address: elsewhere() })))
      t.same(await statuses(replies), { 401: 20 }, `failures ${i + 1} to ${i + 10}`)
    }
    const refused = await attempt(one, email, { secret: password, address: elsewhere() })
    t.equal(limited(t, refused), blockedFor)
    t.equal(limited(t, await attempt(two, email, { address: elsewhere() })), blockedFor)
    const same = await attempt(one, nobody, { secret: password, address: elsewhere() })
    t.equal(limited(t, same), blockedFor)
    const headers = ({ headers }: Response) => Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'date'))
    t.same([same.body, headers(same)], [refused.body, headers(refused)], 'an account that does not exist gets the same bytes')

    t.same(
      tally(await events(one, userId)),
      { wrong_password: 100, too_many_failures: 1 },
      'attempts that were not checked do not fill the trail'
    )
    t.match((await events(one, userId)).at(-1), { user_agent: 'lightMyRequest', ip: /^10\./ })

    t.equal((await attempt(two, email, { secret: password })).statusCode, 200, 'the owner, from the network where the account was opened')
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401, 'that login ended the run of failures')
    t.equal((await attempt(one, email, { secret: password, address: elsewhere() })).statusCode, 200)
  })

  t.test('a success ends the run of failures, wherever it comes from', async t => {
    const { email } = await one.account()
    for (let round = 0; round < 3; round++) {
      await failures(one, email, 99)
      t.equal((await attempt(two, email, { secret: password, address: elsewhere() })).statusCode, 200)
    }
    await failures(one, email, 99)
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401)
    limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
  })

  t.test('a network that the account knows has its own limit of a hundred failures', async t => {
    const { email } = await one.account()
    const [home, work] = [elsewhere(), '2001:db8:77:1::1']
    for (const address of [home, work]) t.equal((await attempt(one, email, { secret: password, address })).statusCode, 200)
    await failures(one, email, 100)
    await failures(one, email, 100, home)
    limited(t, await attempt(one, email, { secret: password, address: home }))
    limited(t, await attempt(one, email, { secret: password, address: `::ffff:${home}` }))
    limited(t, await attempt(one, email, { secret: password, address: '2001:db8:77:2::1' }))
    t.equal((await attempt(two, email, { secret: password, address: '2001:db8:77:1:ffff::2' })).statusCode, 200, 'the whole /64 is known')
    limited(t, await attempt(one, email, { secret: password, address: home }))
    t.equal((await attempt(one, email, { secret: password, address: elsewhere() })).statusCode, 200, 'the account itself is not blocked')
  })

  t.test('an account knows its last twenty networks, as hashes', async t => {
    const { email, userId } = await one.account()
    const networks = Array.from({ length: 20 }, elsewhere)
    for (const address of [...networks, networks[0] as string]) {
      one.clock.advance(1)
      t.equal((await attempt(one, email, { secret: password, address })).statusCode, 200)
    }
    const known = () =>
      rows<{ network: string }>(one, `select encode(network, 'hex') as network from known_networks where user_id = '${userId}'`)
    t.equal((await known()).length, 20)
    for (const { network } of await known()) t.match(network, /^[0-9a-f]{64}$/)
    await failures(one, email, 100)
    limited(t, await attempt(one, email, { secret: password }))
    t.equal((await attempt(one, email, { secret: password, address: networks[0] as string })).statusCode, 200)
    t.equal((await known()).length, 20)
  })

  t.test('the same network leaves no link between two accounts', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    const hashes = await rows<{ network: string }>(
      one,
      `select encode(network, 'hex') as network from known_networks where user_id in ('${mine.userId}', '${theirs.userId}')`
    )
    t.equal(new Set(hashes.map(({ network }) => network)).size, 2)
    await failures(one, mine.email, 100)
    t.equal((await attempt(one, theirs.email, { secret: password, address: elsewhere() })).statusCode, 200)
  })

  t.test('a request that asks for the current password counts as a login attempt', async t => {
    const { email, token } = await one.account()
    const change = (
      currentPassword: string,
      remoteAddress: string
    ) =>
      one.app.inject({
        method: 'PUT',
        url: '/v1/password',
        remoteAddress,
        headers: { authorization: `Bearer ${token}` },
        payload: { currentPassword, newPassword: 'short' }
      })
    const make = (
      secret: string,
      remoteAddress: string
    ) =>
      two.app.inject({
        method: 'POST',
        url: '/v1/tokens',
        remoteAddress,
        headers: { authorization: `Bearer ${token}` },
        payload: { name: 'backup', password: secret }
      })
    await failures(one, email, 98)
    t.equal((await change(wrong, elsewhere())).statusCode, 403)
    t.equal((await make(wrong, elsewhere())).statusCode, 403)
    t.equal(limited(t, await change(password, elsewhere())), blockedFor)
    t.equal(limited(t, await make(password, elsewhere())), blockedFor)
    limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
    t.equal((await change(password, '127.0.0.1')).json().code, 'AUTH_PASSWORD_REJECTED', 'the network of the session is not blocked')
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401, 'and the right password ends the run of failures')
    for (let round = 0; round < 3; round++) {
      await failures(one, email, 99, '127.0.0.1')
      t.equal((await make(password, '127.0.0.1')).statusCode, 201, 'a request that succeeds does not count')
    }
  })

  t.test('failures are recorded with their cause', async t => {
    const { email, userId } = await one.account()
    const nobody = (await events(one, null)).length
    await attempt(one, email, { address: '203.0.113.99' })
    await attempt(one, newEmail(), { address: '203.0.113.98' })
    await one.database.query(db => db.execute(sql`update users set disabled_at = now() where id = ${userId}`))
    for (const secret of [wrong, password]) t.equal((await attempt(one, email, { secret })).statusCode, 401)
    t.same(
      (await events(one, userId)).map(({ cause, ip }) => `${cause} ${ip}`),
      ['wrong_password 203.0.113.99', 'wrong_password 127.0.0.1', 'disabled 127.0.0.1']
    )
    t.same((await events(one, null)).slice(nobody), [{ cause: 'unknown_account', ip: '203.0.113.98', user_agent: 'lightMyRequest' }])
  })

  t.test('clearing the failures of an account unblocks it for all networks', async t => {
    const { email } = await one.account()
    await failures(one, email, 100)
    await failures(one, email, 100, '127.0.0.1')
    limited(t, await attempt(one, email, { secret: password }))
    await one.database.transaction(tx => one.users.forgive(tx, email.toUpperCase()))
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401)
    t.equal((await attempt(one, email, { secret: password })).statusCode, 200)
  })

  t.test('an administrator ends a block by enabling the account', async t => {
    const [{ email, userId }, boss] = [await one.account(), await one.account()]
    await one.database.query(db => db.execute(sql`update users set role = 'admin' where id = ${boss.userId}`))
    const { accessToken } = (await one.login(boss.email)).json()
    await failures(one, email, 100)
    limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
    t.equal((await two.call('POST', `/v1/admin/users/${userId}/enable`, { token: accessToken })).statusCode, 204)
    t.equal((await attempt(one, email, { secret: password, address: elsewhere() })).statusCode, 200)
  })

  t.test('a new account starts without failures, whatever was tried at its address before', async t => {
    const email = newEmail()
    await failures(one, email, 100)
    limited(t, await attempt(one, email, { address: elsewhere() }))
    t.equal((await one.register(email)).statusCode, 201)
    t.equal((await attempt(two, email, { secret: password, address: elsewhere() })).statusCode, 200)
  })

  t.test('counts that do not change for 90 days are pruned, unless they block', async t => {
    await one.database.query(db => db.execute(sql`delete from login_failures`))
    const [blocked, idle, busy] = [await one.account(), newEmail(), newEmail()]
    await failures(one, blocked.email, 100)
    await failures(one, idle, 99)
    one.clock.advance(90 * 86_400_000 + 1_000)
    await failures(one, busy, 5)
    t.equal((await one.prune({ dryRun: true })).failures, 1)
    t.equal((await one.prune({ dryRun: false })).failures, 1)
    t.equal((await one.prune({ dryRun: false })).failures, 0)
    limited(t, await attempt(one, blocked.email, { secret: password, address: elsewhere() }))
    t.same(
      (await rows<{ failures: number }>(one, 'select failures from login_failures order by failures')).map(({ failures }) => failures),
      [5, 100]
    )
  })
})

t.test('when fifty attempts race for the last of the hundred, one is checked', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const [one, two] = [await startApp(t, ground), await startApp(t, ground)]
  for (const exists of [true, false]) {
    const email = exists ? (await one.account()).email : newEmail()
    await failures(one, email, 99)
    const lock = await hold(t, ground, 'select from login_failures for update')
    const replies = Array.from({ length: 50 }, (_, i) => attempt(i % 2 === 0 ? one : two, email, { address: elsewhere() }))
    await lock.waiters(20)
    await lock.release()
    t.same(await statuses(replies), { 401: 1, 429: 49 })
    await one.database.query(db => db.execute(sql`delete from login_failures`))
  }
  t.same(
    tally(await rows(one, "select cause from events where type = 'login_failed'")),
    { wrong_password: 2, unknown_account: 2, too_many_failures: 2 }
  )
})

t.test('an unknown account, a wrong password and a disabled account cost the same statements', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const database = await ground.database()
  const statements: string[] = []
  const told = (text: string) => { if (!text.includes('unnest')) statements.push(text) }
  const watched: Database = {
    ...database,
    query (work) { told('query'); return database.query(work) },
    prepared (text, parameters) { told(text); return database.prepared(text, parameters) },
    transaction (work, limitMs) { told('transaction'); return database.transaction(work, limitMs) }
  }
  const one = await startApp(t, { ...ground, database: async () => watched })
  // It runs its own statements every five seconds.
  await one.lastUse.stop()
  const [{ email }, off] = [await one.account(), await one.account()]
  await one.database.query(db => db.execute(sql`update users set disabled_at = now() where id = ${off.userId}`))
  const costOf = async (email: string, options: Parameters<typeof attempt>[2]) => {
    statements.length = 0
    t.equal((await attempt(one, email, options)).statusCode, 401)
    return [...statements]
  }
  const unknown = await costOf(newEmail(), {})
  t.match(unknown, ['query', /insert into login_failures/, 'transaction'])
  for (const address of ['127.0.0.1', elsewhere()]) {
    t.same(await costOf(email, { address }), unknown)
    t.same(await costOf(off.email, { address }), unknown)
    t.same(await costOf(off.email, { address, secret: password }), unknown)
  }
})

t.test('logins, failures and the clearing of failures do not hold each other up on one account', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const [
    one,
    two
  ] = [await startApp(t, ground, { env: { SESSION_LIMIT: '0' } }), await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })]
  const { email, userId } = await one.account()
  const forgive = (app: TestApp) => app.database.transaction(async tx => {
    await app.users.lock(tx, userId)
    await app.users.forgive(tx, email)
  })
  const replies = Array.from({ length: 90 }, (_, i) => {
    const [app, address] = [i % 2 === 0 ? one : two, i % 5 === 0 ? '127.0.0.1' : elsewhere()]
    return attempt(app, email, { address, secret: i % 3 === 0 ? password : wrong })
  })
  await Promise.all(Array.from({ length: 10 }, (_, i) => forgive(i % 2 === 0 ? one : two)))
  t.same(await statuses(replies), { 200: 30, 401: 60 })
})

t.test('the hundred failures outlive Redis', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary')
  const server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const one = await startApp(t, ground, { env: { LOGIN_LIMIT: '5/1m' } })
  const { email } = await one.account()
  await failures(one, email, 99)
  t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401)
  const redis = new Redis(server.url)
  await redis.flushall()
  redis.disconnect()
  limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
  await server.kill()
  t.equal(limited(t, await attempt(one, email, { secret: password, address: elsewhere() })), blockedFor)
  t.equal((await attempt(one, email, { secret: password })).statusCode, 200, 'and the owner can log in without it')
})
