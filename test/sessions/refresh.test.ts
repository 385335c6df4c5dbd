import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { CacheBackend } from '../../src/token-cache/backend.js'
import { TokenMint } from '../../src/tokens/token.js'
import { createTestClock, type Ground, newEmail, onEachGround, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { createGate } from '../fixtures/gate.js'
import { holdUser } from '../fixtures/locks.js'

interface Pair { accessToken: string, refreshToken: string, expiresIn: number, refreshExpiresIn: number }
interface Opened extends Pair { session: { id: string, expiresAt: string }, user: { id: string, email: string } }

const minutes = (count: number) => count * 60_000
const days = (count: number) => count * 86_400_000

onEachGround(t, async (t, ground) => {
  const { apps: [one], jump } = await instances(t, ground, 1, { SESSION_LIMIT: '5' })

  t.test('an access token expires at ACCESS_TOKEN_TTL, even from the cache, and its refresh token lives on', async t => {
    const opened = await open(one)
    t.equal(opened.expiresIn, 900)
    t.equal(opened.refreshExpiresIn, 7 * 86_400)
    await jump(minutes(14))
    t.equal((await one.me(opened.accessToken)).statusCode, 200)
    t.ok(await one.cached(opened.accessToken), 'cached in its last minute')
    await jump(minutes(1))
    await refused(t, await one.me(opened.accessToken), 'AUTH_INVALID_TOKEN')
    t.equal((await refresh(one, opened.refreshToken)).statusCode, 200)
  })

  t.test('an unused refresh token expires at REFRESH_TOKEN_TTL, without ending its session as reused', async t => {
    const [early, late] = [await open(one), await open(one)]
    await jump(days(7) - minutes(1))
    const renewed = (await refresh(one, early.refreshToken)).json<Opened>()
    await jump(minutes(1))
    await refused(t, await refresh(one, late.refreshToken), 'AUTH_INVALID_TOKEN')
    await refused(t, await refresh(one, late.refreshToken), 'AUTH_INVALID_TOKEN')
    t.equal((await one.me(renewed.accessToken)).statusCode, 200, 'used in its last minute')
  })

  t.test('within REFRESH_GRACE a consumed token returns the same pair again; after that it ends the session', async t => {
    const opened = await open(one)
    const first = (await refresh(one, opened.refreshToken)).json<Opened>()
    await jump(15_000)
    const again = await refresh(one, opened.refreshToken)
    t.equal(again.statusCode, 200, again.body)
    t.strictSame(pairOf(again), pairOf(first))
    t.ok(again.json<Opened>().expiresIn <= 885, 'the time left now, not the time in the first reply')
    t.equal((await one.me(first.accessToken)).statusCode, 200)
    await jump(15_500)
    await refused(t, await refresh(one, opened.refreshToken), 'AUTH_TOKEN_REUSED')
    await refused(t, await one.me(first.accessToken), 'AUTH_INVALID_TOKEN')
    await refused(t, await refresh(one, first.refreshToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('SESSION_IDLE_TTL ends a session that nobody uses within a minute, and never one that is used', async t => {
    const { apps: [one], jump } = await instances(t, ground, 1, { SESSION_IDLE_TTL: '10m', ACCESS_TOKEN_TTL: '1d' })
    const [cached, uncached, used, refreshed] = [await open(one), await open(one), await open(one), await open(one)]
    t.equal((await one.me(cached.accessToken)).statusCode, 200)
    await one.lastUse.flush()
    await jump(minutes(9))
    t.equal((await one.me(used.accessToken)).statusCode, 200)
    const renewed = (await refresh(one, refreshed.refreshToken)).json<Opened>()
    await one.lastUse.flush()
    await jump(minutes(2))
    for (const { accessToken, refreshToken } of [cached, uncached]) {
      await refused(t, await one.me(accessToken), 'AUTH_INVALID_TOKEN')
      await refused(t, await refresh(one, refreshToken), 'AUTH_INVALID_TOKEN')
    }
    t.equal((await one.me(used.accessToken)).statusCode, 200)
    t.equal((await one.me(renewed.accessToken)).statusCode, 200, 'refreshing counts as a use')
    await jump(minutes(11))
    // The uses of eleven minutes ago were not flushed, which takes no longer than seconds; but they are in the entries' future.
    await one.lastUse.flush()
    await refused(t, await one.me(used.accessToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('a login returns a refresh token only if asked, and then a short access token', async t => {
    const email = newEmail()
    const plain = (await one.register(email)).json<Partial<Opened>>()
    t.equal(plain.expiresIn, 30 * 86_400)
    t.notOk('refreshToken' in plain || 'refreshExpiresIn' in plain)
    const reply = await one.login(email, { refresh: false })
    t.notOk('refreshToken' in reply.json())
    t.equal(reply.headers['set-cookie'], undefined, 'no cookies unless asked')
    const asked = (await one.login(email, { refresh: true })).json<Opened>()
    t.match(asked.accessToken, /^lk_/)
    t.match(asked.refreshToken, /^lkr_/)
  })

  t.test('a token of one kind is refused where another kind is expected', async t => {
    const opened = await open(one)
    const personal = (await one.call(
      'POST',
      '/v1/tokens',
      { token: opened.accessToken, body: { name: 'script' } }
    )).json<{ accessToken: string }>().accessToken
    await refused(t, await one.me(opened.refreshToken), 'AUTH_INVALID_TOKEN')
    for (const candidate of [opened.accessToken, personal, 'lkr_nonsense', `lkr_${'a'.repeat(50)}`]) {
      await refused(t, await refresh(one, candidate), 'AUTH_INVALID_TOKEN')
      await refused(t, await one.call('POST', '/v1/logout', { body: { refreshToken: candidate } }), 'AUTH_INVALID_TOKEN')
    }
    const read = one.counters.databaseReads
    await one.me(opened.refreshToken)
    t.equal(one.counters.databaseReads, read, 'without asking the database')
    t.equal((await one.me(opened.accessToken)).statusCode, 200)
  })

  t.test('refreshing makes no settlement, and the earlier access token lives until it expires', async t => {
    const opened = await open(one)
    const { settlements } = one.counters
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    await refresh(one, opened.refreshToken)
    t.equal(one.counters.settlements, settlements)
    await jump(minutes(14))
    t.equal((await one.me(opened.accessToken)).statusCode, 200)
    await jump(minutes(1))
    await refused(t, await one.me(opened.accessToken), 'AUTH_INVALID_TOKEN')
    const third = (await refresh(one, second.refreshToken)).json<Opened>()
    const fourth = (await refresh(one, third.refreshToken)).json<Opened>()
    t.equal((await one.logout(fourth.accessToken)).statusCode, 204)
    await refused(t, await one.me(third.accessToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('once its successor was used, a replay within the grace period is refused and ends nothing', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    const third = (await refresh(one, second.refreshToken)).json<Opened>()
    await refused(t, await refresh(one, opened.refreshToken), 'AUTH_INVALID_TOKEN')
    t.equal((await one.me(third.accessToken)).statusCode, 200)
    t.equal((await refresh(one, third.refreshToken)).statusCode, 200)
  })

  t.test('a logout takes effect even within the grace period', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    t.equal((await one.logout(opened.accessToken)).statusCode, 204)
    await refused(t, await refresh(one, opened.refreshToken), 'AUTH_INVALID_TOKEN')
    await refused(t, await refresh(one, second.refreshToken), 'AUTH_INVALID_TOKEN')
    await refused(t, await one.me(second.accessToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('a password change gives a new pair and kills the old refresh token', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    const reply = await one.call(
      'PUT',
      '/v1/password',
      { token: second.accessToken, body: { currentPassword: password, newPassword: 'another long password' } }
    )
    t.equal(reply.statusCode, 200, reply.body)
    const renewed = reply.json<Opened>()
    t.equal(renewed.session.id, opened.session.id)
    for (const { accessToken, refreshToken } of [opened, second]) {
      await refused(t, await one.me(accessToken), 'AUTH_INVALID_TOKEN')
      await refused(t, await refresh(one, refreshToken), 'AUTH_INVALID_TOKEN')
      for (const route of ['/v1/logout', '/v1/logout-all']) {
        await refused(t, await one.call('POST', route, { body: { refreshToken } }), 'AUTH_INVALID_TOKEN')
      }
    }
    t.equal((await one.me(renewed.accessToken)).statusCode, 200, 'whoever holds an old token can end nothing')
    t.equal((await refresh(one, renewed.refreshToken)).statusCode, 200)
  })

  t.test('a disabled user cannot refresh, but can again once enabled', async t => {
    const opened = await open(one)
    await one.database.prepared('update users set disabled_at = now() where id = $1', [opened.user.id])
    await refused(t, await refresh(one, opened.refreshToken), 'AUTH_INVALID_TOKEN')
    await one.database.prepared('update users set disabled_at = null where id = $1', [opened.user.id])
    t.equal((await refresh(one, opened.refreshToken)).statusCode, 200)
  })

  t.test('a refresh token alone is enough to log out', async t => {
    const out = (route: 'logout' | 'logout-all', refreshToken: string) => one.call('POST', `/v1/${route}`, { body: { refreshToken } })
    const another = async ({ user }: Opened) => (await one.login(user.email, { refresh: true })).json<Opened>()

    t.test('it ends its session, even after it was used, and even twice', async t => {
      const opened = await open(one)
      const other = await another(opened)
      const second = (await refresh(one, opened.refreshToken)).json<Opened>()
      t.equal((await out('logout', opened.refreshToken)).statusCode, 204)
      await refused(t, await one.me(second.accessToken), 'AUTH_INVALID_TOKEN')
      await refused(t, await one.me(opened.accessToken), 'AUTH_INVALID_TOKEN')
      await refused(t, await refresh(one, second.refreshToken), 'AUTH_INVALID_TOKEN')
      t.equal((await out('logout', opened.refreshToken)).statusCode, 204, 'the session is already over')
      t.equal((await out('logout', second.refreshToken)).statusCode, 204)
      t.equal((await one.me(other.accessToken)).statusCode, 200, 'the other session goes on')
    })

    t.test('it can end every session, even after it was used, but not once its own session is over', async t => {
      const opened = await open(one)
      const other = await another(opened)
      await refresh(one, opened.refreshToken)
      t.equal((await out('logout-all', opened.refreshToken)).statusCode, 204)
      await refused(t, await one.me(other.accessToken), 'AUTH_INVALID_TOKEN')
      const later = await another(opened)
      await refused(t, await out('logout-all', opened.refreshToken), 'AUTH_INVALID_TOKEN')
      t.equal((await out('logout', opened.refreshToken)).statusCode, 204)
      t.equal((await one.me(later.accessToken)).statusCode, 200)
    })

    t.test('a consumed token past its grace period ends only its own session, as a reuse', async t => {
      const [opened, kept] = [await open(one), await open(one)]
      const other = await another(opened)
      await refresh(one, opened.refreshToken)
      await refresh(one, kept.refreshToken)
      await jump(31_000)
      await refused(t, await out('logout-all', opened.refreshToken), 'AUTH_TOKEN_REUSED')
      t.equal((await one.me(other.accessToken)).statusCode, 200, 'the other session goes on')
      t.equal((await out('logout', kept.refreshToken)).statusCode, 204)
      for (const { user, session } of [opened, kept]) {
        const { events } = await one.audit.list({ userId: user.id, cursor: undefined, limit: 10 })
        t.ok(events.some(({ type, sessionId }) => type === 'refresh_token_reused' && sessionId === session.id), 'the owner is told')
      }
    })

    t.test('it works next to an access token that has expired or is unknown', async t => {
      for (const route of ['logout', 'logout-all'] as const) {
        const opened = await open(one)
        await jump(16 * 60_000)
        const { refreshToken, accessToken: token } = opened
        t.equal((await one.call('POST', `/v1/${route}`, { token })).statusCode, 401, 'the access token alone is no longer enough')
        await refused(t, await one.call('POST', `/v1/${route}`, { token, body: {} }), 'AUTH_INVALID_TOKEN')
        t.equal((await one.call('POST', `/v1/${route}`, { token, body: { refreshToken } })).statusCode, 204, route)
        await refused(t, await refresh(one, refreshToken), 'AUTH_INVALID_TOKEN')
        const second = await open(one)
        const reply = await one.call('POST', `/v1/${route}`, { token: 'made up', body: { refreshToken: second.refreshToken } })
        t.equal(reply.statusCode, 204, `${route}, next to nonsense`)
        const third = await open(one)
        const headers = { cookie: `__Host-latchkey=${token}`, 'sec-fetch-site': 'same-origin' }
        const byCookie = await one.call('POST', `/v1/${route}`, { headers, body: { refreshToken: third.refreshToken } })
        t.equal(byCookie.statusCode, 204, `${route}, next to an access cookie`)
        await refused(t, await refresh(one, third.refreshToken), 'AUTH_INVALID_TOKEN')
      }
    })

    t.test('once expired, it cannot end every session', async t => {
      const opened = await open(one)
      await jump(days(7))
      const other = await another(opened)
      await refused(t, await out('logout-all', opened.refreshToken), 'AUTH_INVALID_TOKEN')
      t.equal((await out('logout', opened.refreshToken)).statusCode, 204)
      t.equal((await one.me(other.accessToken)).statusCode, 200)
    })
  })

  t.test('no plaintext is stored, and the secret that successors are made from is erased after the grace period', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    const secrets = async () =>
      one.database.prepared<{ secret: string }>(
        "select encode(successor_secret, 'hex') as secret from tokens where user_id = $1 and successor_secret is not null",
        [opened.user.id]
      )
    await one.lastUse.flush()
    const kept = await secrets()
    t.equal(kept.length, 1, 'within the grace period')
    t.equal(kept[0]?.secret.length, 64)

    const rows = await one.database.prepared<{ row: string }>(
      'select row_to_json(t)::text as row from tokens t union all select row_to_json(s)::text from sessions s',
      []
    )
    const stored = rows.map(({ row }) => row).join('\n')
    for (const token of [opened.accessToken, opened.refreshToken, second.accessToken, second.refreshToken]) {
      const body = token.slice(token.indexOf('_') + 1)
      t.notOk(
        stored.includes(body) || stored.includes(Buffer.from(token).toString('hex')) || stored.includes(Buffer.from(body).toString('hex'))
      )
      t.notOk(one.log.some(line => line.includes(body)), 'nor logged')
    }

    await jump(31_000)
    await one.lastUse.flush()
    t.equal((await secrets()).length, 0)
    t.equal((await refresh(one, second.refreshToken)).statusCode, 200, 'the successor itself is untouched')
  })
})

t.test('successors are derived from token and secret together', async t => {
  const mint = new TokenMint(randomBytes(32))
  const secret = randomBytes(32)
  const [one, other] = [mint.issue('refresh'), mint.issue('refresh')]
  const body = (token: { reveal (): string }) => token.reveal().slice(token.reveal().indexOf('_') + 1, -7)
  const derived = mint.derive('refresh', one, secret)
  t.equal(mint.derive('refresh', one, secret).reveal(), derived.reveal(), 'always the same')
  t.not(body(mint.derive('access', one, secret)), body(derived), 'a different one for each kind')
  t.not(mint.derive('refresh', other, secret).reveal(), derived.reveal(), 'the secret alone is not enough')
  t.not(mint.derive('refresh', one, randomBytes(32)).reveal(), derived.reveal(), 'nor is the token')
  t.equal(mint.parse(derived.reveal())?.kind, 'refresh')
  t.equal(mint.parse(mint.derive('access', one, secret).reveal())?.kind, 'access')
  t.notMatch(JSON.stringify(derived), body(derived))
})

t.test('two instances on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const gate = createGate()
  const { apps: [one, two], jump } = await instances(t, ground, 2, { SESSION_LIMIT: '3' }, gate.backend)

  const keys = async () => new Set(await redis.keys(`${ground.prefix}token:*`))
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const dead = async (t: Test, { accessToken, refreshToken }: Pair, what: string) => {
    for (const app of [one, two]) {
      const replies = [await app.me(accessToken), await refresh(app, refreshToken)]
      t.strictSame(replies.map(({ statusCode }) => statusCode), [401, 401], what)
    }
  }
  const settlements = () => one.counters.settlements + two.counters.settlements

  t.test('fifty parallel refreshes of one token give one pair, byte for byte', async t => {
    const opened = await open(one)
    const before = settlements()
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => refresh(i % 2 === 0 ? one : two, opened.refreshToken)))
    t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [200])
    t.equal(new Set(replies.map(reply => JSON.stringify(pairOf(reply)))).size, 1)
    const [rows] = await one.database.prepared<{ count: number }>(
      'select count(*)::int as count from tokens where session_id = $1',
      [opened.session.id]
    )
    t.equal(rows?.count, 4, 'the first pair and one other')
    t.equal(settlements(), before)
    const { accessToken, refreshToken } = (replies[0] as Response).json<Opened>()
    for (const app of [one, two]) t.equal((await app.me(accessToken)).statusCode, 200)
    t.equal((await refresh(two, refreshToken)).statusCode, 200)
  })

  t.test('fifty parallel refreshes past the grace period end the session, and none returns a token', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    await jump(31_000)
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => refresh(i % 2 === 0 ? one : two, opened.refreshToken)))
    t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [401])
    t.equal(
      replies.filter(reply => reply.json().code === 'AUTH_TOKEN_REUSED').length,
      1,
      'one detects the reuse, and to the others the token is dead'
    )
    await dead(t, second, 'the session is over')
  })

  t.test('reuse past the grace period kills everything in the session on all instances, at once and for good', async t => {
    const opened = await open(one)
    const other = (await two.login(opened.user.email, { refresh: true })).json<Opened>()
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    const third = (await refresh(two, second.refreshToken)).json<Opened>()
    await jump(31_000)
    for (const app of [one, two]) {
      t.equal((await app.me(third.accessToken)).statusCode, 200)
      t.ok(await app.cached(third.accessToken), 'cached')
    }
    await refused(t, await refresh(two, opened.refreshToken), 'AUTH_TOKEN_REUSED')
    for (const pair of [opened, second, third]) await dead(t, pair, 'over')
    for (const app of [one, two]) t.equal((await app.me(other.accessToken)).statusCode, 200, 'another session of the user goes on')
    await two.login(opened.user.email)
    await redis.del(keyOf(third.accessToken))
    await jump(minutes(2))
    for (const pair of [opened, second, third]) await dead(t, pair, 'a revoked family stays revoked')
  })

  t.test('Redis never holds a key for a refresh token', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    await refresh(two, opened.refreshToken)
    await one.me(second.refreshToken)
    const held = async () => {
      const there = await keys()
      return [opened, second].flatMap(({ refreshToken }) => there.has(keyOf(refreshToken)) ? ['refresh'] : [])
    }
    t.strictSame(await held(), [])
    t.ok(await one.cached(second.accessToken))
    t.ok((await keys()).has(keyOf(second.accessToken)), 'while the access token has one')
    await jump(31_000)
    await refused(t, await refresh(one, opened.refreshToken), 'AUTH_TOKEN_REUSED')
    t.strictSame(await held(), [], 'nor after the session was ended')
    t.equal(await redis.get(keyOf(second.accessToken)), 'R')
  })

  t.test('ending a session with many refreshes takes only a handful of keys', async t => {
    const opened = await open(one)
    await one.database.prepared(`insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at)
      select gen_random_uuid(), sha256(convert_to($2 || n::text, 'UTF8')), case when n % 2 = 0 then 'access' else 'refresh' end, $1::uuid, $3::uuid, '{*}', now() - interval '2 days', now() - interval '1 day'
      from generate_series(1, 2000) n`, [opened.user.id, opened.session.id, opened.session.id])
    const before = (await keys()).size
    t.equal((await one.logout(opened.accessToken)).statusCode, 204)
    t.ok((await keys()).size - before <= 1, 'not one for each token that has long expired')
    const [left] = await one.database.prepared<{ count: number }>(
      'select count(*)::int as count from tokens where session_id = $1 and revoked_at is null',
      [opened.session.id]
    )
    t.equal(left?.count, 0, 'although all are revoked')
  })

  t.test('a session in use on another instance does not end as idle, and one that ended for all stays ended', async t => {
    const env = { SESSION_IDLE_TTL: '10m', ACCESS_TOKEN_TTL: '1d', SESSION_LIMIT: '3' }
    const { apps: [here, there], jump } = await instances(t, ground, 2, env)
    const used = await open(here)
    const idle = (await here.login(used.user.email, { refresh: true })).json<Opened>()
    for (const { accessToken } of [used, idle]) t.equal((await here.me(accessToken)).statusCode, 200)
    for (let i = 0; i < 3; i++) {
      await jump(minutes(9))
      t.equal((await there.me(used.accessToken)).statusCode, 200)
      await there.lastUse.flush()
    }
    t.equal((await here.me(used.accessToken)).statusCode, 200, 'in use all along, although this instance saw none of it')
    await refused(t, await here.me(idle.accessToken), 'AUTH_INVALID_TOKEN')
    t.equal((await here.call('POST', '/v1/logout-all', { token: used.accessToken })).statusCode, 204)

    const { apps: [patient] } = await instances(t, ground, 1, { ACCESS_TOKEN_TTL: '1d' })
    await redis.del(keyOf(idle.accessToken))
    await refused(t, await patient.me(idle.accessToken), 'AUTH_INVALID_TOKEN')
    await refused(t, await refresh(patient, idle.refreshToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('an instance whose clock is ahead ends the sessions that others still accept', async t => {
    const { apps: [ahead], jump } = await instances(t, ground, 1, { SESSION_LIMIT: '3', SESSION_TTL: '1h', TOKEN_TTL: '1h' })
    const opened = await open(one, { refresh: false })
    await one.database.prepared("update sessions set expires_at = now() + interval '1 hour' where id = $1", [opened.session.id])
    await one.database.prepared("update tokens set expires_at = now() + interval '1 hour' where session_id = $1", [opened.session.id])
    const later = (await ahead.login(opened.user.email)).json<Opened>()
    await one.database.prepared("update sessions set expires_at = now() + interval '3 hours' where id = $1", [later.session.id])
    await one.database.prepared("update tokens set expires_at = now() + interval '3 hours' where session_id = $1", [later.session.id])
    await jump(minutes(61))
    t.equal((await ahead.call('POST', '/v1/logout-all', { token: later.accessToken })).statusCode, 204)
    await refused(t, await two.me(opened.accessToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('refreshing cannot outlive SESSION_TTL: new tokens get only the time that is left', async t => {
    const { apps: [one], jump } = await instances(t, ground, 1, { SESSION_TTL: '1h', REFRESH_TOKEN_TTL: '50m' })
    const opened = await open(one)
    t.equal(opened.refreshExpiresIn, 3_000)
    await jump(minutes(45))
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    t.ok(second.expiresIn > 890 && second.expiresIn <= 900, `${second.expiresIn} s of 900`)
    t.ok(second.refreshExpiresIn > 890 && second.refreshExpiresIn <= 900, `${second.refreshExpiresIn} s`)
    await jump(minutes(10))
    const third = (await refresh(one, second.refreshToken)).json<Opened>()
    t.ok(third.expiresIn > 290 && third.expiresIn <= 300, `${third.expiresIn} s`)
    t.equal(third.session.expiresAt, opened.session.expiresAt)
    t.equal((await one.me(third.accessToken)).statusCode, 200)
    await jump(minutes(5))
    await refused(t, await one.me(third.accessToken), 'AUTH_INVALID_TOKEN')
    await refused(t, await refresh(one, third.refreshToken), 'AUTH_INVALID_TOKEN')
  })

  t.test('a login without a refresh token lives for TOKEN_TTL, but never longer than SESSION_TTL', async t => {
    const { apps: [one], jump } = await instances(t, ground, 1, { TOKEN_TTL: '2d', SESSION_TTL: '1d' })
    const { token } = await one.account()
    await jump(days(1) - minutes(1))
    t.equal((await one.me(token)).statusCode, 200)
    await jump(minutes(1))
    await refused(t, await one.me(token), 'AUTH_INVALID_TOKEN')
  })

  const ends = {
    'logout-all': (_: Opened, app: TestApp, token: string) => app.call('POST', '/v1/logout-all', { token }),
    'logout': (_: Opened, app: TestApp, token: string) => app.logout(token),
    'logout by the same refresh token': (
      { refreshToken }: Opened,
      app: TestApp
    ) => app.call('POST', '/v1/logout', { body: { refreshToken } }),
    'logout-all by the same refresh token': (
      { refreshToken }: Opened,
      app: TestApp
    ) => app.call('POST', '/v1/logout-all', { body: { refreshToken } })
  }
  for (const [name, end] of Object.entries(ends)) {
    t.test(`a refresh that comes after a ${name} gets nothing`, async t => {
      const opened = await open(one)
      const row = await holdUser(t, ground, opened.user.id)
      const ending = end(opened, one, opened.accessToken)
      await row.waiters(1)
      const refreshing = refresh(two, opened.refreshToken)
      await row.waiters(2)
      await row.release()

      t.equal((await ending).statusCode, 204)
      await refused(t, await refreshing, 'AUTH_INVALID_TOKEN')
      await dead(t, opened, 'over')
    })

    t.test(`a ${name} that comes after a refresh ends its successors, even if their entry arrives late`, async t => {
      // Tries again if the cache was not in use just then, because then nobody fills it.
      for (let arrived = false; !arrived;) {
        const opened = await open(two)
        const row = await holdUser(t, ground, opened.user.id)
        const refreshing = refresh(one, opened.refreshToken)
        await row.waiters(1)
        const ending = end(opened, two, opened.accessToken)
        await row.waiters(2)
        const fill = gate.close()
        await row.release()

        const second = (await refreshing).json<Opened>()
        t.equal((await ending).statusCode, 204)
        arrived = await Promise.race([fill.arrived.then(() => true), delay(200, false)])
        fill.open()
        if (arrived) t.equal(await fill.written, false, 'the lease was gone')
        await dead(t, second, 'over, successors included')
        await dead(t, opened, 'and the first pair')
      }
    })
  }

  t.test('a replay within the grace period that comes after a logout gets nothing', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    const row = await holdUser(t, ground, opened.user.id)
    const ending = one.logout(second.accessToken)
    await row.waiters(1)
    const replaying = refresh(two, opened.refreshToken)
    await row.waiters(2)
    await row.release()
    t.equal((await ending).statusCode, 204)
    await refused(t, await replaying, 'AUTH_INVALID_TOKEN')
  })

  t.test('a login that replaces a session and a refresh of that session take turns', async t => {
    const { apps: [single, other] } = await instances(t, ground, 2)
    for (const order of ['login first', 'refresh first'] as const) {
      const opened = await open(single)
      const row = await holdUser(t, ground, opened.user.id)
      const acts = [() => single.login(opened.user.email), () => refresh(other, opened.refreshToken)] as const
      const early = acts[order === 'login first' ? 0 : 1]()
      await row.waiters(1)
      const late = acts[order === 'login first' ? 1 : 0]()
      await row.waiters(2)
      await row.release()
      const [login, refreshed] = order === 'login first' ? [await early, await late] : [await late, await early]
      t.equal(login.statusCode, 200, order)
      t.equal(refreshed.statusCode, order === 'login first' ? 401 : 200, order)
      if (refreshed.statusCode === 200) await dead(t, refreshed.json<Opened>(), order)
      await dead(t, opened, order)
    }
  })

  t.test('a password change and a refresh of its session take turns', async t => {
    for (const order of ['change first', 'refresh first'] as const) {
      const opened = await open(one)
      const row = await holdUser(t, ground, opened.user.id)
      const acts = [
        () =>
          one.call(
            'PUT',
            '/v1/password',
            { token: opened.accessToken, body: { currentPassword: password, newPassword: 'another long password' } }
          ),
        () => refresh(two, opened.refreshToken)
      ] as const
      const early = acts[order === 'change first' ? 0 : 1]()
      await row.waiters(1)
      const late = acts[order === 'change first' ? 1 : 0]()
      await row.waiters(2)
      await row.release()
      const [change, refreshed] = order === 'change first' ? [await early, await late] : [await late, await early]
      t.equal(change.statusCode, 200, order)
      t.equal(refreshed.statusCode, order === 'change first' ? 401 : 200, order)
      if (refreshed.statusCode === 200) await dead(t, refreshed.json<Opened>(), order)
      await dead(t, opened, order)
      const renewed = change.json<Opened>()
      for (const app of [one, two]) t.equal((await app.me(renewed.accessToken)).statusCode, 200, order)
      t.equal((await refresh(one, renewed.refreshToken)).statusCode, 200, order)
    }
  })

  t.test('a logout-all by a refresh token that comes after a password change ends nothing', async t => {
    const opened = await open(one)
    const row = await holdUser(t, ground, opened.user.id)
    const changing = one.call(
      'PUT',
      '/v1/password',
      { token: opened.accessToken, body: { currentPassword: password, newPassword: 'another long password' } }
    )
    await row.waiters(1)
    const ending = two.call('POST', '/v1/logout-all', { body: { refreshToken: opened.refreshToken } })
    await row.waiters(2)
    await row.release()
    const renewed = (await changing).json<Opened>()
    await refused(t, await ending, 'AUTH_INVALID_TOKEN')
    t.equal((await two.me(renewed.accessToken)).statusCode, 200)
  })
})

async function instances<Count extends 1 | 2> (
  t: Test,
  ground: Ground,
  count: Count,
  env: Record<string, string> = {},
  backend?: (real: CacheBackend) => CacheBackend
) {
  const clock = createTestClock()
  const apps = await Promise.all(Array.from(
    { length: count },
    (_, i) => startApp(t, ground, { env, clock, ...backend === undefined || i > 0 ? {} : { backend } })
  ))
  await Promise.all(apps.map(app => app.trusted()))
  return {
    apps: apps as unknown as Count extends 1 ? [TestApp] : [TestApp, TestApp],
    /** Lets time pass on every instance, and waits until each trusts its cache again. */
    async jump (ms: number) {
      clock.advance(ms)
      await Promise.all(apps.map(app => app.trusted()))
    }
  }
}

async function open (app: TestApp, options: object = { refresh: true }): Promise<Opened> {
  const reply = await app.register(newEmail(), options)
  if (reply.statusCode !== 201) throw new Error(`register answered ${reply.statusCode} ${reply.body}`)
  return reply.json<Opened>()
}

const refresh = (app: TestApp, refreshToken: string) => app.call('POST', '/v1/refresh', { body: { refreshToken } })

function pairOf (from: Response | Pair): Pick<Pair, 'accessToken' | 'refreshToken'> {
  const { accessToken, refreshToken } = 'statusCode' in from ? from.json<Pair>() : from
  return { accessToken, refreshToken }
}

async function refused (t: Test, reply: Response, code: string): Promise<void> {
  t.strictSame([reply.statusCode, reply.json<{ code: string }>().code], [401, code], code)
  t.match(reply.headers['www-authenticate'], /^Bearer/)
}
