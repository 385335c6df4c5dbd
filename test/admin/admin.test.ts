import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createActivity } from '../../src/admin/activity.js'
import { operator } from '../../src/admin/service.js'
import { reused } from '../../src/shared/reused.js'
import { becomesTrue, newEmail, onEachGround, password, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { createDeath } from '../fixtures/death.js'
import { createGate } from '../fixtures/gate.js'
import { hold, holdUser } from '../fixtures/locks.js'

interface Listed { id: string, email: string, name: string | null, role: string, disabledAt: string | null }
interface UserPage { users: Listed[], nextCursor: string | null }
interface Event { type: string, userId: string, actorId: string | null, cause: string | null, role: string | null }

const roleOf = (app: TestApp, token: string, id: string, body: object) => app.call('PUT', `/v1/admin/users/${id}/role`, { token, body })
const post = (
  app: TestApp,
  token: string,
  path: string,
  body?: object
) => app.call('POST', `/v1/admin/${path}`, { token, ...body === undefined ? {} : { body } })
const get = (app: TestApp, token: string, path: string) => app.call('GET', `/v1/admin/${path}`, { token })
const eventsOf = async (
  app: TestApp,
  token: string,
  userId: string
) => (await get(app, token, `events?userId=${userId}`)).json<{ events: Event[] }>().events

/** An administrator with a fresh session. */
async function administrator (app: TestApp) {
  const account = await app.account()
  await app.admin.setRole(operator, account.userId, 'admin')
  return account
}

function refused (t: Test, reply: Response, statusCode: number, code: string, what = code): void {
  t.strictSame([reply.statusCode, reply.json<{ code: string }>().code], [statusCode, code], what)
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  const boss = await administrator(one)

  t.test('users are found by the start of their address, which is not a pattern, and listed page by page', async t => {
    const stem = `find${randomBytes(4).toString('hex')}`
    const emails = ['a%b', 'a_b', 'axb', 'a\\b', 'ab', 'b', 'ü', ...Array.from({ length: 5 }, (_, i) => `m${i}`)].map(name =>
      `${stem}${name}@example.com`)
    for (const email of emails) t.equal((await one.register(email)).statusCode, 201, email)
    const search = async (query: string) => (await get(one, boss.token, `users?${query}`)).json<UserPage>()
    const found = async (beginning: string) =>
      (await search(`email=${encodeURIComponent(stem + beginning)}`)).users.map(({ email }) => email.slice(stem.length, email.indexOf('@')))
    t.same(await found('a%'), ['a%b'])
    t.same(await found('a_'), ['a_b'])
    t.same(await found('a\\'), ['a\\b'])
    t.same(await found('A'), ['a%b', 'a\\b', 'a_b', 'ab', 'axb'], 'in byte order, whatever the case')
    t.same(await found('Ü'), ['ü'])
    t.same(await found('zz'), [])
    t.same(
      Object.keys((await search(`email=${stem}`)).users[0] ?? {}).sort(),
      ['createdAt', 'disabledAt', 'email', 'emailVerifiedAt', 'id', 'name', 'role']
    )

    for (const query of [`email=${stem}&`, '']) {
      const seen: string[] = []
      let cursor: string | null = null
      for (let pages = 0; pages < 20; pages++) {
        const next: UserPage = await search(`${query}limit=5${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)
        seen.push(...next.users.map(({ id }) => id))
        cursor = next.nextCursor
        if (cursor === null) break
      }
      t.equal(new Set(seen).size, seen.length, 'nobody is listed twice')
      t.same(seen, (await search(`${query}limit=100`)).users.map(({ id }) => id), 'and nobody is left out')
    }
    for (const query of [
      'limit=0',
      'limit=101',
      'cursor=x',
      'email=a&cursor=eA',
      `email=a&cursor=${Buffer.from('a\u0000').toString('base64url')}`,
      `email=a&cursor=${Buffer.from([0x61, 0xff]).toString('base64url')}`,
      'email=%00',
      'name=x'
    ]) t.equal((await get(one, boss.token, `users?${query}`)).statusCode, 400, query)
  })

  t.test('an administrator can create accounts, with or without a password, and administrators after a recent login', async t => {
    const email = newEmail()
    const made = await post(one, boss.token, 'users', { email, password, name: 'Ada' })
    t.equal(made.statusCode, 201, made.body)
    const { user } = made.json<{ user: Listed }>()
    t.match(user, { email, name: 'Ada', role: 'user' })
    t.equal((await one.login(email)).statusCode, 200)
    t.match(await eventsOf(one, boss.token, user.id), [{ type: 'login_succeeded' }, { type: 'user_created', actorId: boss.userId }])
    refused(t, await post(one, boss.token, 'users', { email }), 409, 'AUTH_EMAIL_TAKEN')
    refused(t, await post(one, boss.token, 'users', { email: newEmail(), password: 'x' }), 400, 'AUTH_PASSWORD_REJECTED')

    const without = newEmail()
    t.equal((await post(one, boss.token, 'users', { email: without })).statusCode, 201)
    for (const guess of [
      '',
      ' ',
      'null',
      'undefined'
    ]) t.not((await one.login(without, { password: guess })).statusCode, 200, 'no password opens it')

    t.match((await post(one, boss.token, 'users', { email: newEmail(), role: 'admin' })).json(), { user: { role: 'admin' } })
    const old = await administrator(one)
    await one.pass(15 * 60_000)
    refused(t, await post(one, old.token, 'users', { email: newEmail(), role: 'admin' }), 403, 'AUTH_REAUTHENTICATE')
    refused(
      t,
      await post(one, old.token, 'users', { email: newEmail(), role: 'admin', password }),
      403,
      'AUTH_REAUTHENTICATE',
      "the new user's password does not count as the caller's"
    )
    refused(
      t,
      await post(one, old.token, 'users', { email: newEmail(), role: 'admin', currentPassword: 'wrong' }),
      403,
      'AUTH_WRONG_PASSWORD'
    )
    for (const [method, path, body, field] of [
      ['POST', '/v1/admin/users', { email: newEmail(), role: 'admin' }, 'currentPassword'],
      ['POST', '/v1/admin/users', { email: newEmail(), role: 'admin', currentPassword: 'wrong' }, 'currentPassword'],
      ['PUT', '/v1/password', { currentPassword: 'wrong', newPassword: 'another battery staple' }, 'currentPassword'],
      ['PUT', `/v1/admin/users/${old.userId}/role`, { role: 'user' }, 'password'],
      ['POST', '/v1/tokens', { name: 'script' }, 'password']
    ] as const) t.equal((await one.call(method, path, { token: old.token, body })).json().field, field, `${path} says where the password goes`)
    t.equal((await post(one, old.token, 'users', { email: newEmail(), role: 'admin', currentPassword: password })).statusCode, 201)
    t.equal((await post(one, old.token, 'users', { email: newEmail() })).statusCode, 201, 'creating a plain user needs no password')

    const other = await one.account()
    refused(t, await roleOf(one, old.token, other.userId, { role: 'admin' }), 403, 'AUTH_REAUTHENTICATE')
    t.equal((await roleOf(one, old.token, other.userId, { role: 'admin', password })).statusCode, 204)
    t.equal((await post(one, old.token, `users/${other.userId}/disable`)).statusCode, 204, 'taking rights away needs no password')
  })

  t.test('a role change takes effect on the next request, even for a cached token', async t => {
    const [chief, clerk] = [await administrator(one), await one.account()]
    refused(t, await get(one, clerk.token, 'users'), 403, 'AUTH_FORBIDDEN')
    t.equal((await roleOf(one, chief.token, clerk.userId, { role: 'admin' })).statusCode, 204)
    t.equal((await get(one, clerk.token, 'users')).statusCode, 200)
    t.equal((await roleOf(one, chief.token, clerk.userId, { role: 'admin' })).statusCode, 204, 'again')
    t.equal((await roleOf(one, clerk.token, chief.userId, { role: 'user' })).statusCode, 204)
    refused(t, await get(one, chief.token, 'users'), 403, 'AUTH_FORBIDDEN')
    t.equal((await one.me(chief.token)).json<{ user: Listed }>().user.role, 'user')
    t.same(
      (await eventsOf(one, clerk.token, clerk.userId)).filter(({ type }) => type === 'role_changed').map(({ actorId, role }) =>
        ({ actorId, role })),
      [{ actorId: chief.userId, role: 'admin' }],
      'recorded once, with the role'
    )
    for (const body of [
      {},
      { role: 'root' },
      { role: ['admin'] },
      { role: 'admin', id: 1 }
    ]) t.equal((await roleOf(one, clerk.token, chief.userId, body)).statusCode, 400, JSON.stringify(body))
  })

  t.test('revoking ends sessions, and personal tokens on request', async t => {
    const victim = await one.account()
    const personal = await one.personal(victim.token)
    const second = (await one.login(victim.email)).json<{ accessToken: string }>().accessToken
    const list = await get(one, boss.token, `users/${victim.userId}/sessions`)
    t.equal(list.statusCode, 200, list.body)
    t.match(list.json(), { sessions: [{ current: false }, { current: false }] })
    t.notMatch(list.body, /lk_/)
    t.equal((await post(one, boss.token, `users/${victim.userId}/revoke`)).statusCode, 204)
    for (const token of [victim.token, second]) refused(t, await one.me(token), 401, 'AUTH_INVALID_TOKEN')
    t.equal((await one.me(personal)).statusCode, 200)
    t.same((await get(one, boss.token, `users/${victim.userId}/sessions`)).json(), { sessions: [], nextCursor: null })
    t.equal((await post(one, boss.token, `users/${victim.userId}/revoke`, { personalTokens: true })).statusCode, 204)
    refused(t, await one.me(personal), 401, 'AUTH_INVALID_TOKEN')
    t.match(
      (await eventsOf(one, boss.token, victim.userId)).filter(({ cause }) => cause === 'ended_by_admin').map(({ type, actorId }) =>
        [type, actorId]),
      [['personal_token_ended', boss.userId], ['session_ended', boss.userId], ['session_ended', boss.userId]]
    )
    t.equal((await one.login(victim.email)).statusCode, 200, 'and the user can log in again')
    t.equal((await post(one, boss.token, `users/${victim.userId}/revoke`, { personalTokens: 'yes' })).statusCode, 400)
  })

  t.test('a disabled user is out at once, their personal tokens are dead until enabled again, and sessions stay ended', async t => {
    const victim = await one.account()
    const personal = await one.personal(victim.token)
    await one.me(personal)
    const { refreshToken } = (await one.login(victim.email, { refresh: true })).json<{ refreshToken: string }>()
    t.equal((await post(one, boss.token, `users/${victim.userId}/disable`)).statusCode, 204)
    for (const token of [victim.token, personal]) refused(t, await one.me(token), 401, 'AUTH_INVALID_TOKEN')
    refused(t, await one.call('POST', '/v1/refresh', { body: { refreshToken } }), 401, 'AUTH_INVALID_TOKEN')
    refused(t, await one.login(victim.email), 401, 'AUTH_INVALID_CREDENTIALS')
    const { disabledAt } = (await get(one, boss.token, `users?email=${victim.email}`)).json<UserPage>().users[0] ?? {}
    t.type(disabledAt, 'string')
    t.equal((await post(one, boss.token, `users/${victim.userId}/disable`)).statusCode, 204, 'again')
    t.equal((await post(one, boss.token, `users/${victim.userId}/enable`)).statusCode, 204)
    t.equal((await one.me(personal)).statusCode, 200, 'live again')
    refused(t, await one.me(victim.token), 401, 'AUTH_INVALID_TOKEN')
    t.equal((await one.login(victim.email)).statusCode, 200)
    t.equal((await post(one, boss.token, `users/${victim.userId}/enable`)).statusCode, 204, 'if enabled already, it clears failed logins')
    t.match(
      (await eventsOf(one, boss.token, victim.userId))[0],
      { type: 'login_failures_cleared', actorId: boss.userId },
      'and leaves an event'
    )
    t.match(
      (await eventsOf(one, boss.token, victim.userId)).filter(({ type }) => /abled$/.test(type)),
      [{ type: 'user_enabled', actorId: boss.userId }, { type: 'user_disabled', actorId: boss.userId }]
    )
  })

  t.test('unknown ids, malformed ids and users who are being deleted are not found', async t => {
    const gone = await one.account()
    t.equal((await one.call('DELETE', '/v1/me', { token: gone.token })).statusCode, 204)
    const deleting = await one.account()
    await one.database.prepared("update users set email = 'deleted:' || id, disabled_at = now() where id = $1", [deleting.userId])
    for (const id of [randomUUID(), gone.userId, deleting.userId, 'none', '%00', '0', `${boss.userId}x`]) {
      for (const action of [
        'revoke',
        'disable',
        'enable'
      ]) refused(t, await post(one, boss.token, `users/${id}/${action}`), 404, 'AUTH_NOT_FOUND', `${action} ${id}`)
      refused(t, await roleOf(one, boss.token, id, { role: 'user', password }), 404, 'AUTH_NOT_FOUND', id)
      for (const path of ['', '/sessions']) refused(t, await get(one, boss.token, `users/${id}${path}`), 404, 'AUTH_NOT_FOUND', `${id}${path}`)
    }
    t.same((await get(one, boss.token, 'users?email=deleted:')).json<UserPage>().users, [])
    t.equal((await get(one, boss.token, `users/${boss.userId.toUpperCase()}/sessions`)).statusCode, 200)
    t.match(await eventsOf(one, boss.token, gone.userId), [{ type: 'account_deleted' }], 'but their events can still be read')
    t.equal((await get(one, boss.token, 'events?userId=none')).statusCode, 400)
    await one.prune({ dryRun: false })
  })

  t.test('the last administrator can be neither demoted nor disabled', async t => {
    const last = await administrator(one)
    await one.database.prepared("update users set role = 'user' where id <> $1 and id <> $2", [last.userId, boss.userId])
    t.equal((await roleOf(one, last.token, boss.userId, { role: 'user' })).statusCode, 204)
    refused(t, await roleOf(one, last.token, last.userId, { role: 'user' }), 409, 'AUTH_LAST_ADMIN')
    refused(t, await post(one, last.token, `users/${last.userId}/disable`), 409, 'AUTH_LAST_ADMIN')
    await t.rejects(one.admin.setRole(operator, last.userId, 'user'), { code: 'AUTH_LAST_ADMIN' }, 'nor by a command')
    t.equal((await get(one, last.token, 'users')).statusCode, 200)
    t.equal((await roleOf(one, last.token, boss.userId, { role: 'admin' })).statusCode, 204)
    t.equal((await roleOf(one, last.token, last.userId, { role: 'user' })).statusCode, 204, 'with another administrator they may step down')
    refused(t, await get(one, last.token, 'users'), 403, 'AUTH_FORBIDDEN')
  })

  t.test('the audit trail of all accounts can be read page by page', async t => {
    const first = (await get(one, boss.token, 'events?limit=2')).json<{ events: Event[], nextCursor: string }>()
    t.equal(first.events.length, 2)
    const next = (await get(one, boss.token, `events?limit=2&cursor=${first.nextCursor}`)).json<{ events: Event[] }>()
    t.equal(next.events.length, 2)
    t.equal(
      (await get(one, boss.token, `events?userId=${boss.userId}`)).json<{ events: Event[] }>().events.filter(({ userId }) =>
        userId !== boss.userId).length,
      0
    )
  })

  t.test('events are found by type and time, and a rare type is looked for page by page, however long the trail is', async t => {
    const { userId, token } = await one.account()
    const insert = (type: string, at: string, count: number) => one.database.prepared(
      `insert into events (id, created_at, type, user_id)
        select gen_random_uuid(), $1::timestamptz - n * interval '1 second', $2, $3 from generate_series(0, $4::int - 1) n`,
      [at, type, userId, String(count)]
    )
    await insert('login_failed', '2020-01-02T00:00:00Z', 20_001)
    await insert('role_changed', '2020-01-01T00:00:00Z', 3)
    const search = async (query: string) =>
      (await get(one, boss.token, `events?${query}`)).json<{ events: Array<Event & { createdAt: string }>, nextCursor: string | null }>()
    const times = async (query: string) => (await search(query)).events.map(({ createdAt }) => createdAt)

    const mine = `userId=${userId}&type=role_changed&until=2021-01-01T00:00:00Z`
    for (const query of [mine, 'type=role_changed&until=2021-01-01T00:00:00Z&from=2019-01-01T00:00:00Z']) {
      const first = await search(query)
      t.same(first.events, [])
      t.type(first.nextCursor, 'string', 'the search goes on')
      const next = await search(`${query}&limit=2&cursor=${first.nextCursor}`)
      t.same(next.events.map(({ createdAt }) => createdAt), ['2020-01-01T00:00:00.000Z', '2019-12-31T23:59:59.000Z'])
      const last = await search(`${query}&limit=2&cursor=${next.nextCursor}`)
      t.same([last.events.length, last.nextCursor], [1, null])
    }
    t.same(await times(`${mine.replace('until=2021', 'until=2020')}`), ['2019-12-31T23:59:59.000Z', '2019-12-31T23:59:58.000Z'])
    t.same(await times(`userId=${userId}&until=2020-01-02T00:00:00Z&from=2020-01-02T00:59:59%2B01:00`), ['2020-01-01T23:59:59.000Z'])
    t.same((await search(`userId=${userId}&type=registered`)).events.length, 1)
    t.equal((await search('type=login_failed&limit=100')).events.every(({ type }) => type === 'login_failed'), true)
    for (const query of ['type=no', 'from=x', 'from=2020-01-01', 'until=0000-01-01T00:00:00Z', 'from=2020-06-30T23:59:60Z', 'until=2020-02-30T00:00:00Z']) {
      t.equal((await get(one, boss.token, `events?${query}`)).statusCode, 400, query)
    }
    t.match((await get(one, boss.token, `users/${userId}`)).json(), { user: { id: userId, role: 'user', disabledAt: null } })
    refused(t, await get(one, token, `users/${userId}`), 403, 'AUTH_FORBIDDEN')
    await one.database.prepared("delete from events where created_at < '2021-01-01'", [])
  })

  t.test('the figures match the database and the cache', async t => {
    // Writes earlier uses now, so that they count as earlier.
    await one.lastUse.flush()
    const countedAnew = async () => {
      await one.pass(10_001)
      return (await get(one, boss.token, 'token-stats')).json()
    }
    let before = await countedAnew()
    while (!before.cache.trusted || before.cache.keys === null) before = await countedAnew()
    t.match(
      before.database,
      {
        exact: true,
        total: Number,
        active: Number,
        expired: Number,
        revoked: Number,
        neverUsed: Number,
        refreshTokenReuses: Number,
        byKind: { access: { active: Number }, personal: {} }
      }
    )
    t.equal(before.database.total, before.database.active + before.database.expired + before.database.revoked)
    const users = await one.database.prepared<{ users: object }>(`select json_build_object('total', count(*), 'disabled', count(disabled_at),
      'unverified', count(*) filter (where disabled_at is null and email_verified_at is null),
      'admins', count(*) filter (where disabled_at is null and role = 'admin')) as users from users where email not like 'deleted:%'`, [])
    t.strictSame(before.database.users, users[0]?.users)
    const [row] = await one.database.prepared<{ total: number, revoked: number }>(
      'select count(*)::int as total, count(revoked_at)::int as revoked from tokens',
      []
    )
    t.same([before.database.total, before.database.revoked], [row?.total, row?.revoked])
    t.match(before.cache, { state: 'trusted', trusted: true, registered: true, openSettlements: 0, keys: Number, hitRatio: Number })
    t.ok(before.cache.hitRatio > 0 && before.cache.hitRatio <= 1, String(before.cache.hitRatio))

    const { token } = await one.account()
    await one.personal(token)
    await one.logout(token)
    t.same((await get(one, boss.token, 'token-stats')).json().database, before.database, 'counted only once in ten seconds')
    const { database } = await countedAnew()
    t.same(
      [
        database.total - before.database.total,
        database.revoked - before.database.revoked,
        database.byKind.personal.active - before.database.byKind.personal.active
      ],
      [2, 1, 1]
    )
    t.equal(database.neverUsed - before.database.neverUsed, 1)
    t.strictSame(
      [database.users.total - before.database.users.total, database.users.unverified - before.database.users.unverified],
      [1, 1]
    )
  })

  t.test('figures that take too long to count are left out, and the reply says so', async t => {
    if (ground.databaseUrl === null) return
    await one.pass(10_001)
    const table = await hold(t, ground, 'lock table tokens in access exclusive mode')
    const reply = one.tokenStats()
    const stats = await reply
    await table.release()
    t.match(
      stats.database,
      { exact: false, active: null, expired: null, revoked: null, neverUsed: null, byKind: null, sessions: { active: Number } }
    )
    await one.pass(10_001)
    t.equal((await one.tokenStats()).database.exact, true)
  })

  t.test('the overview counts each hour of the audit trail, users, sessions and tokens, and is live within seconds', async t => {
    interface Hour { startsAt: string, signIns: number, failures: number, registrations: number }
    interface OverviewReply {
      at: string
      hours: Hour[]
      users: object
      sessions: object
      tokens: object
      cache: object
      settlements: { done: number, longestSeconds: number }
      instance: { startedAt: string }
    }
    const read = async (query = '') => {
      // Longer than any count is reused for that took the database its two seconds.
      await one.pass(60_001)
      const reply = await get(one, boss.token, `overview${query}`)
      t.equal(reply.statusCode, 200, reply.body)
      return reply.json<OverviewReply>()
    }
    // Far enough from the end of an hour that none ends meanwhile.
    const intoHour = one.clock.now() % 3_600_000
    if (intoHour > 3_000_000) await one.pass(3_600_000 - intoHour)
    const current = Math.floor(one.clock.now() / 3_600_000) * 3_600_000
    const add = (type: string, hoursAgo: number, ms: number) => one.database.prepared(
      'insert into events (id, created_at, type) values (gen_random_uuid(), $1, $2)',
      [new Date(current - hoursAgo * 3_600_000 + ms).toISOString(), type]
    )
    for (const [type, hoursAgo, ms] of [
      ['login_succeeded', 167, 0], ['login_succeeded', 167, 3_599_999], ['login_failed', 100, 1], ['registered', 51, 5],
      ['session_ended', 51, 5], ['login_succeeded', 168, 3_599_999]
    ] as const) await add(type, hoursAgo, ms)
    const account = await one.account()
    const before = await read()
    t.equal(before.hours.length, 24)
    const starts = before.hours.map(({ startsAt }) => Date.parse(startsAt))
    t.ok(starts.every((start, i) => start % 3_600_000 === 0 && start === (starts[0] as number) + i * 3_600_000), 'whole hours of UTC, oldest first')
    t.equal(starts.at(-1), current, 'the last one is the current')

    await one.login(account.email)
    await one.login(account.email)
    for (const _ of [1, 2, 3]) await one.login(account.email, { password: 'wrong' })
    await one.account()
    const after = await read()
    const growth = (name: 'signIns' | 'failures' | 'registrations') =>
      (after.hours.at(-1) as Hour)[name] - (before.hours.at(-1) as Hour)[name]
    t.same([growth('signIns'), growth('failures'), growth('registrations')], [2, 3, 1])

    const week = (await get(one, boss.token, 'overview?hours=168')).json<{ hours: Hour[] }>().hours
    t.equal(week.length, 168)
    const at = (hoursAgo: number) => {
      const { startsAt: _, ...counts } = week[167 - hoursAgo] as Hour
      return counts
    }
    t.same(at(167), { signIns: 2, failures: 0, registrations: 0 })
    t.same(at(100), { signIns: 0, failures: 1, registrations: 0 })
    t.same(at(51), { signIns: 0, failures: 0, registrations: 1 })
    t.same(at(50), { signIns: 0, failures: 0, registrations: 0 }, 'an hour in which nothing happened is zero')
    t.same(week.slice(-24), (await read()).hours)
    t.same((await get(one, boss.token, 'overview?hours=1')).json<{ hours: Hour[] }>().hours, week.slice(-1))

    const [row] = await one.database.prepared<Record<string, number>>(
      `select (select count(*)::int from users where email not like 'deleted:%') as total,
        (select count(*)::int from users where disabled_at is not null and email not like 'deleted:%') as disabled,
        (select count(*)::int from users where role = 'admin' and disabled_at is null) as admins,
        (select count(*)::int from sessions where ended_at is null and expires_at > $1) as sessions,
        (select count(*)::int from tokens where kind = 'personal' and revoked_at is null) as personal`,
      [new Date(one.clock.now()).toISOString()]
    )
    t.match(after.users, { total: row?.total, disabled: row?.disabled, admins: row?.admins })
    t.match(after.sessions, { active: row?.sessions })
    t.match(after.tokens, { access: { active: Number }, personal: { active: row?.personal } })

    const { settlements } = await read()
    await one.logout((await one.account()).token)
    const settled = await read()
    t.match(settled.settlements, { pending: 0, overdue: 0, done: settlements.done + 1 })
    t.ok(settled.settlements.longestSeconds > 0 && settled.settlements.longestSeconds < 60, String(settled.settlements.longestSeconds))
    t.match(settled.cache, { trusted: true, state: 'trusted', lookUps: Number, answered: Number, hitRatio: Number, trustLosses: 0 })
    t.ok(Date.parse(settled.instance.startedAt) < Date.parse(settled.at))

    for (const query of ['hours=0', 'hours=169', 'hours=1000', 'hours=x', 'hours=1.5', 'hours=-1', 'hours=', 'days=1', 'hours=1&hours=2']) {
      t.equal((await get(one, boss.token, `overview?${query}`)).statusCode, 400, query)
    }
    refused(t, await get(one, account.token, 'overview'), 403, 'AUTH_FORBIDDEN')
  })

  t.test('an hour that ends is counted on, and a day that takes too long to count is null and does not delay the others', async t => {
    const hourMs = 3_600_000
    let now = Date.parse('2026-03-29T12:58:00Z')
    const asked: Array<[from: string, until: string]> = []
    let slow: string | null = null
    const happened = [Date.parse('2026-03-29T11:59:00Z'), Date.parse('2026-03-29T12:59:00Z'), Date.parse('2026-03-27T00:00:00Z')]
    const activity = createActivity({
      clock: { now: () => now, monotonic: () => now, sleep: async () => {} },
      store: {
        async activity (from, until) {
          asked.push([from.toISOString(), until.toISOString()])
          if (slow !== null && from.toISOString().startsWith(slow)) return null
          const hours = happened.filter(at => at >= from.getTime() && at < until.getTime() && at <= now).map(at => Math.floor(at / hourMs))
          return [...new Set(hours)].map(hour => ({ hour, signIns: hours.filter(each => each === hour).length, failures: 0, registrations: 0 }))
        }
      }
    })
    const signIns = async (hours: number) => (await activity(hours)).map(({ signIns }) => signIns)
    t.same(await signIns(3), [0, 1, 0])
    now += 150_000
    t.same(await signIns(4), [0, 1, 1, 0], 'at half past one minute the hours before are complete')
    const before = asked.length
    for (let i = 0; i < 100; i++) await activity(168)
    t.equal(asked.length - before, 7, 'each day before is counted once, however often the week is asked for')
    t.equal((await signIns(168)).reduce<number>((sum, count) => sum + (count ?? 0), 0), 3)
    now += 600_001
    slow = '2026-03-27'
    const week = await activity(168)
    t.same(week.filter(({ signIns }) => signIns === null).map(({ startsAt }) => startsAt.slice(0, 10)), Array(24).fill('2026-03-27'))
  })

  t.test('what several ask for at once is read once, and a slow read is not repeated at once', async t => {
    let now = 0
    let reads = 0
    let fails = false
    const read = reused(async () => {
      reads++
      now += 1_000
      if (fails) throw new Error('gone')
      return reads
    }, { monotonic: () => now }, { freshMs: 2_000, share: 0.05 })
    t.same(await Promise.all([read(), read(), read()]), [1, 1, 1])
    now += 18_999
    t.equal(await read(), 1, 'it took a second, so it is read again after twenty')
    now += 1
    fails = true
    await t.rejects(read())
    fails = false
    t.equal(await read(), 3, 'a failure is not kept')
  })

  t.test('a settlement that nobody carries out shows as overdue', async t => {
    if (ground.databaseUrl === null) return
    const two = await startApp(t, ground)
    await one.database.prepared(
      "insert into cache_settlements (id, token_hashes, created_at, help) values (gen_random_uuid(), '{}', clock_timestamp(), false)",
      []
    )
    // Who settles needs the whole row; a row made older needs less than that. So nobody can carry it out before it is seen.
    const held = await hold(t, ground, 'select from cache_settlements for key share')
    await one.database.prepared("update cache_settlements set created_at = created_at - interval '4 s'", [])
    const { settlements } = (await get(two, boss.token, 'overview')).json<{ settlements: object }>()
    await held.release()
    t.match(settlements, { pending: 1, overdue: 1 })
    t.ok(await becomesTrue(async () => (await get(two, boss.token, 'overview')).json().settlements.pending === 0, patienceMs), 'until somebody does')
    await one.trusted()
  })

  t.test('clearing the cache invalidates every entry and ends nothing', async t => {
    const { token } = await one.account()
    await one.me(token)
    const before = (await one.tokenStats()).cache.generation
    t.equal((await post(one, boss.token, 'cache/clear')).statusCode, 204)
    t.ok((await one.tokenStats()).cache.generation > before)
    t.match(
      (await get(one, boss.token, 'events?limit=1')).json(),
      { events: [{ type: 'cache_cleared', userId: null, actorId: boss.userId }] }
    )
    const { hits } = one.counters
    t.equal((await one.me(token)).statusCode, 200)
    t.equal(one.counters.hits, hits, 'answered from the database')
    t.ok(await one.cached(token), 'and cached again')
  })
})

t.test('on two instances', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const gate = createGate()
  const death = createDeath()
  const env = { SESSION_LIMIT: '0' }
  const [
    one,
    two
  ] = await Promise.all([startApp(t, ground, { env, settle: death.settle }), startApp(t, ground, { env, backend: gate.backend })])
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const codes = async (
    token: string,
    ask = (app: TestApp) => app.me(token)
  ) => (await Promise.all([one, two].map(ask))).map(reply => reply.statusCode)
  const adminCodes = (token: string) => codes(token, app => get(app, token, 'users'))
  const boss = await administrator(one)
  /** For use after a death: the other instances would settle it in three seconds. */
  const leaveToRepetition = () => one.database.prepared('delete from cache_settlements', [])

  t.test('a demotion takes effect on both instances with the next request, and so does a promotion', async t => {
    const clerk = await administrator(one)
    t.same(await adminCodes(clerk.token), [200, 200])
    t.ok(await one.cached(clerk.token))
    t.equal((await roleOf(one, boss.token, clerk.userId, { role: 'user' })).statusCode, 204)
    t.same(await adminCodes(clerk.token), [403, 403])
    t.same(await codes(clerk.token), [200, 200], 'their session goes on')
    t.equal((await roleOf(two, boss.token, clerk.userId, { role: 'admin' })).statusCode, 204)
    t.same(await adminCodes(clerk.token), [200, 200])
  })

  t.test('a reader who fetched the old role cannot write it back', async t => {
    const clerk = await administrator(one)
    await one.cached(clerk.token)
    const held = await gate.hold(async () => {
      await redis.del(keyOf(clerk.token))
      return await get(two, clerk.token, 'users')
    })
    t.equal((await roleOf(one, boss.token, clerk.userId, { role: 'user' })).statusCode, 204)
    held.open()
    t.equal(await held.written, false)
    t.equal((await held.early).statusCode, 200, 'the request had begun before')
    t.same(await adminCodes(clerk.token), [403, 403])
  })

  t.test('a reader who fetched a personal token before its owner was disabled cannot keep it alive', async t => {
    const victim = await one.account()
    const personal = await one.personal(victim.token)
    const held = await gate.hold(async () => {
      await redis.del(keyOf(personal))
      return await two.me(personal)
    })
    t.equal((await post(one, boss.token, `users/${victim.userId}/disable`)).statusCode, 204)
    held.open()
    t.equal(await held.written, false)
    t.equal((await held.early).statusCode, 200)
    t.same(await codes(personal), [401, 401])
    t.equal((await post(two, boss.token, `users/${victim.userId}/enable`)).statusCode, 204)
    t.same(await codes(personal), [200, 200])
  })

  t.test('a login that checked the password before the account was disabled gets nothing', async t => {
    const victim = await one.account()
    const row = await holdUser(t, ground, victim.userId)
    const disabling = post(one, boss.token, `users/${victim.userId}/disable`)
    await row.waiters(1)
    const login = two.login(victim.email)
    await row.waiters(2)
    await row.release()
    t.equal((await disabling).statusCode, 204)
    refused(t, await login, 401, 'AUTH_INVALID_CREDENTIALS')
  })

  t.test('an administrator who was demoted while their request waited can do nothing any more', async t => {
    const [clerk, victim] = [await administrator(one), await one.account()]
    const row = await holdUser(t, ground, clerk.userId)
    const demotion = roleOf(one, boss.token, clerk.userId, { role: 'user' })
    await row.waiters(1)
    const requests = [
      post(
        two,
        clerk.token,
        `users/${victim.userId}/disable`
      ), post(two, clerk.token, `users/${victim.userId}/revoke`), post(two, clerk.token, `users/${victim.userId}/enable`),
      roleOf(
        two,
        clerk.token,
        clerk.userId,
        { role: 'admin' }
      ), post(two, clerk.token, 'users', { email: newEmail(), role: 'admin' }), post(two, clerk.token, 'cache/clear')
    ]
    // One of them waits for the lock, the others for their turn behind it.
    await row.waiters(2)
    await row.release()
    t.equal((await demotion).statusCode, 204)
    for (const reply of await Promise.all(requests)) refused(t, reply, 403, 'AUTH_FORBIDDEN')
    t.same(await codes(victim.token), [200, 200])
  })

  t.test('an administrator whose session ended while their request waited can do nothing any more', async t => {
    const [clerk, victim] = [await administrator(one), await one.account()]
    const row = await holdUser(t, ground, clerk.userId)
    const logout = one.logout(clerk.token)
    await row.waiters(1)
    const request = post(two, clerk.token, `users/${victim.userId}/revoke`)
    await row.waiters(2)
    await row.release()
    t.equal((await logout).statusCode, 204)
    refused(t, await request, 401, 'AUTH_INVALID_TOKEN')
    t.same(await codes(victim.token), [200, 200])
  })

  t.test('administrators who act on each other at once do not deadlock, and one always remains', async t => {
    for (let round = 0; round < 5; round++) {
      const pair = [await administrator(one), await administrator(two)] as const
      const replies = await Promise.all([
        roleOf(one, pair[0].token, pair[1].userId, { role: 'user' }), roleOf(two, pair[1].token, pair[0].userId, { role: 'user' }),
        post(one, pair[0].token, `users/${pair[1].userId}/disable`), post(two, pair[1].token, `users/${pair[0].userId}/disable`)
      ])
      t.notOk(replies.some(reply => reply.statusCode >= 500), replies.map(reply => reply.statusCode).join())
      const [row] = await one.database.prepared<{ left: number }>(
        "select count(*)::int as left from users where role = 'admin' and disabled_at is null and id in ($1, $2)",
        [pair[0].userId, pair[1].userId]
      )
      t.equal(row?.left, 1, 'one of the two is left')
    }
    await one.database.prepared("update users set role = 'user' where id <> $1", [boss.userId])
    const other = await administrator(two)
    const row = await hold(t, ground, `select from users where role = 'admin' for update`)
    const early = roleOf(one, boss.token, other.userId, { role: 'user' })
    await row.waiters(1)
    const late = post(two, other.token, `users/${boss.userId}/disable`)
    await row.waiters(2)
    await row.release()
    t.same((await Promise.all([early, late])).map(reply => reply.statusCode), [204, 403])
  })

  t.test('a change takes effect even if the process that made it dies, and repeating it enforces it on both instances', async t => {
    const clerk = await administrator(two)
    t.same(await adminCodes(clerk.token), [200, 200])
    t.ok(await one.cached(clerk.token))
    death.comes()
    refused(t, await roleOf(one, boss.token, clerk.userId, { role: 'user' }), 503, 'AUTH_UNAVAILABLE')
    await leaveToRepetition()
    t.equal((await roleOf(one, boss.token, clerk.userId, { role: 'user' })).statusCode, 204)
    t.same(await adminCodes(clerk.token), [403, 403])

    const second = await administrator(two)
    await adminCodes(second.token)
    t.ok(await one.cached(second.token))
    death.comes()
    refused(t, await roleOf(one, boss.token, second.userId, { role: 'user' }), 503, 'AUTH_UNAVAILABLE')
    await leaveToRepetition()
    const accepted = await becomesTrue(async () => {
      const { hits } = one.counters
      refused(t, await post(one, second.token, 'cache/clear'), 403, 'AUTH_FORBIDDEN', 'a request of the demoted administrator settles it')
      return one.counters.hits > hits
    }, patienceMs)
    t.ok(accepted, 'answered by a cache that does not know of it yet')
    t.same(await adminCodes(second.token), [403, 403])
  })

  t.test('revoking everybody ends everything that many users have, whatever is cached', async t => {
    await one.database.prepared(`
      with made as (insert into users (id, email, password_hash, created_at) select gen_random_uuid(), 'many' || n || '@example.com', 'x', now() from generate_series(1, 450) n returning id),
      opened as (insert into sessions (id, user_id, created_at, last_used_at, expires_at) select gen_random_uuid(), id, now(), now(), now() + interval '1 day' from made returning id, user_id)
      insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at)
      select gen_random_uuid(), sha256(id::text::bytea), 'access', user_id, id, '{*}', now(), now() + interval '1 day' from opened`, [])
    const accounts = await Promise.all([one, two, one].map(app => app.account()))
    const tokens = [...accounts.map(({ token }) => token), await one.personal(accounts[0]?.token ?? ''), boss.token]
    for (const token of tokens) await codes(token)
    const [before] = await one.database.prepared<{ live: number }>('select count(*)::int as live from sessions where ended_at is null', [])
    const row = await holdUser(t, ground, accounts[2]?.userId ?? '')
    const revocation = one.admin.revokeEveryone(operator)
    await row.waiters(1)
    const late = two.login(accounts[2]?.email ?? '')
    await row.waiters(2)
    await row.release()
    const ended = await revocation
    t.match(ended, { sessions: before?.live })
    t.ok(ended.users >= 454 && ended.personalTokens >= 1, JSON.stringify(ended))
    for (const token of tokens) t.same(await codes(token), [401, 401])
    t.same(await codes((await late).json().accessToken), [200, 200], 'whoever logs in behind it stays logged in')
    const [left] = await one.database.prepared<{ live: number }>('select count(*)::int as live from tokens where revoked_at is null', [])
    t.equal(left?.live, 1)
    const [told] = await one.database.prepared<{ told: number }>(
      "select count(*)::int as told from events where type = 'session_ended' and cause = 'command'",
      []
    )
    t.equal(told?.told, before?.live, 'and each of them is recorded')
    t.equal((await two.login(accounts[0]?.email ?? '')).statusCode, 200)
  })

  t.test('when revoking everybody is answered, even the last token is dead in every cache', async t => {
    const { token } = await one.account()
    await codes(token)
    t.ok(await one.cached(token))
    t.ok(await two.cached(token), 'in use')
    await one.admin.revokeEveryone(operator)
    t.same(await codes(token), [401, 401])
  })

  t.test('none of it was an error of the server', async t => {
    for (const app of [one, two]) t.same(app.log.filter(line => /"level":(50|60)/.test(line)), [])
  })
})
