import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import type { Database } from '../../src/edges/database.js'
import { createLoginLimiter, networkOf, ProcessCounter } from '../../src/edges/rate-limit.js'
import { becomesTrue, embeddedGround, type Ground, newEmail, onEachGround, password, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { hold } from '../fixtures/locks.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

const wrong = 'not the password'

/** Seconds to wait, of a reply that has to be a 429. */
function limited (t: Test, reply: Response): number {
  t.equal(reply.statusCode, 429, reply.body)
  t.same(reply.json(), { statusCode: 429, code: 'AUTH_RATE_LIMITED', error: 'Too Many Requests', message: 'Too many attempts: wait for the seconds in Retry-After' })
  t.match(reply.headers['retry-after'], /^[1-9]\d*$/)
  t.notMatch(Object.keys(reply.headers).join(), 'ratelimit', 'what is left is nobody’s business')
  return Number(reply.headers['retry-after'])
}

/** A login attempt from `address`, through `forwarded` if given. */
function attempt (one: TestApp, email: string, { secret = wrong, address = '127.0.0.1', forwarded }: { secret?: string, address?: string, forwarded?: string } = {}): Promise<Response> {
  return one.app.inject({ method: 'POST', url: '/v1/login', remoteAddress: address, payload: { email, password: secret }, headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } })
}

async function statuses (replies: Array<Promise<Response>>): Promise<Record<number, number>> {
  const counts: Record<number, number> = {}
  for (const { statusCode } of await Promise.all(replies)) counts[statusCode] = (counts[statusCode] ?? 0) + 1
  return counts
}

const strict = { LOGIN_LIMIT: '5/1m' }

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: strict })
  const two = ground.redisUrl === null ? one : await startApp(t, ground, { env: strict })

  /** For apps beside these: on the embedded database without a cache of their own, which two processes never share. */
  const beside: Ground = ground.redisUrl !== null ? ground : { ...ground, database: async () => ({ ...one.database, embedded: false, close: async () => {} }) }

  t.test('the sixth attempt in a minute is refused, with the right password too, on every instance', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 5; i++) t.equal((await attempt(i % 2 === 0 ? one : two, email)).statusCode, 401)
    const seconds = limited(t, await attempt(one, email))
    t.ok(seconds > 50 && seconds <= 60, `${seconds} s`)
    limited(t, await attempt(one, email, { secret: password }))
    limited(t, await attempt(two, email, { secret: password }))
  })

  t.test('the limit opens again at its end, however much was tried meanwhile', async t => {
    const quick = await startApp(t, beside, { env: { LOGIN_LIMIT: '2/2s' } })
    const { email } = await quick.account()
    await attempt(quick, email)
    await attempt(quick, email)
    t.ok(limited(t, await attempt(quick, email)) <= 2)
    t.ok(await becomesTrue(async () => {
      await delay(50)
      return (await attempt(quick, email, { secret: password })).statusCode === 200
    }, 10_000))
  })

  t.test('a success clears what was counted', async t => {
    const { email } = await one.account()
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) t.equal((await attempt(one, email)).statusCode, 401)
      t.equal((await attempt(two, email, { secret: password })).statusCode, 200)
    }
  })

  t.test('changing a password counts with the logins', async t => {
    const { email, token } = await one.account()
    const change = (currentPassword: string) => two.call('PUT', '/v1/password', { token, body: { currentPassword, newPassword: 'another long password' } })
    for (let i = 0; i < 3; i++) t.equal((await change(wrong)).statusCode, 403)
    for (let i = 0; i < 2; i++) t.equal((await attempt(one, email)).statusCode, 401)
    limited(t, await change(password))
    limited(t, await attempt(one, email, { secret: password }))
    t.equal((await one.me(token)).statusCode, 200, 'the session itself is unharmed')
  })

  t.test('a changed password clears what was counted', async t => {
    const { email, token } = await one.account()
    for (let i = 0; i < 4; i++) t.equal((await attempt(one, email)).statusCode, 401)
    t.equal((await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: 'another long password' } })).statusCode, 200)
    for (let i = 0; i < 4; i++) t.equal((await attempt(one, email)).statusCode, 401)
    t.equal((await attempt(one, email, { secret: 'another long password' })).statusCode, 200)
  })

  t.test('of fifty attempts at once five get through', async t => {
    const { email } = await one.account()
    t.same(await statuses(Array.from({ length: 50 }, (_, i) => attempt(i % 2 === 0 ? one : two, email))), { 401: 5, 429: 45 })
  })

  t.test('every spelling of an email counts as one account', async t => {
    const { email } = await one.account()
    const wide = email.replace(/^user/, 'ｕｓｅｒ')
    for (const spelling of [email, email.toUpperCase(), wide, wide.toUpperCase(), email.replace('example', 'Example')]) t.equal((await attempt(one, spelling)).statusCode, 401, spelling)
    for (const spelling of [email, wide.toUpperCase(), email.replace('user', 'User')]) limited(t, await attempt(one, spelling))
  })

  t.test('an account that does not exist is limited like one that does', async t => {
    const nobody = newEmail()
    for (let i = 0; i < 5; i++) t.equal((await attempt(one, nobody)).statusCode, 401)
    limited(t, await attempt(one, nobody))
  })

  t.test('the owner still logs in from another address while an attacker is refused', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 6; i++) await attempt(one, email, { address: '203.0.113.7' })
    limited(t, await attempt(one, email, { address: '203.0.113.7', secret: password }))
    t.equal((await attempt(one, email, { address: '198.51.100.1', secret: password })).statusCode, 200)
    limited(t, await attempt(one, email, { address: '203.0.113.7', secret: password }))
  })

  t.test('X-Forwarded-For and its kin change nothing without TRUST_PROXY', async t => {
    const { email } = await one.account()
    const names = ['x-forwarded-for', 'x-real-ip', 'forwarded', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip']
    for (let i = 0; i < 8; i++) {
      const headers = Object.fromEntries(names.map(name => [name, name === 'forwarded' ? `for=10.0.0.${i}` : `10.0.0.${i}`]))
      const reply = await one.app.inject({ method: 'POST', url: '/v1/login', payload: { email, password: wrong }, headers })
      if (i < 5) t.equal(reply.statusCode, 401)
      else limited(t, reply)
    }
  })

  t.test('addresses of one IPv6 /64 count as one', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 5; i++) t.equal((await attempt(one, email, { address: `2001:db8:0:1:${i}::${i}` })).statusCode, 401)
    limited(t, await attempt(one, email, { address: '2001:db8:0:1:ffff:ffff:ffff:ffff' }))
    t.equal((await attempt(one, email, { address: '2001:db8:0:2::1' })).statusCode, 401)
  })

  t.test('ADDRESS_LIMIT counts register and login together, and nothing else', async t => {
    const coarse = await startApp(t, { ...beside, prefix: `${ground.prefix}${randomBytes(3).toString('hex')}:` }, { env: { ADDRESS_LIMIT: '6/1m' } })
    const { email, token } = await coarse.account()
    for (let i = 0; i < 3; i++) t.equal((await attempt(coarse, newEmail())).statusCode, 401)
    t.equal((await coarse.register('no email')).statusCode, 400, 'a refused one counts too')
    t.equal((await coarse.register()).statusCode, 201)
    limited(t, await coarse.register())
    limited(t, await attempt(coarse, email, { secret: password }))
    limited(t, await attempt(coarse, email, { secret: password, forwarded: '10.1.1.1' }))
    t.equal((await coarse.me(token)).statusCode, 200, 'who has a token goes on')
    t.equal((await coarse.call('GET', '/health/ready')).statusCode, 200)
    t.equal((await attempt(coarse, email, { secret: password, address: '198.51.100.9' })).statusCode, 200, 'another address too')
  })

  t.test('ADDRESS_LIMIT 0 is none', async t => {
    const open = await startApp(t, beside, { env: { ADDRESS_LIMIT: '0' } })
    t.same(await statuses(Array.from({ length: 60 }, () => attempt(open, newEmail()))), { 401: 60 })
  })

  t.test('past the limit of an address not even a body is read', async t => {
    const coarse = await startApp(t, { ...beside, prefix: `${ground.prefix}${randomBytes(3).toString('hex')}:` }, { env: { ADDRESS_LIMIT: '1/1m' } })
    await attempt(coarse, newEmail())
    limited(t, await coarse.app.inject({ method: 'POST', url: '/v1/login', payload: 'x'.repeat(1_000_000), headers: { 'content-type': 'text/plain' } }))
  })
})

/** Another address, in another network, at each call. */
let addresses = 0
const elsewhere = () => `10.${++addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}`

/** Rows of a query that only tests ask. */
async function rows<Row> (one: TestApp, text: string): Promise<Row[]> {
  return await one.database.prepared<Row>(text, [])
}

/** One failure, and the counter it went to set to `failures`: so many attempts would take long. */
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
const events = (one: TestApp, userId: string | null) => rows<{ cause: string, ip: string, user_agent: string }>(one, `select cause, ip, user_agent from events where type = 'login_failed' and user_id ${userId === null ? 'is null' : `= '${userId}'`} order by created_at, id`)
function tally (found: Array<{ cause: string }>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { cause } of found) counts[cause] = (counts[cause] ?? 0) + 1
  return counts
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)
  const two = ground.redisUrl === null ? one : await startApp(t, ground)

  t.test('after a hundred failures in a row nobody gets in from a new network, and the owner does from his own', async t => {
    const [{ email, userId }, nobody] = [await one.account(), newEmail()]
    for (let i = 0; i < 100; i += 10) {
      const replies = [email, nobody].flatMap(account => Array.from({ length: 10 }, () => attempt(i % 20 === 0 ? one : two, account, { address: elsewhere() })))
      t.same(await statuses(replies), { 401: 20 }, `failures ${i + 1} to ${i + 10}`)
    }
    const refused = await attempt(one, email, { secret: password, address: elsewhere() })
    t.equal(limited(t, refused), blockedFor)
    t.equal(limited(t, await attempt(two, email, { address: elsewhere() })), blockedFor)
    const same = await attempt(one, nobody, { secret: password, address: elsewhere() })
    t.equal(limited(t, same), blockedFor)
    const headers = ({ headers }: Response) => Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'date'))
    t.same([same.body, headers(same)], [refused.body, headers(refused)], 'an account that does not exist answers the same bytes')

    t.same(tally(await events(one, userId)), { wrong_password: 100, too_many_failures: 1 }, 'and the attempts that were not looked at do not fill the trail')
    t.match((await events(one, userId)).at(-1), { user_agent: 'lightMyRequest', ip: /^10\./ })

    t.equal((await attempt(two, email, { secret: password })).statusCode, 200, 'the owner, from where the account was opened')
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401, 'and by that the failures are no longer in a row')
    t.equal((await attempt(one, email, { secret: password, address: elsewhere() })).statusCode, 200)
  })

  t.test('a success ends the row, wherever it came from', async t => {
    const { email } = await one.account()
    for (let round = 0; round < 3; round++) {
      await failures(one, email, 99)
      t.equal((await attempt(two, email, { secret: password, address: elsewhere() })).statusCode, 200)
    }
    await failures(one, email, 99)
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401)
    limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
  })

  t.test('a network that the account knows has a hundred of its own', async t => {
    const { email } = await one.account()
    const [home, work] = [elsewhere(), '2001:db8:77:1::1']
    for (const address of [home, work]) t.equal((await attempt(one, email, { secret: password, address })).statusCode, 200)
    await failures(one, email, 100)
    await failures(one, email, 100, home)
    limited(t, await attempt(one, email, { secret: password, address: home }))
    limited(t, await attempt(one, email, { secret: password, address: `::ffff:${home}` }))
    limited(t, await attempt(one, email, { secret: password, address: '2001:db8:77:2::1' }))
    t.equal((await attempt(two, email, { secret: password, address: '2001:db8:77:1:ffff::2' })).statusCode, 200, 'the /64 is what is known')
    limited(t, await attempt(one, email, { secret: password, address: home }))
    t.equal((await attempt(one, email, { secret: password, address: elsewhere() })).statusCode, 200, 'the account itself is free again')
  })

  t.test('the twenty networks seen last are known, as hashes', async t => {
    const { email, userId } = await one.account()
    const networks = Array.from({ length: 20 }, elsewhere)
    for (const address of [...networks, networks[0] as string]) {
      one.clock.advance(1)
      t.equal((await attempt(one, email, { secret: password, address })).statusCode, 200)
    }
    const known = () => rows<{ network: string }>(one, `select encode(network, 'hex') as network from known_networks where user_id = '${userId}'`)
    t.equal((await known()).length, 20)
    for (const { network } of await known()) t.match(network, /^[0-9a-f]{64}$/)
    await failures(one, email, 100)
    limited(t, await attempt(one, email, { secret: password }))
    t.equal((await attempt(one, email, { secret: password, address: networks[0] as string })).statusCode, 200)
    t.equal((await known()).length, 20)
  })

  t.test('the same network of two accounts has nothing in common', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    const hashes = await rows<{ network: string }>(one, `select encode(network, 'hex') as network from known_networks where user_id in ('${mine.userId}', '${theirs.userId}')`)
    t.equal(new Set(hashes.map(({ network }) => network)).size, 2)
    await failures(one, mine.email, 100)
    t.equal((await attempt(one, theirs.email, { secret: password, address: elsewhere() })).statusCode, 200)
  })

  t.test('whoever asks for the current password counts with the logins', async t => {
    const { email, token } = await one.account()
    const change = (currentPassword: string, remoteAddress: string) => one.app.inject({ method: 'PUT', url: '/v1/password', remoteAddress, headers: { authorization: `Bearer ${token}` }, payload: { currentPassword, newPassword: 'short' } })
    const make = (secret: string, remoteAddress: string) => two.app.inject({ method: 'POST', url: '/v1/tokens', remoteAddress, headers: { authorization: `Bearer ${token}` }, payload: { name: 'backup', password: secret } })
    await failures(one, email, 98)
    t.equal((await change(wrong, elsewhere())).statusCode, 403)
    t.equal((await make(wrong, elsewhere())).statusCode, 403)
    t.equal(limited(t, await change(password, elsewhere())), blockedFor)
    t.equal(limited(t, await make(password, elsewhere())), blockedFor)
    limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
    t.equal((await change(password, '127.0.0.1')).json().code, 'AUTH_PASSWORD_REJECTED', 'from the network of the session it goes on')
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401, 'and the right one ends the row')
    for (let i = 0; i < 101; i++) await make(password, '127.0.0.1')
    t.equal((await make(password, '127.0.0.1')).statusCode, 201, 'those that succeed do not count')
  })

  t.test('failures are recorded with their cause', async t => {
    const { email, userId } = await one.account()
    const nobody = (await events(one, null)).length
    await attempt(one, email, { address: '203.0.113.99' })
    await attempt(one, newEmail(), { address: '203.0.113.98' })
    await one.database.query(db => db.execute(sql`update users set disabled_at = now() where id = ${userId}`))
    for (const secret of [wrong, password]) t.equal((await attempt(one, email, { secret })).statusCode, 401)
    t.same((await events(one, userId)).map(({ cause, ip }) => `${cause} ${ip}`), ['wrong_password 203.0.113.99', 'wrong_password 127.0.0.1', 'disabled 127.0.0.1'])
    t.same((await events(one, null)).slice(nobody), [{ cause: 'unknown_account', ip: '203.0.113.98', user_agent: 'lightMyRequest' }])
  })

  t.test('an account that was forgiven is free from all networks', async t => {
    const { email } = await one.account()
    await failures(one, email, 100)
    await failures(one, email, 100, '127.0.0.1')
    limited(t, await attempt(one, email, { secret: password }))
    await one.database.transaction(tx => one.users.forgive(tx, email.toUpperCase()))
    t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401)
    t.equal((await attempt(one, email, { secret: password })).statusCode, 200)
  })

  t.test('counts that stand still are pruned after 90 days, but none that blocks', async t => {
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
    t.same((await rows<{ failures: number }>(one, 'select failures from login_failures order by failures')).map(({ failures }) => failures), [5, 100])
  })
})

t.test('of fifty attempts at once on the last of the hundred one is looked at', async t => {
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
  t.same(tally(await rows(one, "select cause from events where type = 'login_failed'")), { wrong_password: 2, unknown_account: 2, too_many_failures: 2 })
})

t.test('unknown, wrong and disabled cost the same statements', async t => {
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

t.test('logins, failures and forgiveness of one account do not hold each other up', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const [one, two] = [await startApp(t, ground, { env: { SESSION_LIMIT: '0' } }), await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })]
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
  const one = await startApp(t, ground, { env: strict })
  const { email } = await one.account()
  await failures(one, email, 99)
  t.equal((await attempt(one, email, { address: elsewhere() })).statusCode, 401)
  await one.redis?.flushall()
  limited(t, await attempt(one, email, { secret: password, address: elsewhere() }))
  await server.kill()
  t.equal(limited(t, await attempt(one, email, { secret: password, address: elsewhere() })), blockedFor)
  t.equal((await attempt(one, email, { secret: password })).statusCode, 200, 'and the owner is let in without it')
})

t.test('a limit that was lifted on one instance is lifted on the other', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground)
  const parts = { redis: one.redis, keyPrefix: ground.prefix }
  const [here, there] = [createLoginLimiter({ points: 2, seconds: 60 }, parts), createLoginLimiter({ points: 2, seconds: 60 }, parts)]
  for (let i = 0; i < 2; i++) await here.consume('a@example.com', '192.0.2.1')
  for (let i = 0; i < 3; i++) await t.rejects(there.consume('a@example.com', '192.0.2.1'), { code: 'AUTH_RATE_LIMITED' })
  await here.clear('a@example.com', '192.0.2.1')
  for (let i = 0; i < 2; i++) await there.consume('a@example.com', '192.0.2.1')
  await t.rejects(here.consume('a@example.com', '192.0.2.1'), { code: 'AUTH_RATE_LIMITED' })
})

t.test('what a process counts by itself has a bound, and the oldest window goes first', async t => {
  const counter = new ProcessCounter({ points: 1, duration: 60 }, 3)
  const consumes = (key: string) => counter.consume(key).then(() => true, () => false)
  t.same([await consumes('a'), await consumes('b'), await consumes('c')], [true, true, true])
  t.same([await consumes('a'), await consumes('b'), await consumes('c')], [false, false, false], 'full, and nothing is forgotten')
  t.equal(await consumes('d'), true)
  t.same([await consumes('b'), await consumes('c'), await consumes('d')], [false, false, false])
  t.equal(await counter.get('a'), null, 'the first is')
  await counter.delete('b')
  t.same([await consumes('e'), await consumes('c'), await consumes('d')], [true, false, false], 'what was cleared makes room')

  const quick = new ProcessCounter({ points: 1, duration: 1 }, 2)
  await quick.consume('a')
  await delay(500)
  await quick.consume('b')
  await delay(600)
  await quick.consume('a')
  await quick.consume('c')
  t.equal(await quick.get('b'), null, 'b ends before the second window of a')
  t.not(await quick.get('a'), null)
})

t.test('behind a proxy in TRUST_PROXY the address it reports is the one that counts', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { ...strict, TRUST_PROXY: '127.0.0.1, 10.0.0.0/8' } })
  const { email } = await one.account()
  for (let i = 0; i < 5; i++) t.equal((await attempt(one, email, { forwarded: '203.0.113.1' })).statusCode, 401)
  limited(t, await attempt(one, email, { forwarded: '203.0.113.1' }))
  limited(t, await attempt(one, email, { forwarded: '::ffff:203.0.113.1' }))
  limited(t, await attempt(one, email, { forwarded: '198.51.100.66, 203.0.113.1' }))
  limited(t, await attempt(one, email, { forwarded: '198.51.100.67, 203.0.113.1, 10.2.3.4' }))
  limited(t, await attempt(one, email, { address: '203.0.113.1', forwarded: '198.51.100.68' }))
  t.equal((await attempt(one, email, { forwarded: '203.0.113.2' })).statusCode, 401, 'another client of the proxy')
  t.equal((await attempt(one, email, { forwarded: '203.0.113.1, 203.0.113.3' })).statusCode, 401, 'what a client claims to have come through does not count')
})

t.test('keys of the limits in Redis name no account', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: { ...strict, ADDRESS_LIMIT: '1000/1m' } })
  const { email } = await one.account()
  await attempt(one, email)
  await attempt(one, 'somebody-else@example.com')
  const keys = await one.redis?.keys(`${ground.prefix}limit:*`) ?? []
  t.ok(keys.length >= 3, keys.join(' '))
  for (const key of keys) {
    t.notMatch(key, /@|example|somebody/)
    t.notOk(key.includes(email.split('@')[0] as string))
    t.match(await one.redis?.get(key), /^\d+$/)
    t.ok((await one.redis?.pttl(key) ?? -1) > 0, 'it ends by itself')
  }
})

t.test('without its Redis the limit goes on in memory', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary')
  for (const [name, signal] of [['killed', 'SIGKILL'], ['frozen', 'SIGSTOP']] as const) {
    t.test(`when it is ${name}`, async t => {
      const server = await startRedis()
      t.teardown(() => server.kill())
      const ground = await serverGround(t, { redisUrl: server.url })
      if (ground === null) return
      const one = await startApp(t, ground, { env: { ...strict, ADDRESS_LIMIT: '40/1m' } })
      const { email } = await one.account()
      t.equal((await attempt(one, email)).statusCode, 401)
      if (signal === 'SIGSTOP') process.kill(server.pid, signal)
      else await server.kill(signal)

      const counts = await statuses(Array.from({ length: 20 }, () => attempt(one, email)))
      t.same(counts, { 401: 5, 429: 15 }, 'counted from now on, never open and never an error')
      limited(t, await attempt(one, email, { secret: password }))
      const other = newEmail()
      t.same(await statuses(Array.from({ length: 60 }, (_, i) => attempt(one, `${i}${other}`))), { 401: 19, 429: 41 }, 'and so is the limit of an address')
      t.notOk(one.log.some(line => /"level":(50|60)/.test(line)))
    })
  }

  t.test('when it dies while fifty attempts are under way', async t => {
    const server = await startRedis()
    t.teardown(() => server.kill())
    const ground = await serverGround(t, { redisUrl: server.url })
    if (ground === null) return
    const one = await startApp(t, ground, { env: strict })
    const { email } = await one.account()
    const replies = Array.from({ length: 50 }, async (_, i) => {
      await delay(i)
      return await attempt(one, email)
    })
    await delay(20)
    await server.kill()
    const { 401: looked = 0, 429: refused = 0, ...other } = await statuses(replies)
    t.same(other, {}, 'no error')
    t.equal(looked + refused, 50)
    t.ok(looked >= 5 && looked <= 10, `${looked} were looked at: five by each counter`)
  })

  t.test('when there was none at the start', async t => {
    const ground = await serverGround(t, { redisUrl: 'redis://127.0.0.1:1' })
    if (ground === null) return
    const one = await startApp(t, ground, { env: strict })
    const { email } = await one.account()
    t.same(await statuses(Array.from({ length: 20 }, () => attempt(one, email))), { 401: 5, 429: 15 })
  })
})

t.test('a network is an IPv4 address or the /64 of an IPv6 one, however it is written', async t => {
  t.equal(networkOf('192.0.2.1'), '192.0.2.1')
  for (const form of ['::ffff:192.0.2.1', '::FFFF:192.0.2.1', '::ffff:c000:201', '0:0:0:0:0:ffff:192.0.2.1', '0000:0000:0000:0000:0000:FFFF:C000:0201']) t.equal(networkOf(form), '192.0.2.1', form)
  for (const form of ['2001:db8:0:1::1', '2001:DB8:0:1:ffff:ffff:ffff:ffff', '2001:0db8:0000:0001::', '2001:db8::1:0:0:0:9', '2001:db8:0:1::192.0.2.1', '2001:db8:0:1::1%eth0']) t.equal(networkOf(form), '2001:db8:0:1::/64', form)
  t.equal(networkOf('::1'), '0:0:0:0::/64')
  t.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
  t.not(networkOf('2001:db8:0:2::1'), networkOf('2001:db8:0:1::1'))
  t.not(networkOf('::192.0.2.1'), '192.0.2.1', 'not mapped, only alike')
  t.not(networkOf('64:ff9b::192.0.2.1'), '192.0.2.1')
})

t.test('more passwords than can be hashed soon are answered 503, and who has a token waits for none of it', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { BCRYPT_COST: '9' } })
  const { token } = await one.account()
  const idle = await medianOfMe(one, token, 15)
  const workers = Math.max(1, availableParallelism() - 1)

  const flood = Array.from({ length: workers * 65 + 40 }, () => attempt(one, newEmail()))
  const busy = await medianOfMe(one, token, 15)
  const replies = await Promise.all(flood)

  const refused = replies.filter(reply => reply.statusCode === 503)
  t.ok(refused.length >= 10, `${refused.length} of ${flood.length} refused`)
  t.equal(replies.filter(reply => reply.statusCode === 401).length, flood.length - refused.length)
  for (const reply of refused) {
    t.match(reply.headers['retry-after'], /^[1-9]\d*$/)
    t.equal(reply.json().code, 'AUTH_UNAVAILABLE')
  }
  t.ok(busy < Math.max(20 * idle, 50), `${busy.toFixed(1)} ms in the flood, ${idle.toFixed(1)} ms before`)
  t.equal((await attempt(one, newEmail())).statusCode, 401, 'and afterwards all is well')
})

async function medianOfMe (one: TestApp, token: string, times: number): Promise<number> {
  const took: number[] = []
  for (let i = 0; i < times; i++) {
    const startedAt = performance.now()
    if ((await one.me(token)).statusCode !== 200) throw new Error('refused')
    took.push(performance.now() - startedAt)
    await delay(5)
  }
  return took.sort((a, b) => a - b)[times >> 1] as number
}
