import t from 'tap'
import { onEachGround, password, startApp } from '../fixtures/app.js'

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)

  t.test('a revoked token is refused even after it was cached', async t => {
    const { token } = await one.account()
    t.equal((await one.me(token)).statusCode, 200)
    t.ok(await one.cached(token), 'served from the cache')
    t.equal((await one.logout(token)).statusCode, 204)
    const refused = await one.me(token)
    t.equal(refused.statusCode, 401)
    t.match(refused.headers['www-authenticate'], /error="invalid_token"/)
  })

  t.test('a login ends the previous token', async t => {
    const { email, token } = await one.account()
    const reply = await one.login(email)
    t.equal(reply.statusCode, 200, reply.body)
    t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.me(reply.json().accessToken)).statusCode, 200)
  })

  t.test('a login says how many sessions it ended, and their next 401 says that they were replaced', async t => {
    const { email, token } = await one.account({ refresh: true })
    const { accessToken: second, refreshToken, endedSessions } = (await one.login(email, { refresh: true })).json()
    t.equal(endedSessions, 1)
    for (const why of ['from the database or the mark in the cache', 'once it is remembered']) {
      const refused = await one.me(token)
      t.strictSame([refused.statusCode, refused.json().code], [401, 'AUTH_SESSION_REPLACED'], why)
      t.match(refused.headers['www-authenticate'], /error="invalid_token"/)
    }
    await one.login(email)
    const refreshed = await one.call('POST', '/v1/refresh', { body: { refreshToken } })
    t.strictSame([refreshed.statusCode, refreshed.json().code], [401, 'AUTH_SESSION_REPLACED'])
    const third = (await one.login(email)).json().accessToken
    await one.logout(third)
    t.equal((await one.me(third)).json().code, 'AUTH_INVALID_TOKEN', 'a session that ended in another way was not replaced')
    t.equal((await one.me(second)).json().code, 'AUTH_SESSION_REPLACED')
    t.equal((await one.login(email)).json().endedSessions, 0, 'nothing was left to end')
  })

  t.test('an account has at most a thousand sessions, whatever SESSION_LIMIT says', async t => {
    const unlimited = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
    const { email, userId, token } = await unlimited.account()
    await unlimited.database.prepared(`insert into sessions (id, user_id, created_at, last_used_at, expires_at)
      select gen_random_uuid(), $1::uuid, now() + interval '1 day', now() + interval '1 day', now() + interval '30 days' from generate_series(1, 999)`, [userId])
    const { accessToken, endedSessions } = (await unlimited.login(email)).json()
    t.equal(endedSessions, 1)
    t.equal((await unlimited.me(token)).json().code, 'AUTH_SESSION_REPLACED', 'the oldest')
    t.equal((await unlimited.me(accessToken)).statusCode, 200)
  })

  t.test('a password change ends every other session and renews the token of this one', async t => {
    const { token, sessionId } = await one.account()
    const reply = await one.call(
      'PUT',
      '/v1/password',
      { token, body: { currentPassword: password, newPassword: 'another long password' } }
    )
    t.equal(reply.statusCode, 200, reply.body)
    t.equal(reply.json().session.id, sessionId)
    t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.me(reply.json().accessToken)).statusCode, 200)
  })
})
