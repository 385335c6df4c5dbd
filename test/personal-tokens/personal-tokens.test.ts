import { createHash } from 'node:crypto'
import fastify, { type LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { requireAbility } from '../../src/embedding/guards.js'
import type { Principal } from '../../src/tokens/principal.js'
import { createTestClock, newEmail, onEachGround, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { holdUser } from '../fixtures/locks.js'
import { createPostbox, tokenIn } from '../fixtures/mail.js'

interface Shown { id: string, name: string, abilities: string[], createdAt: string, expiresAt: string | null, lastUsedAt: string | null }
interface Made { accessToken: string, token: Shown }

const make = (app: TestApp, token: string, body: object = { name: 'script' }) => app.call('POST', '/v1/tokens', { token, body })
const listOf = async (app: TestApp, token: string) => (await app.call('GET', '/v1/tokens', { token })).json<{ tokens: Shown[] }>().tokens

async function made (app: TestApp, token: string, body: object = { name: 'script' }): Promise<Made> {
  const reply = await make(app, token, body)
  if (reply.statusCode !== 201) throw new Error(`POST /v1/tokens answered ${reply.statusCode} ${reply.body}`)
  return reply.json<Made>()
}

function refused (t: Test, reply: Response, statusCode: number, code: string, what = code): void {
  t.strictSame([reply.statusCode, reply.json<{ code: string }>().code], [statusCode, code], what)
}

onEachGround(t, async (t, ground) => {
  const clock = createTestClock()
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '1' }, clock })
  /** An account whose session may do no more than `abilities`. */
  const limited = async (abilities: string[]) => (await one.register(newEmail(), { abilities })).json<{ accessToken: string }>().accessToken

  t.test('a personal token identifies its user, without a session', async t => {
    const { token, userId, email } = await one.account()
    const { accessToken, token: shown } = await made(one, token, { name: 'deploy', abilities: ['orders:read'] })
    t.match(accessToken, /^lkp_[0-9A-Za-z]{50}$/)
    t.match(shown, { name: 'deploy', abilities: ['orders:read'], expiresAt: null, lastUsedAt: null })
    for (const from of ['the database', 'the cache', 'the cache again']) {
      const reply = await one.me(accessToken)
      t.equal(reply.statusCode, 200, from)
      t.match(
        reply.json(),
        {
          user: { id: userId, email },
          session: null,
          token: { id: shown.id, kind: 'personal', abilities: ['orders:read'], expiresAt: null }
        },
        from
      )
    }
    t.equal(Object.keys(reply(await one.me(accessToken)).token).length, 4)
  })

  t.test('the first use of a token without an expiry is cached', async t => {
    const { token } = await one.account()
    const { accessToken } = await made(one, token)
    t.ok(await one.cached(accessToken), 'with expiresAt null')
  })

  t.test('the list shows live tokens, newest first, and no secret', async t => {
    const { token } = await one.account()
    const first = await made(one, token, { name: 'first' })
    await one.pass(1_000)
    const second = await made(one, token, { name: 'second', expiresIn: 60 })
    await one.pass(1_000)
    const third = await made(one, token, { name: 'third' })
    const listed = await one.call('GET', '/v1/tokens', { token })
    t.strictSame(listed.json<{ tokens: Shown[] }>().tokens, [third.token, second.token, first.token])
    t.notMatch(listed.body, /lkp_/)
    await one.pass(60_000)
    await one.call('DELETE', `/v1/tokens/${third.token.id}`, { token })
    t.strictSame((await listOf(one, token)).map(({ name }) => name), ['first'])
  })

  t.test('expiresIn ends a token, even a cached one', async t => {
    const { token } = await one.account()
    const { accessToken, token: shown } = await made(one, token, { name: 'hour', expiresIn: 3_600 })
    t.equal(Date.parse(shown.expiresAt ?? '') - Date.parse(shown.createdAt), 3_600_000)
    await one.pass(3_500_000)
    t.equal((await one.me(accessToken)).statusCode, 200)
    t.equal((await one.me(accessToken)).json<{ token: Shown }>().token.expiresAt, shown.expiresAt)
    await one.pass(100_001)
    refused(t, await one.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('a token has the abilities of its maker by default, and never more', async t => {
    const { token } = await one.account()
    t.strictSame((await made(one, token)).token.abilities, ['*'])
    t.strictSame((await made(one, token, { name: 'none', abilities: [] })).token.abilities, [])
    t.strictSame((await made(one, token, { name: 'some', abilities: ['a', 'b'] })).token.abilities, ['a', 'b'])
    refused(
      t,
      await make(one, token, { name: 'service', abilities: ['introspect'] }),
      403,
      'AUTH_INSUFFICIENT_ABILITY',
      '* does not include introspect'
    )
    refused(t, await make(one, token, { name: 'service', abilities: ['*', 'introspect'] }), 403, 'AUTH_INSUFFICIENT_ABILITY')

    const reader = await limited(['orders:read', 'orders:write'])
    t.strictSame((await made(one, reader)).token.abilities, ['orders:read', 'orders:write'])
    t.strictSame((await made(one, reader, { name: 'less', abilities: ['orders:read'] })).token.abilities, ['orders:read'])
    for (const abilities of [['*'], ['orders:read', 'users:read'], ['orders'], ['introspect']]) {
      refused(t, await make(one, reader, { name: 'more', abilities }), 403, 'AUTH_INSUFFICIENT_ABILITY', abilities.join())
    }
    t.equal((await listOf(one, reader)).length, 2, 'a refused request makes nothing')
    refused(t, await one.register(newEmail(), { abilities: ['introspect'] }), 403, 'AUTH_INSUFFICIENT_ABILITY', 'nor does a session get it')
  })

  t.test('malformed requests are refused before anything is made', async t => {
    const { token } = await one.account()
    for (const body of [
      {},
      { name: '' },
      { name: 'x'.repeat(201) },
      { name: 'x', expiresIn: 0 },
      { name: 'x', expiresIn: 1.5 },
      { name: 'x', expiresIn: 9e15 },
      { name: 'x', abilities: ['a b'] },
      { name: 'x', abilities: ['a', 'a'] },
      { name: 'x', role: 'admin' }
    ]) {
      t.equal((await make(one, token, body)).statusCode, 400, JSON.stringify(body))
    }
    t.strictSame(await listOf(one, token), [])
    t.equal((await make(one, token, { name: 'x', expiresIn: 3_153_600_000 })).statusCode, 201, 'a hundred years')
  })

  t.test('past PERSONAL_TOKEN_LIMIT no token can be made until one is ended or expires, not even by many requests at once', async t => {
    const two = await startApp(t, ground, { env: { PERSONAL_TOKEN_LIMIT: '3' }, clock })
    const { token } = await two.account()
    const first = await made(two, token)
    await made(two, token, { name: 'short', expiresIn: 60 })
    const replies = await Promise.all(Array.from({ length: 5 }, () => make(two, token)))
    t.same(replies.map(({ statusCode }) => statusCode).sort(), [201, 409, 409, 409, 409])
    refused(t, await make(two, token), 409, 'AUTH_TOKEN_LIMIT')
    await two.call('DELETE', `/v1/tokens/${first.token.id}`, { token })
    t.equal((await make(two, token)).statusCode, 201, 'one was ended')
    await two.pass(60_001)
    t.equal((await make(two, token)).statusCode, 201, 'one has expired')
    refused(t, await make(two, token), 409, 'AUTH_TOKEN_LIMIT')
    t.equal((await make(two, (await two.account()).token)).statusCode, 201, 'another account has its own count')
  })

  t.test('where mails are sent, nobody can make a token before their address is verified', async t => {
    const postbox = createPostbox()
    const two = await startApp(t, ground, { env: { SMTP_URL: 'smtp://127.0.0.1:1' }, clock, mailer: postbox.mailer })
    const { token, email } = await two.account()
    refused(t, await make(two, token), 403, 'AUTH_EMAIL_UNVERIFIED')
    refused(t, await make(two, token, { name: 'script', password }), 403, 'AUTH_EMAIL_UNVERIFIED', 'the password does not help')
    t.strictSame(await listOf(two, token), [])
    const verified = await two.call('POST', '/v1/email/verify', { body: { token: tokenIn(await postbox.wait(email, 'verify_email')) } })
    t.equal(verified.statusCode, 204)
    t.equal((await make(two, token)).statusCode, 201)
  })

  t.test('a password that is sent must be right', async t => {
    const { token } = await one.account()
    refused(t, await make(one, token, { name: 'x', password: 'something else' }), 403, 'AUTH_WRONG_PASSWORD')
    t.equal((await make(one, token, { name: 'x', password })).statusCode, 201)
  })

  t.test('login, logout and logout-all leave personal tokens alone', async t => {
    const { token, email } = await one.account()
    const { accessToken } = await made(one, token)
    const replaced = (await one.login(email)).json<{ accessToken: string }>().accessToken
    refused(t, await one.me(token), 401, 'AUTH_SESSION_REPLACED', 'the session is replaced')
    t.equal((await one.me(accessToken)).statusCode, 200)
    t.equal((await one.logout(replaced)).statusCode, 204)
    t.equal((await one.me(accessToken)).statusCode, 200)
    const again = (await one.login(email)).json<{ accessToken: string }>().accessToken
    t.equal((await one.call('POST', '/v1/logout-all', { token: again })).statusCode, 204)
    t.equal((await one.me(accessToken)).statusCode, 200)
  })

  t.test('a password change leaves personal tokens alone, unless asked to end them', async t => {
    const { token } = await one.account()
    const [first, second] = [await made(one, token), await made(one, token)]
    const change = (
      using: string,
      currentPassword: string,
      newPassword: string,
      more: object = {}
    ) => one.call('PUT', '/v1/password', { token: using, body: { currentPassword, newPassword, ...more } })
    const kept = (await change(token, password, 'another long password')).json<{ accessToken: string }>()
    for (const { accessToken } of [first, second]) t.equal((await one.me(accessToken)).statusCode, 200)
    const reply = await change(kept.accessToken, 'another long password', 'a third long password', { revokePersonalTokens: true })
    t.equal(reply.statusCode, 200, reply.body)
    for (const { accessToken } of [first, second]) refused(t, await one.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
    t.strictSame(await listOf(one, reply.json<{ accessToken: string }>().accessToken), [])
  })

  t.test('a personal token opens no route that needs a session', async t => {
    const { token, sessionId } = await one.account()
    const { accessToken, token: { id } } = await made(one, token)
    const routes = [
      ['PUT', '/v1/password', { currentPassword: password, newPassword: 'another long password' }],
      ['GET', '/v1/sessions', undefined], ['DELETE', '/v1/sessions', undefined], ['DELETE', `/v1/sessions/${sessionId}`, undefined],
      ['POST', '/v1/tokens', { name: 'child' }], ['GET', '/v1/tokens', undefined], ['DELETE', `/v1/tokens/${id}`, undefined],
      ['POST', '/v1/logout', undefined], ['POST', '/v1/logout-all', undefined]
    ] as const
    for (const [method, url, body] of routes) {
      refused(
        t,
        await one.call(method, url, { token: accessToken, ...body === undefined ? {} : { body } }),
        403,
        'AUTH_SESSION_REQUIRED',
        `${method} ${url}`
      )
    }
    t.equal((await one.me(token)).statusCode, 200, 'nothing was ended')
    t.equal((await one.me(accessToken)).statusCode, 200)
  })

  t.test('users can end their own tokens by id, even twice, and nobody else’s', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    const { accessToken, token: { id } } = await made(one, mine.token)
    const session = (await one.me(mine.token)).json<{ token: { id: string } }>().token.id
    for (const [token, target] of [
      [theirs.token, id],
      [mine.token, '00000000-0000-4000-8000-000000000000'],
      [mine.token, 'nonsense'],
      [mine.token, session]
    ] as const) {
      refused(t, await one.call('DELETE', `/v1/tokens/${target}`, { token }), 404, 'AUTH_NOT_FOUND', target)
    }
    t.equal((await one.me(accessToken)).statusCode, 200)
    t.equal((await one.me(mine.token)).statusCode, 200, 'an access token is not a personal token')
    for (const target of [
      id,
      id.toUpperCase()
    ]) t.equal((await one.call('DELETE', `/v1/tokens/${target}`, { token: mine.token })).statusCode, 204)
    refused(t, await one.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('the last use of a personal token is recorded', async t => {
    const { token } = await one.account()
    const { accessToken } = await made(one, token)
    await one.pass(60_000)
    const usedAt = clock.now()
    await one.me(accessToken)
    await one.lastUse.flush()
    const [only] = await listOf(one, token)
    t.ok(Date.parse(only?.lastUsedAt ?? '') >= usedAt - 1)
  })
})

t.test('two instances on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const [one, two] = await Promise.all([startApp(t, ground), startApp(t, ground)])
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`

  /** Both instances answer for the token from the cache. */
  async function cached (t: Test, token: string) {
    for (const app of [one, two]) t.ok(await app.cached(token), 'cached')
  }

  t.test('a token that is ended is dead on both instances at once, even if cached', async t => {
    const { token } = await one.account()
    const { accessToken, token: { id } } = await made(one, token)
    await cached(t, accessToken)
    t.equal((await two.call('DELETE', `/v1/tokens/${id}`, { token })).statusCode, 204)
    for (const app of [one, two]) refused(t, await app.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
    t.equal(await redis.get(keyOf(accessToken)), 'R')
  })

  t.test('tokens ended by a password change are dead on both instances at once, even if cached', async t => {
    const { token } = await one.account()
    const { accessToken } = await made(one, token)
    await cached(t, accessToken)
    t.equal(
      (await two.call(
        'PUT',
        '/v1/password',
        { token, body: { currentPassword: password, newPassword: 'another long password', revokePersonalTokens: true } }
      )).statusCode,
      200
    )
    for (const app of [one, two]) refused(t, await app.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('the tokens of a disabled user are dead once their cache entries are gone', async t => {
    const { token, userId } = await one.account()
    const { accessToken } = await made(one, token)
    await cached(t, accessToken)
    await one.database.prepared('update users set disabled_at = now() where id = $1', [userId])
    await redis.del(keyOf(accessToken))
    for (const app of [one, two]) refused(t, await app.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
    t.equal((await redis.get(keyOf(accessToken)))?.startsWith('V') === true, false, 'and nobody fills a new entry')
    await one.database.prepared('update users set disabled_at = null where id = $1', [userId])
    await redis.del(keyOf(accessToken))
    t.equal((await two.me(accessToken)).statusCode, 200, 'enabled again')
  })

  t.test('a session that a logout has ended cannot make a token', async t => {
    const { token, userId } = await one.account()
    const row = await holdUser(t, ground, userId)
    const ending = one.logout(token)
    await row.waiters(1)
    const making = make(two, token)
    await row.waiters(2)
    await row.release()
    t.equal((await ending).statusCode, 204)
    refused(t, await making, 401, 'AUTH_INVALID_TOKEN')
    const [count] = await one.database.prepared<{ count: number }>(
      "select count(*)::int as count from tokens where user_id = $1 and kind = 'personal'",
      [userId]
    )
    t.equal(count?.count, 0)
  })
})

t.test('requireAbility lets through callers that have the ability', async t => {
  const app = fastify()
  t.teardown(() => app.close())
  app.decorateRequest('token', null)
  app.addHook('onRequest', async request => {
    const { abilities } = request.headers
    if (typeof abilities === 'string') request.token = {
      token: { id: '', kind: 'personal', abilities: JSON.parse(abilities), expiresAt: null }
    } as Principal
  })
  for (const ability of ['orders:read', 'introspect']) app.get(`/${ability}`, { preHandler: requireAbility(ability) }, async () => 'done')
  const ask = (
    ability: string,
    abilities?: string[]
  ) => app.inject({ url: `/${ability}`, headers: abilities === undefined ? {} : { abilities: JSON.stringify(abilities) } })

  for (const abilities of [
    ['orders:read'],
    ['*'],
    ['users:read', 'orders:read']
  ]) t.equal((await ask('orders:read', abilities)).statusCode, 200, abilities.join())
  for (const abilities of [
    [],
    ['orders'],
    ['orders:*'],
    ['ORDERS:READ'],
    ['introspect']
  ]) refused(t, await ask('orders:read', abilities), 403, 'AUTH_INSUFFICIENT_ABILITY', abilities.join())
  refused(t, await ask('introspect', ['*']), 403, 'AUTH_INSUFFICIENT_ABILITY', 'introspect is reserved')
  t.equal((await ask('introspect', ['introspect'])).statusCode, 200)
  t.match(
    (await ask('orders:read', [])).json(),
    { statusCode: 403, error: 'Forbidden', message: 'The token lacks the ability orders:read' }
  )
})

const reply = (from: Response) => from.json<{ token: object }>()
