import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { createLoginLimiter } from '../../src/attempts/login-limiter.js'
import { ProcessCounter } from '../../src/redis/counter.js'
import { createNetworkMatcher, isNetwork, networkOf } from '../../src/shared/address.js'
import {
  becomesTrue,
  embeddedGround,
  type Ground,
  newEmail,
  onEachGround,
  password,
  patienceMs,
  serverGround,
  skipMissing,
  startApp
} from '../fixtures/app.js'
import { attempt, limited, statuses, wrong } from '../fixtures/attempts.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

const strict = { LOGIN_LIMIT: '5/1m' }

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: strict })
  const two = ground.redisUrl === null ? one : await startApp(t, ground, { env: strict })

  /** For additional apps: on the embedded database, without a cache of their own, which two processes never share. */
  const beside: Ground = ground.redisUrl !== null
    ? ground
    : { ...ground, database: async () => ({ ...one.database, embedded: false, close: async () => {} }) }

  t.test('the sixth attempt in a minute is refused on every instance, even with the right password', async t => {
    const { email } = await one.account()
    const startedAt = performance.now()
    for (let i = 0; i < 5; i++) t.equal((await attempt(i % 2 === 0 ? one : two, email)).statusCode, 401)
    const seconds = limited(t, await attempt(one, email))
    const passed = (performance.now() - startedAt) / 1000
    t.ok(seconds > 59 - passed && seconds <= 60, `${seconds} s, ${passed.toFixed(1)} s later`)
    limited(t, await attempt(one, email, { secret: password }))
    limited(t, await attempt(two, email, { secret: password }))
  })

  t.test('attempts are allowed again when the window ends, however many were made meanwhile', async t => {
    const quick = await startApp(t, beside, { env: { LOGIN_LIMIT: '2/2s' } })
    const { email } = await quick.account()
    const replies = await Promise.all([1, 2, 3].map(() => attempt(quick, email)))
    t.equal(replies.filter(({ statusCode }) => statusCode === 401).length, 2)
    for (const reply of replies) if (reply.statusCode !== 401) t.ok(limited(t, reply) <= 2)
    t.ok(await becomesTrue(async () => {
      await delay(50)
      return (await attempt(quick, email, { secret: password })).statusCode === 200
    }, patienceMs))
  })

  t.test('a successful login resets the count', async t => {
    const { email } = await one.account()
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) t.equal((await attempt(one, email)).statusCode, 401)
      t.equal((await attempt(two, email, { secret: password })).statusCode, 200)
    }
  })

  t.test('password changes and logins share one count', async t => {
    const { email, token } = await one.account()
    const change = (currentPassword: string) =>
      two.call('PUT', '/v1/password', { token, body: { currentPassword, newPassword: 'another long password' } })
    for (let i = 0; i < 3; i++) t.equal((await change(wrong)).statusCode, 403)
    for (let i = 0; i < 2; i++) t.equal((await attempt(one, email)).statusCode, 401)
    limited(t, await change(password))
    limited(t, await attempt(one, email, { secret: password }))
    t.equal((await one.me(token)).statusCode, 200, 'the session itself is unharmed')
  })

  t.test('a successful password change resets the count', async t => {
    const { email, token } = await one.account()
    for (let i = 0; i < 4; i++) t.equal((await attempt(one, email)).statusCode, 401)
    t.equal(
      (await one.call(
        'PUT',
        '/v1/password',
        { token, body: { currentPassword: password, newPassword: 'another long password' } }
      )).statusCode,
      200
    )
    for (let i = 0; i < 4; i++) t.equal((await attempt(one, email)).statusCode, 401)
    t.equal((await attempt(one, email, { secret: 'another long password' })).statusCode, 200)
  })

  t.test('of fifty concurrent attempts, five get through', async t => {
    const { email } = await one.account()
    t.same(await statuses(Array.from({ length: 50 }, (_, i) => attempt(i % 2 === 0 ? one : two, email))), { 401: 5, 429: 45 })
  })

  t.test('all spellings of an email count as one account', async t => {
    const { email } = await one.account()
    const wide = email.replace(/^user/, 'ｕｓｅｒ')
    for (const spelling of [
      email,
      email.toUpperCase(),
      wide,
      wide.toUpperCase(),
      email.replace('example', 'Example')
    ]) t.equal((await attempt(one, spelling)).statusCode, 401, spelling)
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

  t.test('X-Forwarded-For and similar headers change nothing without TRUST_PROXY', async t => {
    const { email } = await one.account()
    const names = ['x-forwarded-for', 'x-real-ip', 'forwarded', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip']
    for (let i = 0; i < 8; i++) {
      const headers = Object.fromEntries(names.map(name => [name, name === 'forwarded' ? `for=10.0.0.${i}` : `10.0.0.${i}`]))
      const reply = await one.app.inject({ method: 'POST', url: '/v1/login', payload: { email, password: wrong }, headers })
      if (i < 5) t.equal(reply.statusCode, 401)
      else limited(t, reply)
    }
  })

  t.test('addresses in one IPv6 /64 count as one', async t => {
    const { email } = await one.account()
    for (let i = 0; i < 5; i++) t.equal((await attempt(one, email, { address: `2001:db8:0:1:${i}::${i}` })).statusCode, 401)
    limited(t, await attempt(one, email, { address: '2001:db8:0:1:ffff:ffff:ffff:ffff' }))
    t.equal((await attempt(one, email, { address: '2001:db8:0:2::1' })).statusCode, 401)
  })

  t.test('ADDRESS_LIMIT counts register and login together, and nothing else', async t => {
    const coarse = await startApp(
      t,
      { ...beside, prefix: `${ground.prefix}${randomBytes(3).toString('hex')}:` },
      { env: { ADDRESS_LIMIT: '6/1m' } }
    )
    const { email, token } = await coarse.account()
    for (let i = 0; i < 3; i++) t.equal((await attempt(coarse, newEmail())).statusCode, 401)
    t.equal((await coarse.register('no email')).statusCode, 400, 'a refused request counts too')
    t.equal((await coarse.register()).statusCode, 201)
    limited(t, await coarse.register())
    limited(t, await attempt(coarse, email, { secret: password }))
    limited(t, await attempt(coarse, email, { secret: password, forwarded: '10.1.1.1' }))
    t.equal((await coarse.me(token)).statusCode, 200, 'a caller with a token is not limited')
    t.equal((await coarse.call('GET', '/health/ready')).statusCode, 200)
    t.equal((await attempt(coarse, email, { secret: password, address: '198.51.100.9' })).statusCode, 200, 'another address too')
  })

  t.test('ADDRESS_LIMIT 0 means no limit', async t => {
    const open = await startApp(t, beside, { env: { ADDRESS_LIMIT: '0' } })
    t.same(await statuses(Array.from({ length: 60 }, () => attempt(open, newEmail()))), { 401: 60 })
  })

  t.test('once an address is over its limit, not even the body is read', async t => {
    const coarse = await startApp(
      t,
      { ...beside, prefix: `${ground.prefix}${randomBytes(3).toString('hex')}:` },
      { env: { ADDRESS_LIMIT: '1/1m' } }
    )
    await attempt(coarse, newEmail())
    limited(
      t,
      await coarse.app.inject({
        method: 'POST',
        url: '/v1/login',
        payload: 'x'.repeat(1_000_000),
        headers: { 'content-type': 'text/plain' }
      })
    )
  })
})

t.test('a limit lifted on one instance is lifted on the other', async t => {
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

t.test('what a process counts by itself is bounded, and the oldest window is dropped first', async t => {
  const counter = new ProcessCounter({ points: 1, duration: 60 }, 3)
  const consumes = (key: string) => counter.consume(key).then(() => true, () => false)
  t.same([await consumes('a'), await consumes('b'), await consumes('c')], [true, true, true])
  t.same([await consumes('a'), await consumes('b'), await consumes('c')], [false, false, false], 'full, and nothing is forgotten')
  t.equal(await consumes('d'), true)
  t.same([await consumes('b'), await consumes('c'), await consumes('d')], [false, false, false])
  t.equal(await counter.get('a'), null, 'the first one is forgotten')
  await counter.delete('b')
  t.same([await consumes('e'), await consumes('c'), await consumes('d')], [true, false, false], 'a cleared count makes room')

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

t.test('behind a proxy in TRUST_PROXY, the address that the proxy reports is counted', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { ...strict, TRUST_PROXY: '127.0.0.1, 10.0.0.0/8' } })
  const { email } = await one.account()
  for (let i = 0; i < 5; i++) t.equal((await attempt(one, email, { forwarded: '203.0.113.1' })).statusCode, 401)
  limited(t, await attempt(one, email, { forwarded: '203.0.113.1' }))
  limited(t, await attempt(one, email, { forwarded: '::ffff:203.0.113.1' }))
  limited(t, await attempt(one, email, { forwarded: '198.51.100.66, 203.0.113.1' }))
  limited(t, await attempt(one, email, { forwarded: '198.51.100.67, 203.0.113.1, 10.2.3.4' }))
  limited(t, await attempt(one, email, { address: '203.0.113.1', forwarded: '198.51.100.68' }))
  t.equal((await attempt(one, email, { forwarded: '203.0.113.2' })).statusCode, 401, 'another client of the proxy')
  t.equal(
    (await attempt(one, email, { forwarded: '203.0.113.1, 203.0.113.3' })).statusCode,
    401,
    'what a client claims to have come through does not count'
  )
})

t.test('an address that a proxy reports with a port, in brackets or malformed still counts as one client', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { ...strict, TRUST_PROXY: '127.0.0.1, 10.0.0.0/8' } })
  const tries = async (forwarded: (i: number) => string) => {
    const { email } = await one.account()
    return await statuses(Array.from({ length: 12 }, (_, i) => attempt(one, email, { forwarded: forwarded(i) })))
  }
  for (const [name, forwarded] of [
    ['IPv4 with a port, as Azure Application Gateway sends it', i => `198.51.100.34:${50_000 + i}`],
    ['IPv6 with a port', i => `[2001:db8::${i + 1}]:${50_000 + i}`],
    ['IPv6 in brackets', i => `[2001:db8:0:0:${i}::]`],
    ['a proxy in the chain with a port', i => `198.51.100.35:${i}, 10.1.2.3:${40_000 + i}`],
    [
      'no address',
      i =>
        [
          'unknown',
          '_hidden',
          'a.b.c.d',
          '1',
          '0x7f.1',
          '[198.51.100.7',
          '198.51.100.7:',
          '300.1.1.1:80',
          '2001:db8::1:',
          ':80',
          '"198.51.100.7"',
          'localhost'
        ][i] as string
    ]
  ] satisfies Array<[string, (i: number) => string]>) t.same(await tries(forwarded), { 401: 5, 429: 7 }, name)

  const coarse = await startApp(t, await embeddedGround(), { env: { TRUST_PROXY: '127.0.0.1', ADDRESS_LIMIT: '3/1m' } })
  t.same(
    await statuses(Array.from({ length: 9 }, (_, i) => attempt(coarse, newEmail(), { forwarded: `198.51.100.34:${i + 1}` }))),
    { 401: 3, 429: 6 }
  )
  t.equal((await attempt(coarse, newEmail(), { forwarded: '198.51.100.36:1' })).statusCode, 401, 'another client')

  const { email } = await one.account()
  await one.app.inject({
    method: 'POST',
    url: '/v1/login',
    payload: { email, password },
    headers: { 'x-forwarded-for': '198.51.100.34:50001' }
  })
  t.ok(one.log.some(line => line.includes('"remoteAddress":"198.51.100.34"')), 'the log has it without the port')
  const events = await one.call('GET', '/v1/events', { token: (await one.login(email)).json().accessToken })
  t.same(
    [...new Set(events.json<{ events: Array<{ ip: string }> }>().events.map(({ ip }) => ip))].sort(),
    ['127.0.0.1', '198.51.100.34'],
    'and so has the trail'
  )
})

t.test('the keys of the limits in Redis reveal no account', async t => {
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

t.test('without Redis the limit continues in memory', async t => {
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
      t.same(counts, { 401: 5, 429: 15 }, 'counted from now on: never unlimited, never an error')
      limited(t, await attempt(one, email, { secret: password }))
      const other = newEmail()
      t.same(
        await statuses(Array.from({ length: 60 }, (_, i) => attempt(one, `${i}${other}`))),
        { 401: 19, 429: 41 },
        'and so is the limit of an address'
      )
      t.notOk(one.log.some(line => /"level":(50|60)/.test(line)))
    })
  }

  t.test('when it dies during fifty attempts', async t => {
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

t.test('a network is an IPv4 address or the /64 of an IPv6 address, however it is written', async t => {
  t.equal(networkOf('192.0.2.1'), '192.0.2.1')
  for (const form of [
    '::ffff:192.0.2.1',
    '::FFFF:192.0.2.1',
    '::ffff:c000:201',
    '0:0:0:0:0:ffff:192.0.2.1',
    '0000:0000:0000:0000:0000:FFFF:C000:0201'
  ]) t.equal(networkOf(form), '192.0.2.1', form)
  for (const form of [
    '2001:db8:0:1::1',
    '2001:DB8:0:1:ffff:ffff:ffff:ffff',
    '2001:0db8:0000:0001::',
    '2001:db8::1:0:0:0:9',
    '2001:db8:0:1::192.0.2.1',
    '2001:db8:0:1::1%eth0'
  ]) t.equal(networkOf(form), '2001:db8:0:1::/64', form)
  t.equal(networkOf('::1'), '0:0:0:0::/64')
  t.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
  t.not(networkOf('2001:db8:0:2::1'), networkOf('2001:db8:0:1::1'))
  t.not(networkOf('::192.0.2.1'), '192.0.2.1', 'only looks like a mapped address')
  t.not(networkOf('64:ff9b::192.0.2.1'), '192.0.2.1')
})

t.test('TRUST_PROXY accepts addresses and CIDRs of both families, and IPv4 in IPv6', async t => {
  const trusted = createNetworkMatcher(['192.0.2.1', '10.0.0.0/8', '2001:db8::/32', '::1', '::ffff:172.16.0.0/108'])
  for (const inside of [
    '192.0.2.1',
    '10.255.0.1:443',
    '::ffff:10.0.0.1',
    '2001:db8:ffff::1',
    '[2001:db8::1]:8080',
    '::1',
    '0:0:0:0:0:0:0:1',
    '172.31.255.255'
  ]) t.ok(trusted(inside), inside)
  for (const outside of [
    '192.0.2.2',
    '11.0.0.1',
    '2001:db9::1',
    '::2',
    '172.32.0.1',
    '',
    'unknown',
    '10',
    '10.0.0.0/8',
    '::10.0.0.1'
  ]) t.notOk(trusted(outside), outside)
  for (const network of ['192.0.2.1', '10.0.0.0/8', '::1', '2001:db8::/32', '::/1', '192.0.2.1/32']) t.ok(isNetwork(network), network)
  for (const wrong of [
    '',
    '10',
    '10.0.0/8',
    '10.0.0.0/0',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    '::/129',
    '::/0',
    'fe80::1%eth0',
    'localhost',
    '010.0.0.1'
  ]) t.notOk(isNetwork(wrong), wrong)
})

t.test('passwords that cannot be hashed soon are answered with 503, and callers with a token wait for none of them', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { BCRYPT_COST: '9' } })
  const { token } = await one.account()
  let answered = 0
  const flood = Array.from({ length: availableParallelism() * 65 + 200 }, async () => {
    const reply = await attempt(one, newEmail())
    answered++
    return reply
  })
  for (let i = 0; i < 15; i++) {
    t.equal((await one.me(token)).statusCode, 200)
    await delay(5)
  }
  t.ok(answered < flood.length, `${answered} of ${flood.length} passwords were seen to before 15 who have a token`)
  const replies = await Promise.all(flood)

  const refused = replies.filter(reply => reply.statusCode === 503)
  t.ok(refused.length >= 10, `${refused.length} of ${flood.length} refused`)
  t.equal(replies.filter(reply => reply.statusCode === 401).length, flood.length - refused.length)
  for (const reply of refused) {
    t.match(reply.headers['retry-after'], /^[1-9]\d*$/)
    t.equal(reply.json().code, 'AUTH_UNAVAILABLE')
  }
  t.equal((await attempt(one, newEmail())).statusCode, 401, 'afterwards it works again')
})

t.test('a success resets the count in Redis and the one that the process kept while Redis was away', async t => {
  const ground = await serverGround(t)
  if (ground?.redisUrl == null) return
  const redis = new Redis(
    ground.redisUrl,
    { lazyConnect: true, enableOfflineQueue: false, maxRetriesPerRequest: 0, retryStrategy: () => null }
  )
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const leave = async () => {
    redis.disconnect()
    await becomesTrue(() => redis.status === 'end', patienceMs)
  }
  const limiter = createLoginLimiter({ points: 2, seconds: 60 }, { redis, keyPrefix: ground.prefix })
  const fail = () => limiter.consume('ada@example.com', '192.0.2.1')
  await redis.connect()
  await fail()
  await leave()
  for (let i = 0; i < 2; i++) await fail()
  await t.rejects(fail(), { code: 'AUTH_RATE_LIMITED' }, 'counted in the process')
  await redis.connect()
  await limiter.clear('ada@example.com', '192.0.2.1')
  for (let i = 0; i < 2; i++) await fail()
  await t.rejects(fail(), { code: 'AUTH_RATE_LIMITED' }, 'counted in Redis, from zero')
  await leave()
  await t.resolves(fail(), 'the process has reset its count too')
})
