import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Database } from '../../src/database/database.js'
import { UnavailableError } from '../../src/shared/errors.js'
import { flushEveryMs } from '../../src/tokens/last-use.js'
import {
  becomesTrue,
  createTestClock,
  newEmail,
  onEachGround,
  password,
  patienceMs,
  serverGround,
  startApp,
  type TestApp
} from '../fixtures/app.js'
import { hold } from '../fixtures/locks.js'

interface Opened { accessToken: string, refreshToken: string, session: { id: string }, user: { id: string, email: string } }
interface Listed {
  id: string
  deviceName: string | null
  userAgent: string | null
  ip: string | null
  createdAt: string
  lastUsedAt: string
  expiresAt: string
  current: boolean
}

/** A request from a device with this address and user agent. */
async function from (app: TestApp, remoteAddress: string, userAgent: string | undefined, url: string, payload: object) {
  return await app.app.inject({ method: 'POST', url, remoteAddress, headers: { 'user-agent': userAgent }, payload })
}

async function listOf (app: TestApp, token: string): Promise<Listed[]> {
  return (await app.call('GET', '/v1/sessions', { token })).json<{ sessions: Listed[] }>().sessions
}

onEachGround(t, async (t, ground) => {
  const counted = countTouches()
  const clock = createTestClock()
  const one = await startApp(
    t,
    { ...ground, database: async () => counted.database(await ground.database()) },
    { env: { SESSION_LIMIT: '5' }, clock }
  )
  // These tests call for flushes themselves; the one that tests automatic flushes starts them again.
  await one.lastUse.stop()

  t.test('the list shows the device of each session, and never contains a token', async t => {
    const email = newEmail()
    await from(one, '192.0.2.7', 'Firefox/140', '/v1/register', { email, password, deviceName: 'Ada’s laptop', refresh: true })
    await one.pass(1_000)
    const phone = (await from(one, '2001:db8::5', 'x'.repeat(600), '/v1/login', { email, password })).json<Opened>()
    const reply = await one.call('GET', '/v1/sessions', { token: phone.accessToken })
    t.equal(reply.headers['cache-control'], 'no-store')
    const [newest, oldest] = reply.json<{ sessions: Listed[] }>().sessions
    t.strictSame(
      Object.keys(newest ?? {}).sort(),
      ['createdAt', 'current', 'deviceName', 'expiresAt', 'id', 'ip', 'lastUsedAt', 'userAgent']
    )
    t.match(newest, { id: phone.session.id, deviceName: null, userAgent: 'x'.repeat(512), ip: '2001:db8::5', current: true })
    t.match(oldest, { deviceName: 'Ada’s laptop', userAgent: 'Firefox/140', ip: '192.0.2.7', current: false })
    t.notMatch(reply.body, /lkr?_/)
  })

  t.test('a client that says nothing about itself is still listed', async t => {
    const opened = (await from(one, '192.0.2.9', undefined, '/v1/register', { email: newEmail(), password })).json<Opened>()
    const [only] = await listOf(one, opened.accessToken)
    t.match(only, { deviceName: null, ip: '192.0.2.9' })
  })

  t.test('refreshing from elsewhere does not change the device', async t => {
    const opened = (await from(
      one,
      '192.0.2.7',
      'Firefox/140',
      '/v1/register',
      { email: newEmail(), password, deviceName: 'laptop', refresh: true }
    )).json<Opened>()
    await one.pass(60_000)
    const renewed = (await from(one, '198.51.100.1', 'node', '/v1/refresh', { refreshToken: opened.refreshToken })).json<Opened>()
    const [only, ...others] = await listOf(one, renewed.accessToken)
    t.match(only, { id: opened.session.id, deviceName: 'laptop', userAgent: 'Firefox/140', ip: '192.0.2.7', current: true })
    t.equal(Date.parse(only?.lastUsedAt ?? '') - Date.parse(only?.createdAt ?? '') >= 60_000, true, 'although refreshing counts as a use')
    t.strictSame(others, [])
  })

  t.test('many uses are written in one statement, and none before the flush', async t => {
    const accounts = [await one.account(), await one.account(), await one.account()]
    const personal = (await one.call(
      'POST',
      '/v1/tokens',
      { token: accounts[0]?.token ?? '', body: { name: 'script' } }
    )).json<{ accessToken: string }>().accessToken
    await one.lastUse.flush()
    await one.pass(10_000)
    const usedAt = clock.now()
    const before = counted.statements
    for (let i = 0; i < 20; i++) {
      for (const { token } of accounts) await one.me(token)
      await one.me(personal)
    }
    t.equal(counted.statements, before)
    await one.lastUse.flush()
    t.equal(counted.statements, before + 2, 'one for sessions, one for personal tokens')
    await one.lastUse.flush()
    t.equal(counted.statements, before + 2, 'and with nothing to write, no statement runs')
    for (const { token } of accounts) {
      const [only] = await listOf(one, token)
      const seen = Date.parse(only?.lastUsedAt ?? '')
      t.ok(seen >= usedAt - 1 && seen <= clock.now() + 1)
    }
    const [token] = (await one.call(
      'GET',
      '/v1/tokens',
      { token: accounts[0]?.token ?? '' }
    )).json<{ tokens: Array<{ lastUsedAt: string | null }> }>().tokens
    t.ok(Date.parse(token?.lastUsedAt ?? '') >= usedAt - 1)
  })

  t.test('a use that could not be written is written with the next ones', async t => {
    const { token } = await one.account()
    await one.lastUse.flush()
    await one.pass(10_000)
    const usedAt = clock.now()
    await one.me(token)
    counted.failNext()
    await one.lastUse.flush()
    t.ok(one.log.some(line => line.includes('last uses were not written')))
    await one.lastUse.flush()
    const [only] = await listOf(one, token)
    t.ok(Date.parse(only?.lastUsedAt ?? '') >= usedAt - 1)
  })

  t.test('uses are written every few seconds', async t => {
    const { token, sessionId } = await one.account()
    await one.pass(10_000)
    const usedAt = clock.now()
    await one.me(token)
    one.lastUse.start()
    const written = async () => {
      const [row] = await one.database.prepared<{ at: number }>(
        'select (extract(epoch from last_used_at) * 1000)::float8 as at from sessions where id = $1',
        [sessionId]
      )
      return (row?.at ?? 0) >= usedAt - 1
    }
    t.ok(await becomesTrue(written, flushEveryMs + patienceMs))
  })
})

t.test('last use on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const clock = createTestClock()
  const env = { SESSION_LIMIT: '5' }
  const [one, two] = await Promise.all([startApp(t, ground, { clock, env }), startApp(t, ground, { clock, env })])
  await Promise.all([one, two].map(async app => { await Promise.all([app.trusted(), app.lastUse.stop()]) }))
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const pass = async (ms: number) => {
    await one.pass(ms)
    await two.trusted()
  }
  const lastUsed = async (sessionId: string) => {
    const [row] = await two.database.prepared<{ at: number }>(
      'select (extract(epoch from last_used_at) * 1000)::float8 as at from sessions where id = $1',
      [sessionId]
    )
    return row?.at ?? 0
  }

  t.test('a flush leaves the cache as it was', async t => {
    const { token } = await one.account()
    t.ok(await one.cached(token))
    const [value, ttl] = [await redis.get(keyOf(token)), await redis.pttl(keyOf(token))]
    await pass(10_000)
    t.equal((await one.me(token)).statusCode, 200)
    await one.lastUse.flush()
    t.equal(await redis.get(keyOf(token)), value)
    t.ok(await redis.pttl(keyOf(token)) <= ttl)
  })

  t.test('of uses on two instances the later one stands, whichever flushes last', async t => {
    const { token, sessionId } = await one.account()
    await pass(10_000)
    await one.me(token)
    await pass(10_000)
    const usedAt = clock.now()
    await two.me(token)
    await two.lastUse.flush()
    await one.lastUse.flush()
    t.ok(await lastUsed(sessionId) >= usedAt - 1)
  })

  t.test('a flush does not wait for a row that is locked: it writes the others now, and the locked one later', async t => {
    const [held, free] = [await one.account(), await one.account()]
    const row = await hold(t, ground, `update sessions set ended_at = ended_at where id = '${held.sessionId}'`)
    await pass(10_000)
    const usedAt = clock.now()
    for (const { token } of [held, free]) t.equal((await one.me(token)).statusCode, 200)
    const startedAt = performance.now()
    await one.lastUse.flush()
    t.ok(performance.now() - startedAt < 4_500, 'at once')
    t.ok(await lastUsed(free.sessionId) >= usedAt - 1)
    t.ok(await lastUsed(held.sessionId) < usedAt - 1)
    await row.release()
    await one.lastUse.flush()
    t.ok(await lastUsed(held.sessionId) >= usedAt - 1, 'not forgotten')
  })

  t.test('a session that is only being given a new token does not count as locked', async t => {
    const { token, sessionId } = await one.account()
    const row = await hold(t, ground, `select from sessions where id = '${sessionId}' for key share`)
    await pass(10_000)
    const usedAt = clock.now()
    await one.me(token)
    await one.lastUse.flush()
    t.ok(await lastUsed(sessionId) >= usedAt - 1)
    await row.release()
  })

  t.test('erasing does not wait for a consumed token that is locked, and comes back to it later', async t => {
    const [
      held,
      free
    ] = (await Promise.all([1, 2].map(async () => (await one.register(newEmail(), { refresh: true })).json<Opened>()))) as [Opened, Opened]
    for (const { refreshToken } of [held, free]) await one.call('POST', '/v1/refresh', { body: { refreshToken } })
    const secrets = async ({ session }: Opened) =>
      (await two.database.prepared('select from tokens where session_id = $1 and successor_secret is not null', [session.id])).length
    await pass(31_000)
    const row = await hold(t, ground, `select from tokens where session_id = '${held.session.id}' for update`)
    const startedAt = performance.now()
    await one.lastUse.flush()
    t.ok(performance.now() - startedAt < 4_500, 'at once')
    t.strictSame([await secrets(held), await secrets(free)], [1, 0])
    await row.release()
    await one.lastUse.flush()
    t.equal(await secrets(held), 0)
  })

  t.test('a flush does not block a prune or a login, nor do they block the flush', async t => {
    const accounts = await Promise.all(Array.from({ length: 20 }, () => one.account({ refresh: true })))
    await pass(10_000)
    const work = accounts.map(async ({ email, token }, i) => {
      await (i % 2 === 0 ? one : two).me(token)
      const [login] = await Promise.all([two.login(email), one.lastUse.flush(), two.lastUse.flush(), one.prune({ dryRun: false })])
      return login.statusCode
    })
    t.strictSame([...new Set(await Promise.all(work))], [200])
    t.notOk([...one.log, ...two.log].some(line => line.includes('40P01') || line.includes('last uses were not written')))
  })

  t.test('a shutdown writes what is left', async t => {
    const third = await startApp(t, ground, { clock, env })
    await third.lastUse.stop()
    const { token, sessionId } = await one.account()
    await pass(10_000)
    const usedAt = clock.now()
    t.equal((await third.me(token)).statusCode, 200)
    t.ok(await lastUsed(sessionId) < usedAt - 1)
    await third.close()
    t.ok(await lastUsed(sessionId) >= usedAt - 1)
  })

  t.test('ending one session, the others, or all of them takes effect on every instance at once', async t => {
    const { email, token } = await one.account()
    const devices = await Promise.all(Array.from({ length: 3 }, async () => (await two.login(email, { refresh: true })).json<Opened>()))
    const [first, second, third] = devices as [Opened, Opened, Opened]
    const live = async () => {
      const replies = await Promise.all([token, ...devices.map(({ accessToken }) => accessToken)].map(async used =>
        [await one.me(used), await two.me(used)]))
      return replies.map(pair => pair.map(({ statusCode }) => statusCode).join())
    }
    t.strictSame(await live(), ['200,200', '200,200', '200,200', '200,200'])
    t.equal((await one.call('DELETE', `/v1/sessions/${first.session.id}`, { token })).statusCode, 204)
    t.strictSame(await live(), ['200,200', '401,401', '200,200', '200,200'])
    t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken: first.refreshToken } })).statusCode, 401)
    t.equal((await two.call('DELETE', '/v1/sessions', { token: second.accessToken })).statusCode, 204)
    t.strictSame(await live(), ['401,401', '401,401', '200,200', '401,401'])
    t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken: third.refreshToken } })).statusCode, 401)
    t.equal((await one.call('POST', '/v1/logout-all', { token: second.accessToken })).statusCode, 204)
    t.strictSame(await live(), ['401,401', '401,401', '401,401', '401,401'])
  })

  t.test('nobody can end the session of somebody else', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    for (const id of [theirs.sessionId, '00000000-0000-4000-8000-000000000000', 'nonsense']) {
      const reply = await one.call('DELETE', `/v1/sessions/${id}`, { token: mine.token })
      t.strictSame([reply.statusCode, reply.json().code], [404, 'AUTH_NOT_FOUND'])
    }
    t.equal((await one.me(theirs.token)).statusCode, 200)
  })
})

/** A database that counts the statements that record uses, and refuses the next one on demand. */
function countTouches () {
  let failing = false
  return {
    statements: 0,
    failNext () { failing = true },
    database (real: Database): Database {
      const counter = this
      return {
        ...real,
        async prepared<Row> (...args: Parameters<Database['prepared']>) {
          if (!args[0].includes('set last_used_at')) return await real.prepared<Row>(...args)
          counter.statements++
          if (failing) {
            failing = false
            throw new UnavailableError()
          }
          return await real.prepared<Row>(...args)
        }
      }
    }
  }
}
