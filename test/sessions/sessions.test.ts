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

  t.test('a login ends the prior token', async t => {
    const { email, token } = await one.account()
    const reply = await one.login(email)
    t.equal(reply.statusCode, 200, reply.body)
    t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.me(reply.json().accessToken)).statusCode, 200)
  })

  t.test('a password change ends every other session and renews the token of this one', async t => {
    const { token, sessionId } = await one.account()
    const reply = await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: 'another long password' } })
    t.equal(reply.statusCode, 200, reply.body)
    t.equal(reply.json().session.id, sessionId)
    t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.me(reply.json().accessToken)).statusCode, 200)
  })
})
