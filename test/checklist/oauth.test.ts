import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { newEmail, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { alone, cliFile, compile } from '../fixtures/programs.js'

interface Opened { accessToken: string, refreshToken: string, user: { id: string }, session: { id: string } }

t.test('OAuth', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  await compile()
  const { stdout } = await promisify(execFile)(
    ...alone(
      { DATABASE_URL: ground.databaseUrl as string, REDIS_URL: ground.redisUrl as string, REDIS_KEY_PREFIX: ground.prefix },
      process.execPath,
      cliFile,
      'services:create',
      '--name',
      'orders',
      '--json'
    )
  )
  const service = /lk[a-z]_[0-9A-Za-z]{50}/.exec(stdout)?.[0] ?? 'none'

  const form = (app: TestApp, url: string, fields: Record<string, string>, authorization?: string) => app.app.inject({
    method: 'POST', url, payload: new URLSearchParams(fields).toString(), headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...authorization === undefined ? {} : { authorization }
    }
  })
  const introspect = (token: string, authorization = `Bearer ${service}`) => form(one, '/oauth/introspect', { token }, authorization)
  async function isInactive (t: Test, token: string, what: string): Promise<void> {
    const reply = await introspect(token)
    t.strictSame([reply.statusCode, reply.body], [200, '{"active":false}'], what)
  }

  t.test('RFC 7662 2.2 an inactive token says nothing more: exact bodies', async t => {
    const opened = (await one.register(newEmail(), { refresh: true })).json<Opened>()
    t.match(
      (await introspect(opened.accessToken)).json(),
      {
        active: true,
        sub: opened.user.id,
        sid: opened.session.id,
        token_type: 'Bearer',
        scope: '*',
        exp: Number,
        iat: Number,
        email_verified: false
      }
    )
    t.match((await introspect(opened.accessToken, `Basic ${Buffer.from(`orders:${service}`).toString('base64')}`)).json(), { active: true })
    for (const [what, token] of Object.entries({
      unknown: `lk_${'A'.repeat(50)}`,
      malformed: 'x',
      'a refresh token': opened.refreshToken,
      empty: ' '
    })) await isInactive(t, token, what)
    t.equal((await one.logout(opened.accessToken)).statusCode, 204)
    await isInactive(t, opened.accessToken, 'revoked')
  })

  t.test('RFC 7662 2.1 whoever is no service learns nothing', async t => {
    const { accessToken } = (await one.register()).json<Opened>()
    for (const [authorization, status] of [
      [`Bearer ${accessToken}`, 403],
      ['Bearer x', 401],
      [`Basic ${Buffer.from('orders:x').toString('base64')}`, 401]
    ] as const) {
      const reply = await introspect(accessToken, authorization)
      t.equal(reply.statusCode, status, authorization.slice(0, 9))
      t.notMatch(reply.body, 'active')
    }
    t.equal((await form(one, '/oauth/introspect', { token: accessToken })).statusCode, 401)
  })

  t.test('RFC 7009 2.2 an unknown token is answered 200 like a known one, and a known one is dead', async t => {
    const opened = (await one.register(newEmail(), { refresh: true })).json<Opened>()
    const [
      known,
      unknown,
      again
    ] = [
      await form(one, '/oauth/revoke', { token: opened.refreshToken }),
      await form(one, '/oauth/revoke', { token: 'nothing' }),
      await form(one, '/oauth/revoke', { token: opened.refreshToken })
    ]
    t.strictSame([known, unknown, again].map(({ statusCode, body }) => [statusCode, body]), Array(3).fill([200, known.body]))
    t.equal((await one.me(opened.accessToken)).statusCode, 401, 'with its session')
    await isInactive(t, opened.accessToken, 'revoked')
  })
})
