import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createTestClock, newEmail, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { refusedAs } from '../fixtures/refused.js'
import { type Openapi, operationsOf } from '../slow/fuzz/checks.js'

interface Opened { accessToken: string, refreshToken: string, user: { id: string, email: string }, session: { id: string } }

const wrong = 'not the password'

t.test('accounts', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const clock = createTestClock()
  const env = { SESSION_LIMIT: '0', LOGIN_LIMIT: '100000/1m' }
  const one = await startApp(t, ground, { env, clock })
  const two = await startApp(t, ground, { env, clock })
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())

  const from = (
    app: TestApp,
    email: string,
    secret: string,
    remoteAddress: string
  ) => app.app.inject({ method: 'POST', url: '/v1/login', remoteAddress, payload: { email, password: secret } })
  const address = (n: number) => `203.0.${113 + (n >> 8)}.${n & 255}`

  async function admin (): Promise<{ email: string, token: string, userId: string }> {
    const account = await one.account()
    await one.database.prepared("update users set role = 'admin' where id = $1", [account.userId])
    return { ...account, token: (await one.login(account.email)).json<Opened>().accessToken }
  }
  async function cached (t: Test, token: string): Promise<void> {
    t.strictSame(
      (await Promise.all([one, two, one, two].map(app => app.me(token)))).map(({ statusCode }) => statusCode),
      [200, 200, 200, 200],
      'cached on both'
    )
  }
  async function dead (t: Test, token: string, what: string): Promise<void> {
    for (const reply of await Promise.all([one, two, one, two].map(app => app.me(token)))) refusedAs(
      t,
      reply,
      401,
      'AUTH_INVALID_TOKEN',
      what
    )
  }

  t.test('63B at most 100 consecutive failures an account: 101 from 101 addresses are blocked, a Redis flush changes nothing, and the owner gets in from where he was before', async t => {
    const { email } = (await one.register()).json<Opened>().user
    t.equal((await from(one, email, password, '198.51.100.20')).statusCode, 200, 'the owner is known from here')
    for (let i = 0; i < 100; i++) await from(i % 2 === 0 ? one : two, email, wrong, address(i))
    for (const app of [
      one,
      two
    ]) t.not((await from(app, email, password, address(500))).statusCode, 200, 'blocked, with the right password too')
    const keys = await redis.keys(`${ground.prefix}limit:*`)
    if (keys.length > 0) await redis.del(...keys)
    t.not((await from(one, email, password, address(501))).statusCode, 200, 'still blocked without what Redis knew')
    t.equal((await from(two, email, password, '198.51.100.20')).statusCode, 200, 'the owner')
  })

  t.test('63B fewer failures than 100 block nobody, and a success begins anew', async t => {
    const { email } = (await one.register()).json<Opened>().user
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 99; i++) await from(one, email, wrong, address(i))
      t.equal((await from(one, email, password, address(99 + round))).statusCode, 200)
    }
  })

  t.test('63B an account that does not exist is blocked like one that does', async t => {
    const [email, nobody] = [(await one.register()).json<Opened>().user.email, newEmail()]
    for (let i = 0; i < 101; i++) for (const each of [email, nobody]) await from(one, each, wrong, address(i))
    const [known, unknown] = [await from(one, email, wrong, address(300)), await from(one, nobody, wrong, address(300))]
    t.equal(known.statusCode, unknown.statusCode)
    t.strictSame(known.json(), unknown.json())
  })

  t.test('V6.2.4, V6.2.12 common and breached passwords are refused on register and change', async t => {
    const { token } = await one.account()
    for (const common of [
      'password',
      '12345678',
      '123456789',
      'iloveyou',
      'sunshine',
      'princess',
      'football',
      'baseball',
      'password1',
      'qwertyuiop',
      'PASSWORD',
      'Password1'
    ]) {
      refusedAs(t, await one.register(newEmail(), { password: common }), 400, 'AUTH_PASSWORD_REJECTED', common)
      refusedAs(
        t,
        await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: common } }),
        400,
        'AUTH_PASSWORD_REJECTED',
        common
      )
    }
    const email = newEmail()
    for (const own of [
      email,
      email.toUpperCase(),
      email.split('@')[0] as string
    ]) refusedAs(t, await one.register(email, { password: own }), 400, 'AUTH_PASSWORD_REJECTED', 'his own email')
    refusedAs(
      t,
      await one.register(newEmail(), { name: 'Kvzmorgenthaler', password: 'kvzmorgenthaler' }),
      400,
      'AUTH_PASSWORD_REJECTED',
      'his own name'
    )
    t.equal((await one.register(newEmail(), { password: 'kq7vzx3m' })).statusCode, 201)
  })

  t.test('V7.4.2, V7.4.5 disabling a user ends his tokens at once on every instance, by the hand of an admin', async t => {
    const boss = await admin()
    const victim = (await one.register(newEmail(), { refresh: true })).json<Opened>()
    await cached(t, victim.accessToken)
    t.equal((await two.call('POST', `/v1/admin/users/${victim.user.id}/disable`, { token: boss.token })).statusCode, 204)
    await dead(t, victim.accessToken, 'disabled')
    t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken: victim.refreshToken } })).statusCode, 401)
    refusedAs(t, await one.login(victim.user.email), 401, 'AUTH_INVALID_CREDENTIALS')
    t.equal((await one.call('POST', `/v1/admin/users/${victim.user.id}/enable`, { token: boss.token })).statusCode, 204)
    t.equal((await two.login(victim.user.email)).statusCode, 200, 'enabled')
    await dead(t, victim.accessToken, 'and what was ended stays so')
  })

  t.test('V7.4.5 an admin ends the sessions of a user', async t => {
    const boss = await admin()
    const victim = (await one.register()).json<Opened>()
    await cached(t, victim.accessToken)
    const listed = await two.call('GET', `/v1/admin/users/${victim.user.id}/sessions`, { token: boss.token })
    t.match(listed.json(), { sessions: [{ id: victim.session.id }] })
    t.equal((await two.call('POST', `/v1/admin/users/${victim.user.id}/revoke`, { token: boss.token })).statusCode, 204)
    await dead(t, victim.accessToken, 'revoked')
  })

  t.test('V7.4.2 deleting the account ends its tokens at once on every instance', async t => {
    const victim = (await one.register(newEmail(), { refresh: true })).json<Opened>()
    await cached(t, victim.accessToken)
    t.equal((await two.call('DELETE', '/v1/me', { token: victim.accessToken })).statusCode, 204)
    await dead(t, victim.accessToken, 'deleted')
    t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken: victim.refreshToken } })).statusCode, 401)
    refusedAs(t, await one.login(victim.user.email), 401, 'AUTH_INVALID_CREDENTIALS')
    t.same(await one.database.prepared('select id from users where id = $1', [victim.user.id]), [])
  })

  t.test('V8.2.1, V8.2.2 role by route: each route of OpenAPI refuses whom it has to', async t => {
    const boss = await admin()
    const operations = operationsOf((await one.call('GET', '/openapi.json')).json<Openapi>())
    const open = [
      'GET /',
      'GET /health/live',
      'GET /health/ready',
      'POST /v1/register',
      'POST /v1/admin/setup',
      'POST /v1/login',
      'POST /v1/login/second-factor',
      'POST /v1/refresh',
      'POST /v1/password/forgot',
      'POST /v1/password/reset',
      'POST /v1/email/verify',
      'GET /.well-known/oauth-authorization-server'
    ]
    /** Answered without an access token too: by a refresh token in the body, or with null. */
    const optional = ['POST /v1/logout', 'POST /v1/logout-all', 'GET /v1/session']
    const forAnyToken = ['GET /v1/me', 'GET /v1/session', 'GET /v1/forward-auth']
    const missing = '00000000-0000-4000-8000-000000000000'
    let administrative = 0
    for (const { name, method, path, security, responses } of operations.filter(({ path }) => !path.startsWith('/oauth/'))) {
      t.equal(security.length > 0, !open.includes(name), `${name} declares its guard`)
      if (open.includes(name)) continue
      const asked = (token?: string) =>
        one.call(
          method as 'GET',
          path.replace(/\{\w+\}/g, missing),
          { ...token === undefined ? {} : { token }, ...method === 'GET' || method === 'DELETE' ? {} : { body: { unknown: 1 } } }
        )
      // Some of these succeed: then it is no longer the same user.
      const user = await one.account()
      const personal = (await one.call(
        'POST',
        '/v1/tokens',
        { token: user.token, body: { name: 'x' } }
      )).json<{ accessToken: string }>().accessToken
      const missingToken = responses[401]?.content === undefined ? null : 'AUTH_MISSING_TOKEN'
      if (!optional.includes(name)) refusedAs(t, await asked(), 401, missingToken, `${name} without a token`)
      const byPersonal = await asked(personal)
      if (!forAnyToken.includes(name)) t.ok(
        byPersonal.statusCode === 403 || byPersonal.statusCode === 400,
        `${name} by a personal token: ${byPersonal.statusCode}`
      )
      const byUser = await asked(user.token)
      if (path.startsWith('/v1/admin/')) {
        administrative++
        t.ok(byUser.statusCode === 403 && byUser.body.includes('AUTH_FORBIDDEN'), `${name} by a user: ${byUser.statusCode} ${byUser.body}`)
        t.not((await asked(boss.token)).statusCode, 403, `${name} by an admin`)
      } else t.notMatch(byUser.body, 'AUTH_FORBIDDEN', `${name} by a user`)
    }
    t.ok(administrative >= 10, `${administrative} routes for admins`)
  })

  t.test("V8.3.2 a demoted admin's next request is 403 everywhere, and a promoted user's next is not", async t => {
    const [boss, other] = [await admin(), await admin()]
    for (const app of [one, two]) t.equal((await app.call('GET', '/v1/admin/users', { token: other.token })).statusCode, 200, 'cached')
    t.equal((await one.call('PUT', `/v1/admin/users/${other.userId}/role`, { token: boss.token, body: { role: 'user' } })).statusCode, 204)
    for (const app of [two, one]) refusedAs(t, await app.call('GET', '/v1/admin/users', { token: other.token }), 403, 'AUTH_FORBIDDEN')
    t.equal((await two.me(other.token)).statusCode, 200, 'his session goes on')
    t.equal((await two.call('PUT', `/v1/admin/users/${other.userId}/role`, { token: boss.token, body: { role: 'admin' } })).statusCode, 204)
    for (const app of [one, two]) t.equal((await app.call('GET', '/v1/admin/users', { token: other.token })).statusCode, 200)
  })

  t.test('V8.2.3 no user makes himself an admin', async t => {
    const user = await one.account()
    t.equal((await one.call('PATCH', '/v1/me', { token: user.token, body: { role: 'admin' } })).statusCode, 400)
    refusedAs(
      t,
      await one.call('PUT', `/v1/admin/users/${user.userId}/role`, { token: user.token, body: { role: 'admin' } }),
      403,
      'AUTH_FORBIDDEN'
    )
    t.equal((await one.me(user.token)).json<{ user: { role: string } }>().user.role, 'user')
  })

  t.test('V16.3.1 failed logins, changes of the password, reuse, disabling and roles are recorded with their cause', async t => {
    const boss = await admin()
    const opened = (await one.register(newEmail(), { refresh: true })).json<Opened>()
    const { id, email } = opened.user
    await one.login(email, { password: wrong })
    await one.call(
      'PUT',
      '/v1/password',
      { token: (await one.login(email)).json<Opened>().accessToken, body: { currentPassword: password, newPassword: 'kq7vzx3mpwty' } }
    )
    const reused = (await one.login(email, { password: 'kq7vzx3mpwty', refresh: true })).json<Opened>().refreshToken
    await one.call('POST', '/v1/refresh', { body: { refreshToken: reused } })
    await one.pass(31_000)
    await two.trusted()
    refusedAs(t, await one.call('POST', '/v1/refresh', { body: { refreshToken: reused } }), 401, 'AUTH_TOKEN_REUSED')
    await one.call('PUT', `/v1/admin/users/${id}/role`, { token: boss.token, body: { role: 'admin' } })
    await one.call('POST', `/v1/admin/users/${id}/disable`, { token: boss.token })
    const { events } = (await one.call('GET', `/v1/admin/events?userId=${id}`, { token: boss.token })).json<{
      events: Array<{ type: string, cause: string | null, actorId: string | null, ip: string | null }>
    }>()
    t.match(events.find(({ type }) => type === 'login_failed'), { cause: 'wrong_password', ip: '127.0.0.1' })
    for (const type of [
      'registered',
      'login_succeeded',
      'password_changed',
      'refresh_token_reused'
    ]) t.ok(events.some(event => event.type === type), type)
    for (const type of [
      'role_changed',
      'user_disabled'
    ]) t.equal(events.find(event => event.type === type)?.actorId, boss.userId, `${type}, and by whom`)
  })
})
