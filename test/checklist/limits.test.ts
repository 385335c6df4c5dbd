import { randomBytes } from 'node:crypto'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createPostgres } from '../../src/database/postgres.js'
import { newEmail, password, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { holdUser } from '../fixtures/locks.js'
import { median } from '../fixtures/ranks.js'
import { refusedAs } from '../fixtures/refused.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

const wrong = 'not the password'
const five = { LOGIN_LIMIT: '5/1m' }

function attempt (
  app: TestApp,
  email: string,
  { secret = wrong, from = '127.0.0.1', headers = {} }: { secret?: string, from?: string, headers?: Record<string, string> } = {}
): Promise<Response> {
  return app.app.inject({ method: 'POST', url: '/v1/login', remoteAddress: from, payload: { email, password: secret }, headers })
}

const limited = (t: Test, reply: Response, name?: string) => refusedAs(t, reply, 429, 'AUTH_RATE_LIMITED', name)

async function statuses (replies: Array<Promise<Response>>): Promise<Record<number, number>> {
  const counts: Record<number, number> = {}
  for (const { statusCode } of await Promise.all(replies)) counts[statusCode] = (counts[statusCode] ?? 0) + 1
  return counts
}

t.test('limits', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: five })
  const two = await startApp(t, ground, { env: five })

  t.test('V6.3.1, V6.1.1 the sixth attempt in the minute is 429, and during the attack the victim still logs in from another address', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 5; i++) refusedAs(
      t,
      await attempt(i % 2 === 0 ? one : two, email, { from: '203.0.113.7' }),
      401,
      'AUTH_INVALID_CREDENTIALS'
    )
    for (const secret of [wrong, password]) limited(t, await attempt(two, email, { from: '203.0.113.7', secret }))
    for (let i = 0; i < 30; i++) {
      const attack = attempt(i % 2 === 0 ? one : two, email, { from: '203.0.113.7' })
      if (i % 10 === 0) t.equal((await attempt(one, email, { from: '198.51.100.1', secret: password })).statusCode, 200, 'the victim')
      limited(t, await attack)
    }
  })

  t.test('V4.1.3 X-Forwarded-For rotation, and that of its kin, is still 429 without TRUST_PROXY', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 12; i++) {
      const address = `10.0.${i}.${i}`
      const reply = await attempt(
        one,
        email,
        {
          headers: {
            'x-forwarded-for': address,
            'x-real-ip': address,
            forwarded: `for=${address}`,
            'x-client-ip': address,
            'cf-connecting-ip': address,
            'true-client-ip': address,
            'x-forwarded-host': `${i}.example`
          }
        }
      )
      if (i < 5) t.equal(reply.statusCode, 401)
      else limited(t, reply, address)
    }
  })

  t.test('V6.3.1 IPv6 rotation in a /64 counts as one address, and ::ffff: forms as the IPv4 address they are', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 5; i++) t.equal(
      (await attempt(one, email, { from: `2001:db8:1:2:${randomBytes(2).toString('hex')}::${i + 1}` })).statusCode,
      401
    )
    for (const from of [
      '2001:db8:1:2::',
      '2001:DB8:1:2:ffff:ffff:ffff:ffff',
      '2001:0db8:0001:0002::7%eth0'
    ]) limited(t, await attempt(two, email, { from }), from)
    t.equal((await attempt(one, email, { from: '2001:db8:1:3::1' })).statusCode, 401, 'the next /64 is another')
    const mapped = (await one.account()).email
    for (const from of [
      '192.0.2.9',
      '::ffff:192.0.2.9',
      '::FFFF:c000:209',
      '0:0:0:0:0:ffff:192.0.2.9',
      '192.0.2.9'
    ]) t.equal((await attempt(one, mapped, { from })).statusCode, 401, from)
    for (const from of ['192.0.2.9', '::ffff:192.0.2.9', '::ffff:c000:209']) limited(t, await attempt(one, mapped, { from }), from)
  })

  t.test('V6.3.1, V2.3.3 of 50 parallel logins against the limit five get through', async t => {
    const { email } = await one.account()
    t.same(await statuses(Array.from({ length: 50 }, (_, i) => attempt(i % 2 === 0 ? one : two, email))), { 401: 5, 429: 45 })
  })

  t.test('V6.3.1 e-mail case, space and Unicode variants count against the account limit as one', async t => {
    const local = `user${randomBytes(4).toString('hex')}`
    await one.register(`${local}@example.com`)
    const wide = [...local].map(letter => String.fromCodePoint(letter.charCodeAt(0) + 0xfee0)).join('')
    for (const variant of [
      `${local}@example.com`,
      `${local.toUpperCase()}@example.com`,
      `${wide}@EXAMPLE.com`,
      `${local}@ｅｘａｍｐｌｅ.com`,
      `${wide.toUpperCase()}@example．com`
    ]) t.equal((await attempt(one, variant)).statusCode, 401, variant)
    for (const variant of [
      `${local}@example.com`,
      `${local}@Example.Com`,
      `${wide}@example.com`
    ]) limited(t, await attempt(two, variant, { secret: password }), variant)
    for (const spaced of [
      ` ${local}@example.com`,
      `${local}@example.com `,
      `${local}\u00a0@example.com`,
      `\t${local}@example.com`
    ]) refusedAs(t, await attempt(one, spaced, { secret: password }), 400, 'FST_ERR_VALIDATION', JSON.stringify(spaced))
  })

  t.test('V13.2.6 an exhausted pool answers 503 with Retry-After, hangs nobody, and recovers', async t => {
    const small = await startApp(
      t,
      { ...ground, database: async () => createPostgres(ground.databaseUrl as string, 2) },
      { env: { SESSION_LIMIT: '0' } }
    )
    const [stuck, stuckToo, other] = [await small.account(), await small.account(), await small.account()]
    await small.me(other.token)
    const [row, rowToo] = [await holdUser(t, ground, stuck.userId), await holdUser(t, ground, stuckToo.userId)]
    const waiting = [small.logout(stuck.token), small.logout(stuckToo.token)]
    await row.waiters(2)
    const crowd = Array.from({ length: 150 }, () => small.call('GET', '/v1/sessions', { token: other.token }))
    const first = await Promise.race([...crowd, ...waiting.map(reply => reply.then(() => null))])
    if (first === null) return t.fail('the crowd waited for as long as those whose row is held')
    refusedAs(t, first, 503, 'AUTH_UNAVAILABLE', 'past the queue the answer is there at once')
    const replies = await Promise.race([Promise.all([...crowd, ...waiting]), delay(60_000, [], { ref: false })])
    t.equal(replies.length, 152, 'all are answered')
    for (const reply of replies) t.ok([200, 204, 503].includes(reply.statusCode), String(reply.statusCode))
    t.ok(replies.filter(({ statusCode }) => statusCode === 503).length >= 50)
    await row.release()
    await rowToo.release()
    t.equal((await small.call('GET', '/v1/sessions', { token: other.token })).statusCode, 200, 'and afterwards all is well')
    t.equal((await small.logout(stuck.token)).statusCode, 204)
  })
})

t.test('V15.2.2 expensive work is bounded: 500 parallel logins leave the authenticated calls quick', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: { BCRYPT_COST: '8' } })
  const { token } = await one.account()
  let unanswered = 0
  const timed = async (ask: () => Promise<Response>) => {
    const startedAt = performance.now()
    const reply = await ask()
    if (reply.statusCode === 503) unanswered++
    else if (reply.statusCode !== 200) throw new Error(`${reply.statusCode} ${reply.body}`)
    return performance.now() - startedAt
  }
  const me = () => timed(() => one.me(token))
  /** As little as can be that asks Redis and answers a request: what this takes, the machine takes. */
  const least = () => timed(async () => {
    await one.redis?.get(ground.prefix)
    return await one.call('GET', '/health/live')
  })
  for (let i = 0; i < 50; i++) await Promise.all([me(), least()])

  const flood: Array<Promise<Response>> = []
  const readers: number[] = []
  const others: number[] = []
  let over = false
  // As sockets would deliver them: some in each turn of the event loop.
  while (flood.length < 500) {
    flood.push(...Array.from({ length: 25 }, () => attempt(one, newEmail())))
    await turn()
  }
  const logins = Promise.all(flood).then(replies => { over = true; return replies })
  while (!over) {
    readers.push(await me())
    others.push(await least())
  }
  const replies = await logins
  t.strictSame(
    replies.filter(({ statusCode }) => statusCode !== 401 && statusCode !== 503).map(({ statusCode, body }) => `${statusCode} ${body}`),
    [],
    `each is answered${one.log.filter(line => /"level":50/.test(line)).map(line => `\n${line}`).join('')}`
  )
  t.ok(replies.some(({ statusCode }) => statusCode === 503), 'what cannot be hashed soon is not queued')
  t.ok(unanswered <= readers.length / 10, `${unanswered} of ${readers.length} calls with a token were asked to come back`)
  const p99 = (times: number[]) => [...times].sort((a, b) => a - b)[Math.floor((times.length - 1) * 0.99)] as number
  t.comment(
    `p99 ${p99(readers)
      .toFixed(1)} ms, the least ${p99(others)
        .toFixed(1)} ms (${readers.length} calls); medians ${median(readers).toFixed(1)} and ${median(others).toFixed(1)}`
  )
  t.ok(readers.length >= 50, `${readers.length} calls meanwhile`)
  t.ok(median(readers) <= 5 * median(others), 'the median is within five times of the least')
  t.ok(p99(readers) <= Math.max(5 * p99(others), 60), 'and p99, or what a busy machine does to it')
})

t.test('V16.5 nothing fails open: the limiter with Redis dead, and authentication too', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary')
  for (const how of ['killed', 'frozen'] as const) {
    await t.test(`V16.5 the limiter with Redis dead: ${how}`, async t => {
      const server = await startRedis()
      t.teardown(() => server.kill())
      const ground = await serverGround(t, { redisUrl: server.url })
      if (ground === null) return
      const one = await startApp(t, ground, { env: { ...five, ADDRESS_LIMIT: '40/1m' } })
      const [live, ended] = [await one.account(), await one.account()]
      await one.me(ended.token)
      t.equal((await one.logout(ended.token)).statusCode, 204)
      if (how === 'killed') await server.kill()
      else process.kill(server.pid, 'SIGSTOP')
      t.same(
        await statuses(Array.from({ length: 30 }, () => attempt(one, live.email))),
        { 401: 5, 429: 25 },
        'never open, and never an error'
      )
      limited(t, await attempt(one, live.email, { secret: password }))
      t.same(
        await statuses(Array.from({ length: 60 }, () => attempt(one, newEmail(), { from: '198.51.100.4' }))),
        { 401: 40, 429: 20 },
        'the limit of an address'
      )
      t.equal((await one.me(live.token)).statusCode, 200, 'a live token is live')
      for (const token of [ended.token, 'x', `lk_${'A'.repeat(50)}`]) refusedAs(t, await one.me(token), 401, 'AUTH_INVALID_TOKEN')
      t.equal((await one.logout(live.token)).statusCode, 204)
      refusedAs(t, await one.me(live.token), 401, 'AUTH_INVALID_TOKEN', 'and is revoked without Redis')
      t.same(one.log.filter(line => /"level":(50|60)/.test(line)), [])
    })
  }
})

t.test('floods', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary')
  const server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0', LOG_LEVEL: 'warn' } })
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const memory = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])

  t.test('V15.2.2 a flood of made-up tokens takes no Redis memory and no database pool', async t => {
    const before = [await redis.dbsize(), one.counters.databaseReads]
    const used = await memory()
    for (let round = 0; round < 50; round++) {
      const replies = await Promise.all(Array.from(
        { length: 100 },
        (_, i) => one.me(`${['lk', 'lkr', 'lkp'][i % 3]}_${randomBytes(40).toString('base64url').replace(/[-_]/g, 'x').slice(0, 50)}`)
      ))
      if (replies.some(({ statusCode }) => statusCode !== 401)) t.fail('one was let in')
    }
    t.strictSame([await redis.dbsize(), one.counters.databaseReads], before)
    t.ok(await memory() - used < 2 << 20, `${await memory() - used} bytes`)
  })

  t.test('V15.2.2 a flood of revoked ones takes one key each for a while, and one read of the database at most', async t => {
    const ended = await Promise.all(Array.from({ length: 20 }, () => one.account()))
    for (const { token } of ended) await one.me(token)
    for (const { token } of ended) t.equal((await one.logout(token)).statusCode, 204)
    const [keys, reads] = [await redis.dbsize(), one.counters.databaseReads]
    for (let round = 0; round < 25; round++) {
      const replies = await Promise.all(ended.flatMap(({ token }) => Array.from({ length: 10 }, () => one.me(token))))
      if (replies.some(({ statusCode }) => statusCode !== 401)) t.fail('one was let in')
    }
    t.ok(await redis.dbsize() <= keys, 'no key more')
    t.ok(one.counters.databaseReads - reads <= ended.length, `${one.counters.databaseReads - reads} reads for 5,000 requests`)
    for await (const found of redis.scanStream({ match: '*token:*' })) for (const key of found as string[]) t.ok(
      await redis.pttl(key) > 0,
      'each ends by itself'
    )
  })
})
