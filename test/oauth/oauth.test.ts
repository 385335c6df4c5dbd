import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { issuerOf } from '../../src/oauth/metadata.js'
import { UnavailableError } from '../../src/shared/errors.js'
import type { CacheBackend } from '../../src/token-cache/backend.js'
import {
  type AppOptions,
  becomesTrue,
  createTestClock,
  embeddedGround,
  type Ground,
  newEmail,
  onEachGround,
  patienceMs,
  serverGround,
  startApp,
  type TestApp
} from '../fixtures/app.js'
import { createDeath } from '../fixtures/death.js'
import { createGate } from '../fixtures/gate.js'
import { holdUser } from '../fixtures/locks.js'
import { freePort } from '../fixtures/servers.js'

// Takes some seconds on an idle machine.
t.setTimeout(240_000)

interface Pair { accessToken: string, refreshToken: string, session: { id: string }, user: { id: string } }
type Introspected = Record<string, string | number | boolean>

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const basic = (password: string, name = 'orders') => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` })
const form = (one: TestApp, url: string, fields: Record<string, string> | string, headers: Record<string, string> = {}) => one.app.inject({
  method: 'POST', url, payload: typeof fields === 'string'
    ? fields
    : new URLSearchParams(fields).toString(), headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
})
const newService = async (one: TestApp) => (await one.serviceTokens.create(`orders-${randomBytes(4).toString('hex')}`)).plain.reveal()
const pairOf = async (one: TestApp, body: object = {}) => (await one.register(newEmail(), { refresh: true, ...body })).json<Pair>()
const personalOf = async (
  one: TestApp,
  token: string,
  body: object = {}
) =>
  (await one.call('POST', '/v1/tokens', { token, body: { name: 'script', ...body } })).json<{
    accessToken: string
    token: { id: string }
  }>()
const introspect = (one: TestApp, service: string, token: string) => form(one, '/oauth/introspect', { token }, bearer(service))
const eventsOf = async (
  one: TestApp,
  userId: string | null,
  tokenId: string | null = null
) => [...await one.database.prepared<{ type: string, cause: string | null, actor: string | null }>(
  'select type, cause, actor_id as actor from events where user_id is not distinct from $1 and ($2::uuid is null or token_id = $2) order by type', [
    userId,
    tokenId
  ])]

const inactive = '{"active":false}'

async function dead (t: Test, one: TestApp, service: string, token: string, what: string): Promise<void> {
  const reply = await introspect(one, service, token)
  t.strictSame([reply.statusCode, reply.body], [200, inactive], what)
}

/** The fields of RFC 6749 5.2, in addition to those that every error has. */
function refused (t: Test, reply: Response, status: number, error: string, code: string, what = error): void {
  t.equal(reply.statusCode, status, `${what} ${reply.body}`)
  const body = reply.json<Record<string, unknown>>()
  t.strictSame([body.error, body.code, body.statusCode], [error, code, status], what)
  t.match(body.error_description, /^[\x20\x21\x23-\x5B\x5D-\x7E]+$/, what)
  t.equal(reply.headers['cache-control'], 'no-store', what)
}

onEachGround(t, async (t, ground) => {
  const clock = createTestClock()
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' }, clock })
  const service = await newService(one)

  t.test('introspection (RFC 7662)', async t => {
    t.test('says the same about an access token as GET /v1/me, from the database and from the cache', async t => {
      const { accessToken, user, session } = await pairOf(one, { abilities: ['orders:read', 'orders:write'] })
      const { token } = (await one.me(accessToken)).json()
      for (const from of ['the database or the cache', 'the cache', 'the cache again']) {
        const reply = await introspect(one, service, accessToken)
        t.equal(reply.statusCode, 200, from)
        const said = reply.json<Introspected>()
        t.strictSame(
          said,
          {
            active: true,
            sub: user.id,
            scope: 'orders:read orders:write',
            token_type: 'Bearer',
            exp: Math.floor(Date.parse(token.expiresAt) / 1000),
            iat: said.iat,
            sid: session.id,
            amr: ['pwd'],
            acr: 'aal1',
            email_verified: false
          },
          from
        )
        t.equal(Number(said.exp) - Number(said.iat), 900)
        t.equal(reply.headers['cache-control'], 'no-store')
      }
    })

    t.test('says the same about a personal token, which has no session and may never expire', async t => {
      const { accessToken: owner, user } = await pairOf(one)
      const { accessToken } = await personalOf(one, owner, { abilities: [] })
      const said = (await introspect(one, service, accessToken)).json<Introspected>()
      t.strictSame(said, { active: true, sub: user.id, scope: '', token_type: 'Bearer', iat: said.iat, email_verified: false })
      t.ok(Math.abs(Number(said.iat) - clock.now() / 1000) < 60)
      const ending = (await introspect(one, service, (await personalOf(one, owner, { expiresIn: 60 })).accessToken)).json<Introspected>()
      t.equal(Number(ending.exp) - Number(ending.iat), 60)
    })

    t.test('gives the time a token was issued, not the time its session began', async t => {
      const { accessToken, refreshToken } = await pairOf(one)
      await one.pass(60_000)
      const next = (await one.call('POST', '/v1/refresh', { body: { refreshToken } })).json<Pair>()
      const [
        first,
        second
      ] = [
        (await introspect(one, service, accessToken)).json<Introspected>(),
        (await introspect(one, service, next.accessToken)).json<Introspected>()
      ]
      t.equal(first.sid, second.sid)
      t.ok(Number(second.iat) - Number(first.iat) >= 59, `${first.iat} and ${second.iat}`)
      if (ground.databaseUrl !== null) {
        await cleared(ground, next.accessToken)
        t.strictSame((await introspect(one, service, next.accessToken)).json(), second, 'the database says what the cache said')
      }
    })

    t.test('reports everything else as inactive, and says nothing more', async t => {
      const { accessToken, refreshToken, user } = await pairOf(one)
      const { accessToken: logged } = await pairOf(one)
      await one.logout(logged)
      const short = await personalOf(one, accessToken, { expiresIn: 1 })
      await introspect(one, service, short.accessToken)
      await one.pass(1_001)
      const made = one.tokens.parse(accessToken)?.reveal() === accessToken
      t.ok(made)
      const hash = createHash('sha256').update(accessToken).digest('hex')
      for (const [what, token] of [
        ['a refresh token', refreshToken],
        ['a service token', service],
        ['a token after logout', logged],
        ['an expired one', short.accessToken],
        ['a made-up one', `lk_${'x'.repeat(50)}`],
        ['a hash', hash],
        ['a JWT', 'e30.e30.e30'],
        ['spaces', '  '],
        ['the longest', 'x'.repeat(16_000)],
        ['NUL', '\0']
      ] as const) await dead(t, one, service, token, what)
      t.equal((await introspect(one, service, accessToken)).json().active, true, 'and this one is live')
      await one.database.prepared('update users set disabled_at = now() where id = $1', [user.id])
      if (ground.databaseUrl !== null) {
        await cleared(ground, accessToken)
        await dead(t, one, service, accessToken, 'of a disabled user')
      }
    })

    t.test('needs no hint and accepts any', async t => {
      const { accessToken } = await pairOf(one)
      for (const hint of [
        'access_token',
        'refresh_token',
        'anything',
        ''
      ]) t.equal(
        (await form(one, '/oauth/introspect', { token: accessToken, token_type_hint: hint, resource: 'x' }, bearer(service))).json().active,
        true,
        hint
      )
    })

    t.test('counts as a use of the session, of the personal token and of the service', async t => {
      const { accessToken, session } = await pairOf(one)
      const { accessToken: script, token: { id } } = await personalOf(one, accessToken)
      await one.pass(60_000)
      const at = clock.now() - 1
      for (const token of [accessToken, script]) await introspect(one, service, token)
      await one.lastUse.flush()
      const [row] = await one.database.prepared<{
        s: string
        p: string
        o: string
      }>(`select (extract(epoch from (select last_used_at from sessions where id = $1)) * 1000)::float8 as s,
        (extract(epoch from (select last_used_at from tokens where id = $2)) * 1000)::float8 as p, (extract(epoch from (select max(last_used_at) from tokens where kind = 'service')) * 1000)::float8 as o`, [
          session.id,
          id
        ])
      t.same(Object.values(row ?? {}).map(used => Number(used) >= at), [true, true, true])
    })
  })

  t.test('POST /v1/introspections says about each token what introspection says, in their order', async t => {
    const { accessToken, refreshToken } = await pairOf(one, { abilities: ['orders:read'] })
    const { accessToken: script } = await personalOf(one, accessToken)
    const { accessToken: ended } = await pairOf(one)
    await one.logout(ended)
    const ask = (tokens: unknown, headers: Record<string, string> = bearer(service), more: object = {}) =>
      one.app.inject({ method: 'POST', url: '/v1/introspections', payload: { tokens, ...more }, headers })
    const asked = [accessToken, 'no token', script, refreshToken, ended, service, accessToken]
    const alone = []
    for (const token of asked) alone.push((await introspect(one, service, token)).json<Introspected>())
    t.strictSame(alone.map(({ active }) => active), [true, false, true, false, false, false, true])

    for (const headers of [bearer(service), basic(service)]) {
      const reply = await ask(asked, headers)
      t.strictSame([reply.statusCode, reply.json(), reply.headers['cache-control']], [200, { results: alone }, 'no-store'])
    }
    t.strictSame((await ask(Array.from({ length: 100 }, () => script))).json<{ results: object[] }>().results.length, 100)

    for (const tokens of [[], Array.from({ length: 101 }, () => script), script, [1], [null], undefined]) {
      t.equal((await ask(tokens)).statusCode, 400, JSON.stringify(tokens)?.slice(0, 20))
    }
    t.equal((await ask([script], bearer(service), { more: 1 })).statusCode, 400)
    const codeOf = async (headers: Record<string, string>) => {
      const reply = await ask([script], headers)
      t.type(reply.headers['www-authenticate'], reply.statusCode === 401 ? 'string' : 'undefined')
      return [reply.statusCode, reply.json<{ code: string }>().code]
    }
    t.strictSame(await codeOf({}), [401, 'AUTH_MISSING_TOKEN'])
    t.strictSame(await codeOf({ cookie: `__Host-latchkey=${service}` }), [401, 'AUTH_MISSING_TOKEN'], 'cookies are not read')
    t.strictSame(await codeOf(bearer('lkp_no')), [401, 'AUTH_INVALID_TOKEN'])
    t.strictSame(await codeOf(bearer(script)), [403, 'AUTH_INSUFFICIENT_ABILITY'], 'a user, whatever their token may do')
  })

  t.test('who may introspect', async t => {
    const { accessToken, refreshToken } = await pairOf(one)
    const { accessToken: script } = await personalOf(one, accessToken)
    const ask = (
      headers: Record<string, string>,
      more: object = {}
    ) => form(one, '/oauth/introspect', { token: accessToken, ...more }, headers)

    t.test('a service, as Bearer or as the password of Basic, however it is written (RFC 6749 2.3.1)', async t => {
      const encoded = service.replace(/[0-9]/g, digit => `%3${digit}`).replace('_', '%5F')
      for (const headers of [
        bearer(service),
        { authorization: `bearer ${service}` },
        basic(service),
        basic(service, ''),
        basic(service, 'any%3Aone'),
        basic(encoded),
        { authorization: basic(service).authorization.replace('Basic', 'BASIC') }
      ]) {
        const reply = await ask(headers)
        t.strictSame([reply.statusCode, reply.json().active], [200, true], headers.authorization.slice(0, 20))
      }
    })

    t.test('nobody without credentials, and the reply says which ones are expected (RFC 6749 5.2, RFC 6750 3)', async t => {
      const cookie = { cookie: `__Host-latchkey=${service}; latchkey=${service}` }
      for (const [what, headers] of [
        ['none', {}],
        ['a cookie', cookie],
        ['another scheme', { authorization: `Digest ${service}` }],
        ['no scheme', { authorization: service }],
        ['the wrong case of nothing', { authorization: 'Basically x' }]
      ] as const) {
        const reply = await ask(headers)
        refused(t, reply, 401, 'invalid_client', 'AUTH_MISSING_TOKEN', what)
        t.equal(reply.headers['www-authenticate'], 'Bearer realm="latchkey", Basic realm="latchkey", charset="UTF-8"', what)
      }
      for (const url of [
        `/oauth/introspect?access_token=${service}`,
        `/oauth/introspect?token=${accessToken}`
      ]) refused(t, await form(one, url, { token: accessToken }), 401, 'invalid_client', 'AUTH_MISSING_TOKEN', 'the URL is not read')
    })

    t.test('nobody with an ended or malformed token', async t => {
      const ended = await newService(one)
      await one.database.prepared(
        "update tokens set revoked_at = now() where hash = decode($1, 'hex')",
        [createHash('sha256').update(ended).digest('hex')]
      )
      for (const token of [ended, refreshToken, `lkp_${'x'.repeat(50)}`, '', `${service} ${service}`, `${service},`, 'é']) {
        const asBearer = await ask(bearer(token))
        refused(t, asBearer, 401, 'invalid_token', 'AUTH_INVALID_TOKEN', token.slice(0, 8))
        t.match(asBearer.headers['www-authenticate'], /^Bearer realm="latchkey", error="invalid_token", Basic /)
        const asBasic = await ask(basic(token))
        refused(t, asBasic, 401, 'invalid_client', 'AUTH_INVALID_TOKEN', token.slice(0, 8))
        t.match(asBasic.headers['www-authenticate'], /^Bearer realm="latchkey", Basic realm="latchkey"/)
      }
      for (const broken of [
        'Basic',
        'Basic !!!',
        `Basic ${Buffer.from(service).toString('base64')}x`,
        `Basic ${Buffer.from(`${service}:`).toString('base64')}`,
        `Basic ${Buffer.from('a:%zz%').toString('base64')}`,
        `Basic ${Buffer.from(`a:b:${service}`).toString('base64')}`
      ]) refused(t, await ask({ authorization: broken }), 401, 'invalid_client', 'AUTH_INVALID_TOKEN', broken)
    })

    t.test('no user, whatever their token may do', async t => {
      for (const headers of [bearer(accessToken), bearer(script), basic(accessToken)]) {
        const reply = await ask(headers)
        refused(t, reply, 403, 'insufficient_scope', 'AUTH_INSUFFICIENT_ABILITY')
        t.equal(reply.headers['www-authenticate'], 'Bearer realm="latchkey", error="insufficient_scope", scope="introspect"')
      }
    })

    t.test('with only one method of authentication at a time (RFC 6749 2.3)', async t => {
      for (const secret of ['client_secret', 'client_assertion']) {
        for (const headers of [
          bearer(service),
          basic(service)
        ]) refused(t, await ask(headers, { client_id: 'orders', [secret]: service }), 400, 'invalid_request', 'AUTH_INVALID_REQUEST')
        for (const url of [
          '/oauth/introspect',
          '/oauth/revoke',
          '/oauth/token'
        ]) refused(
          t,
          await form(
            one,
            url,
            { token: accessToken, grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'orders', [secret]: service }
          ),
          401,
          'invalid_client',
          'AUTH_MISSING_TOKEN',
          `${secret} is no way at ${url}`
        )
      }
      t.equal((await ask(basic(service), { client_id: 'orders' })).statusCode, 200, 'a client_id alone proves nothing and does no harm')
    })

    t.test('a service does not count as a user on any other route', async t => {
      for (const [method, url] of [
        ['GET', '/v1/me'],
        ['GET', '/v1/sessions'],
        ['POST', '/v1/logout'],
        ['POST', '/v1/logout-all'],
        ['GET', '/v1/tokens'],
        ['GET', '/v1/events'],
        ['DELETE', '/v1/sessions'],
        ['GET', '/v1/admin/services']
      ] as const) {
        const reply = await one.call(method, url, { token: service })
        t.strictSame([reply.statusCode, reply.json().code], [403, 'AUTH_SESSION_REQUIRED'], `${method} ${url}`)
      }
      t.equal((await one.call('GET', '/v1/me', { headers: { cookie: `__Host-latchkey=${service}` } })).statusCode, 401)
    })
  })

  t.test('revocation (RFC 7009)', async t => {
    const revoke = (token: string, headers: Record<string, string> = {}) => form(one, '/oauth/revoke', { token }, headers)
    const done = (
      t: Test,
      reply: Response,
      what: string
    ) => t.strictSame([reply.statusCode, reply.body, reply.headers['cache-control']], [200, '', 'no-store'], what)

    for (const which of ['accessToken', 'refreshToken'] as const) {
      t.test(`of ${which} ends the session and all its tokens, and is recorded`, async t => {
        const pair = await pairOf(one)
        const { accessToken: script } = await personalOf(one, pair.accessToken)
        const other = await pairOf(one)
        done(t, await revoke(pair[which]), 'its owner needs no further proof')
        for (const token of [pair.accessToken, pair.refreshToken]) await dead(t, one, service, token, 'dead')
        t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken: pair.refreshToken } })).statusCode, 401)
        for (const token of [script, other.accessToken]) t.equal((await one.me(token)).statusCode, 200, 'this is a different token')
        done(t, await revoke(pair[which]), 'again')
        t.strictSame(
          (await eventsOf(one, pair.user.id)).filter(({ type }) => type === 'session_ended'),
          [{ type: 'session_ended', cause: 'token_revoked', actor: null }],
          'once'
        )
      })
    }

    t.test('of a personal token ends only that token', async t => {
      const { accessToken, user } = await pairOf(one)
      const [script, other] = [await personalOf(one, accessToken), await personalOf(one, accessToken)]
      for (let i = 0; i < 2; i++) done(t, await revoke(script.accessToken), 'twice too')
      await dead(t, one, service, script.accessToken, 'dead')
      for (const token of [accessToken, other.accessToken]) t.equal((await one.me(token)).statusCode, 200)
      t.strictSame(
        await eventsOf(one, user.id, script.token.id),
        [
          { type: 'personal_token_created', cause: null, actor: null },
          { type: 'personal_token_ended', cause: 'token_revoked', actor: null }
        ]
      )
    })

    t.test('of a service token ends only that token', async t => {
      const { plain, service: { id } } = await one.serviceTokens.create('brief')
      const { accessToken } = await pairOf(one)
      t.equal((await introspect(one, plain.reveal(), accessToken)).statusCode, 200)
      for (let i = 0; i < 2; i++) done(t, await revoke(plain.reveal()), 'twice too')
      refused(t, await introspect(one, plain.reveal(), accessToken), 401, 'invalid_token', 'AUTH_INVALID_TOKEN')
      t.equal((await introspect(one, service, accessToken)).json().active, true)
      t.strictSame(
        await eventsOf(one, null, id),
        [{ type: 'service_created', cause: 'command', actor: null }, { type: 'service_ended', cause: 'token_revoked', actor: null }]
      )
    })

    t.test('by a service is recorded with the service as the actor', async t => {
      const { plain, service: { id } } = await one.serviceTokens.create('guard')
      for (const headers of [bearer(plain.reveal()), basic(plain.reveal())]) {
        const { accessToken, user } = await pairOf(one)
        done(t, await revoke(accessToken, headers), 'done')
        await dead(t, one, service, accessToken, 'dead')
        t.match((await eventsOf(one, user.id)).at(-1), { type: 'session_ended', cause: 'token_revoked', actor: id })
      }
      const { accessToken, refreshToken, user } = await pairOf(one)
      done(t, await revoke(refreshToken, bearer(accessToken)), 'with an access token along')
      t.match((await eventsOf(one, user.id)).at(-1), { type: 'session_ended', actor: null })
    })

    t.test('of an unknown or malformed token succeeds too (2.2)', async t => {
      const { plain } = await one.serviceTokens.create('gone')
      await one.database.prepared("delete from tokens where hash = decode($1, 'hex')", [plain.hash().hex()])
      for (const token of [
        plain.reveal(),
        'x',
        `lk_${'x'.repeat(50)}`,
        'x'.repeat(16_000),
        '\0'
      ]) done(t, await revoke(token), token.slice(0, 8))
    })

    t.test('of an access token that has expired or was replaced ends no session', async t => {
      const { accessToken, refreshToken } = await pairOf(one)
      await one.pass(901_000)
      done(t, await revoke(accessToken), 'over')
      const next = (await one.call('POST', '/v1/refresh', { body: { refreshToken } })).json<Pair>()
      t.equal((await one.me(next.accessToken)).statusCode, 200, 'the session goes on')
      const changed = (await one.call(
        'PUT',
        '/v1/password',
        { token: next.accessToken, body: { currentPassword: 'correct horse battery staple', newPassword: 'a new and longer one' } }
      )).json<Pair>()
      for (const token of [next.accessToken, next.refreshToken]) done(t, await revoke(token), 'revoked before')
      t.equal((await one.me(changed.accessToken)).statusCode, 200, 'and still goes on')
    })

    t.test('of a refresh token that was already used ends the session, as reusing it would', async t => {
      const { refreshToken } = await pairOf(one)
      const next = (await one.call('POST', '/v1/refresh', { body: { refreshToken } })).json<Pair>()
      done(t, await revoke(refreshToken), 'consumed')
      await dead(t, one, service, next.accessToken, 'the successor')
    })

    t.test('is refused to a caller whose own token is not live', async t => {
      const { accessToken } = await pairOf(one)
      for (const [headers, error, code] of [
        [bearer(`lkp_${'x'.repeat(50)}`), 'invalid_token', 'AUTH_INVALID_TOKEN'],
        [basic('x'), 'invalid_client', 'AUTH_INVALID_TOKEN'],
        [{ authorization: 'Digest x' }, 'invalid_client', 'AUTH_MISSING_TOKEN']
      ] as const) {
        const reply = await revoke(accessToken, headers)
        refused(t, reply, 401, error, code)
        t.match(reply.headers['www-authenticate'], /Basic realm="latchkey"/)
      }
      t.equal((await one.me(accessToken)).statusCode, 200)
    })
  })

  t.test('refreshing (RFC 6749 6)', async t => {
    const refresh = (
      fields: Record<string, string>,
      headers = {}
    ) => form(one, '/oauth/token', { grant_type: 'refresh_token', ...fields }, headers)

    t.test('issues both tokens anew, and the same ones again within the grace period', async t => {
      const pair = await pairOf(one, { abilities: ['a', 'b'] })
      const reply = await refresh({ refresh_token: pair.refreshToken, client_id: 'app' })
      t.equal(reply.statusCode, 200)
      t.equal(reply.headers['cache-control'], 'no-store')
      t.match(reply.json(), { access_token: /^lk_/, token_type: 'Bearer', expires_in: 900, refresh_token: /^lkr_/, scope: 'a b' })
      t.equal(Object.keys(reply.json()).length, 5)
      const again = await refresh({ refresh_token: pair.refreshToken }, basic(service))
      t.same(
        [again.json().access_token, again.json().refresh_token, again.json().scope],
        [reply.json().access_token, reply.json().refresh_token, 'a b'],
        'authenticated or not'
      )
      t.same((await one.me(reply.json().access_token)).json().token.abilities, ['a', 'b'])
      t.equal(
        'scope' in (await refresh({ refresh_token: (await pairOf(one, { abilities: [] })).refreshToken })).json(),
        false,
        'no empty scope'
      )
      t.equal(
        (await refresh({ refresh_token: reply.json().refresh_token }, bearer('an access token that has run out'))).statusCode,
        200,
        'a Bearer is no client'
      )
    })

    t.test('accepts no scope but the same one', async t => {
      const { refreshToken } = await pairOf(one, { abilities: ['a', 'b'] })
      for (const scope of [
        'a',
        'a b c',
        '*',
        'a  b',
        'A b'
      ]) refused(t, await refresh({ refresh_token: refreshToken, scope }), 400, 'invalid_scope', 'AUTH_INVALID_SCOPE', scope)
      t.equal((await refresh({ refresh_token: refreshToken, scope: 'b a' })).statusCode, 200, 'and the refusals consumed nothing')
      refused(t, await refresh({ refresh_token: 'lkr_x', scope: 'a' }), 400, 'invalid_grant', 'AUTH_INVALID_GRANT')
    })

    t.test('refuses all ended tokens alike, and reuse ends the session', async t => {
      const pair = await pairOf(one)
      const logged = await pairOf(one)
      await one.logout(logged.accessToken)
      for (const token of [
        'x',
        pair.accessToken,
        service,
        logged.refreshToken,
        `lkr_${'x'.repeat(50)}`
      ]) refused(t, await refresh({ refresh_token: token }), 400, 'invalid_grant', 'AUTH_INVALID_GRANT', token.slice(0, 8))
      const next = (await refresh({ refresh_token: pair.refreshToken })).json<{ access_token: string, refresh_token: string }>()
      await one.pass(31_000)
      refused(t, await refresh({ refresh_token: pair.refreshToken }), 400, 'invalid_grant', 'AUTH_INVALID_GRANT', 'reuse')
      await dead(t, one, service, next.access_token, 'the session is over')
      refused(t, await refresh({ refresh_token: next.refresh_token }), 400, 'invalid_grant', 'AUTH_INVALID_GRANT')
      t.match((await eventsOf(one, pair.user.id)).map(({ type }) => type), ['refresh_token_reused', 'registered', 'session_ended'])
    })

    t.test('says what is wrong with a request (5.2)', async t => {
      const { refreshToken } = await pairOf(one)
      for (const type of [
        'password',
        'authorization_code',
        'client_credentials',
        'REFRESH_TOKEN',
        '__proto__'
      ]) refused(
        t,
        await refresh({ grant_type: type, refresh_token: refreshToken }),
        400,
        'unsupported_grant_type',
        'AUTH_UNSUPPORTED_GRANT_TYPE',
        type
      )
      for (const fields of [{}, { refresh_token: '' }]) refused(t, await refresh(fields), 400, 'invalid_request', 'AUTH_INVALID_REQUEST')
      for (const fields of [
        { refresh_token: refreshToken },
        { grant_type: '' }
      ]) refused(t, await form(one, '/oauth/token', fields), 400, 'invalid_request', 'FST_ERR_VALIDATION')
      for (const password of [
        'x',
        `lkp_${'x'.repeat(50)}`
      ]) refused(t, await refresh({ refresh_token: refreshToken }, basic(password)), 401, 'invalid_client', 'AUTH_INVALID_TOKEN')
      t.equal((await refresh({ refresh_token: refreshToken })).statusCode, 200, 'and none of it consumed the token')
    })
  })

  t.test('bodies are forms that contain each parameter once (RFC 6749 3.2)', async t => {
    const { accessToken, refreshToken } = await pairOf(one)
    const fine = {
      '/oauth/introspect': `token=${accessToken}`,
      '/oauth/revoke': 'token=x',
      '/oauth/token': `grant_type=refresh_token&refresh_token=${refreshToken}`
    }
    for (const [url, body] of Object.entries(fine)) {
      for (const twice of [
        `${body}&${body}`,
        `${body}&x=1&x=1`,
        `${body}&t%6Fken=&token=`
      ]) refused(t, await form(one, url, twice, bearer(service)), 400, 'invalid_request', 'AUTH_INVALID_REQUEST', `${url} ${twice}`)
      for (const none of [
        '',
        'token=',
        '&&&',
        'TOKEN=x',
        '__proto__=x&constructor=y'
      ]) refused(t, await form(one, url, none, bearer(service)), 400, 'invalid_request', 'FST_ERR_VALIDATION', `${url} ${none}`)
      for (const type of [
        'application/json',
        'text/plain',
        'multipart/form-data; boundary=x',
        'application/x-www-form-urlencodedx'
      ]) refused(
        t,
        await form(one, url, type === 'application/json' ? '{"token":"x"}' : body, { ...bearer(service), 'content-type': type }),
        415,
        'invalid_request',
        'FST_ERR_CTP_INVALID_MEDIA_TYPE',
        type
      )
      refused(t, await form(one, url, `x=${'x'.repeat(17_000)}`, bearer(service)), 413, 'invalid_request', 'FST_ERR_CTP_BODY_TOO_LARGE')
      t.equal(
        (await form(
          one,
          url,
          `${body}&x=1&%zz=%&__proto__=1`,
          { ...bearer(service), 'content-type': 'Application/X-WWW-Form-URLEncoded; charset=utf-8' }
        )).statusCode,
        200,
        'what is unknown is ignored'
      )
      t.equal((await one.call('GET', url as '/', { token: service })).statusCode, 404)
    }
    for (const url of [
      '/v1/login',
      '/v1/register',
      '/v1/refresh',
      '/v1/logout'
    ]) t.equal((await form(one, url, 'email=a@b.c&password=x')).statusCode, 415, `${url} takes no form`)
  })

  t.test('ADDRESS_LIMIT counts callers without a service token, and never a service', async t => {
    const limited = await startApp(t, ground, { env: { ADDRESS_LIMIT: '3/1m', SESSION_LIMIT: '0' }, clock })
    const theirs = await newService(limited)
    const { accessToken, refreshToken } = await pairOf(limited)
    for (let i = 0; i < 2; i++) t.equal((await form(limited, '/oauth/revoke', { token: 'x' })).statusCode, 200)
    for (const [url, fields] of [
      ['/oauth/revoke', { token: accessToken }],
      ['/oauth/token', { grant_type: 'refresh_token', refresh_token: refreshToken }]
    ] as const) {
      const reply = await form(limited, url, fields as Record<string, string>)
      refused(t, reply, 429, 'temporarily_unavailable', 'AUTH_RATE_LIMITED')
      t.match(reply.headers['retry-after'], /^\d+$/)
    }
    for (let i = 0; i < 10; i++) t.equal((await introspect(limited, theirs, accessToken)).json().active, true)
    for (let i = 0; i < 10; i++) t.equal((await form(limited, '/oauth/revoke', { token: 'x' }, bearer(theirs))).statusCode, 200)
  })

  t.test('made-up tokens cause no I/O, neither as the caller’s token nor as the one asked about', async t => {
    const { hits, misses, databaseReads } = one.counters
    const seen = () => [one.counters.hits - hits, one.counters.misses - misses, one.counters.databaseReads - databaseReads]
    const { accessToken } = await pairOf(one)
    for (const headers of [
      bearer(`lkp_${'x'.repeat(50)}`),
      basic('x')
    ]) for (const url of [
      '/oauth/introspect',
      '/oauth/revoke'
    ]) t.equal((await form(one, url, { token: accessToken }, headers)).statusCode, 401)
    t.equal((await form(one, '/oauth/revoke', { token: `lk_${'x'.repeat(50)}` })).statusCode, 200)
    t.strictSame(seen(), [0, 0, 0])
  })
})

t.test('introspection includes an email address once it is verified, and before that only with INTROSPECT_UNVERIFIED=true', async t => {
  for (const named of [false, true]) {
    const one = await startApp(t, await embeddedGround(), { env: { INTROSPECT_UNVERIFIED: String(named) } })
    const service = await newService(one)
    const { email, token, userId } = await one.account()
    const ask = async () => {
      const said = (await introspect(one, service, token)).json<Record<string, unknown>>()
      return { verified: said.email_verified, username: said.username }
    }
    t.strictSame(await ask(), { verified: false, username: named ? email : undefined })
    await one.database.prepared('update users set email_verified_at = now() where id = $1', [userId])
    await one.call('POST', '/v1/logout', { token })
    const again = (await one.login(email)).json<{ accessToken: string }>().accessToken
    const said = (await introspect(one, service, again)).json<Record<string, unknown>>()
    t.match(said, { email_verified: true, username: email })
  }
})

t.test('of a PUBLIC_URL with a path the metadata stands where RFC 8414 3.1 has clients look, and OpenAPI names the server without a slash at its end', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { PUBLIC_URL: 'https://auth.example.com/base/' } })
  for (const url of ['/.well-known/oauth-authorization-server', '/.well-known/oauth-authorization-server/base']) {
    t.match((await one.call('GET', url)).json(), { issuer: 'https://auth.example.com/base' }, url)
  }
  t.equal((await one.call('GET', '/.well-known/oauth-authorization-server/other')).statusCode, 404)
  t.strictSame((await one.call('GET', '/openapi.json')).json().servers, [{ url: 'https://auth.example.com/base' }])
  const versioned = await startApp(t, await embeddedGround(), { env: { PUBLIC_URL: 'https://auth.example.com/v1' } })
  t.type((await versioned.call('GET', '/openapi.json')).json().paths['/v1/me'], 'object', 'paths are whole, below whatever server')
})

t.test('metadata (RFC 8414) is about PUBLIC_URL, whatever the Host header says', async t => {
  const ground = await embeddedGround()
  const of = async (t: Test, env: Record<string, string>) => {
    const one = await startApp(t, ground, { env })
    const reply = await one.call(
      'GET',
      '/.well-known/oauth-authorization-server',
      { headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example' } }
    )
    await one.close()
    return reply
  }
  const reply = await of(t, { PUBLIC_URL: 'https://auth.example.com/base/' })
  t.equal(reply.statusCode, 200)
  t.strictSame(reply.json(), {
    issuer: 'https://auth.example.com/base',
    token_endpoint: 'https://auth.example.com/base/oauth/token',
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    grant_types_supported: ['refresh_token'],
    response_types_supported: [],
    introspection_endpoint: 'https://auth.example.com/base/oauth/introspect',
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'Bearer'],
    revocation_endpoint: 'https://auth.example.com/base/oauth/revoke',
    revocation_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    service_documentation: 'https://auth.example.com/base/docs'
  })
  const unknown = await of(t, { HOST: '0.0.0.0' })
  t.strictSame([unknown.statusCode, unknown.json().code, unknown.json().error], [400, 'AUTH_NOT_SUPPORTED', 'Bad Request'])
  const place = (env: Record<string, string>) => issuerOf(loadConfig(env), 4321)
  t.strictSame([
    { PUBLIC_URL: 'https://a.example' },
    { PUBLIC_URL: 'https://a.example:8443/?x#y', NODE_ENV: 'production' },
    {},
    { HOST: 'localhost' },
    { HOST: '::1' },
    { HOST: '192.0.2.1' },
    { HOST: '::' },
    { NODE_ENV: 'production' },
    { HOST: '127.0.0.1.example' }
  ].map(place),
    [
      'https://a.example',
      'https://a.example:8443',
      'http://127.0.0.1:4321',
      'http://localhost:4321',
      'http://[::1]:4321',
      null,
      null,
      null,
      null
    ])
  const asked = (env: Record<string, string>, host: string) => issuerOf(loadConfig(env), 4321, host)
  const own = ['localhost:4321', '127.0.0.1:4321', '[::1]:4321']
  t.strictSame(
    own.map(host => asked({}, host)),
    own.map(host => `http://${host}`),
    'each of the names by which a default server is reached'
  )
  t.strictSame(
    ['localhost', 'localhost:80', 'evil.example:4321', '127.0.0.1:4321.evil.example'].map(host => asked({}, host)),
    Array(4).fill('http://127.0.0.1:4321')
  )
  t.strictSame(
    [asked({ HOST: '::1' }, 'localhost:4321'), asked({ PUBLIC_URL: 'https://a.example' }, 'localhost:4321')],
    ['http://[::1]:4321', 'https://a.example']
  )
})

t.test('client libraries, unmodified', async t => {
  const ground = await serverGround(t) ?? await embeddedGround()
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const issuer = new URL(`http://127.0.0.1:${(one.app.server.address() as AddressInfo).port}`)
  const secret = await newService(one)
  const insecure = { [oauth.allowInsecureRequests]: true }

  t.test('oauth4webapi', async t => {
    const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }))
    const { accessToken, refreshToken, user } = await pairOf(one)
    const app = { client_id: 'app' }
    const orders = { client_id: 'orders' }
    const byBearer: oauth.ClientAuth = (_server, _client, _body, headers) => { headers.set('authorization', `Bearer ${secret}`) }
    const ask = async (
      auth: oauth.ClientAuth,
      token: string
    ) => oauth.processIntrospectionResponse(server, orders, await oauth.introspectionRequest(server, orders, auth, token, insecure))

    for (const auth of [
      oauth.ClientSecretBasic(secret),
      byBearer
    ]) t.match(await ask(auth, accessToken), { active: true, sub: user.id, token_type: 'Bearer', exp: Number })
    const next = await oauth.processRefreshTokenResponse(
      server,
      app,
      await oauth.refreshTokenGrantRequest(server, app, oauth.None(), refreshToken, insecure)
    )
    t.match(next, { token_type: 'bearer', expires_in: 900, scope: '*' })
    t.match(await ask(byBearer, next.access_token), { active: true, sub: user.id })
    t.equal(
      await oauth.processRevocationResponse(await oauth.revocationRequest(server, app, oauth.None(), next.refresh_token ?? '', insecure)),
      undefined
    )
    for (const token of [next.access_token, next.refresh_token ?? '', accessToken]) t.same(await ask(byBearer, token), { active: false })
    await t.rejects(
      oauth.refreshTokenGrantRequest(server, app, oauth.None(), next.refresh_token ?? '', insecure).then(
        reply => oauth.processRefreshTokenResponse(server, app, reply
      )),
      { name: 'ResponseBodyError', error: 'invalid_grant', status: 400 }
    )
    await t.rejects(ask(oauth.ClientSecretBasic('wrong'), accessToken), { name: 'WWWAuthenticateChallengeError', status: 401 })
    await t.rejects(
      ask((_server, _client, _body, headers) => { headers.set('authorization', 'Bearer wrong') }, accessToken),
      {
        name: 'WWWAuthenticateChallengeError',
        cause: [{ scheme: 'bearer', parameters: { realm: 'latchkey', error: 'invalid_token' } }, { scheme: 'basic' }]
      }
    )
  })

  t.test('openid-client', async t => {
    const options: client.DiscoveryRequestOptions = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
    const orders = await client.discovery(issuer, 'orders', undefined, client.ClientSecretBasic(secret), options)
    const app = await client.discovery(issuer, 'app', undefined, client.None(), options)
    const { accessToken, refreshToken, user } = await pairOf(one)

    t.match(await client.tokenIntrospection(orders, accessToken), { active: true, sub: user.id })
    const next = await client.refreshTokenGrant(app, refreshToken)
    t.equal(next.expires_in, 900)
    t.equal((await one.me(next.access_token)).statusCode, 200)
    t.equal(
      (await client.refreshTokenGrant(orders, refreshToken)).access_token,
      next.access_token,
      'a service may refresh for its users, and the grace is the same'
    )
    await client.tokenRevocation(orders, next.access_token)
    t.same(await client.tokenIntrospection(orders, next.access_token), { active: false })
    await client.tokenRevocation(app, 'nothing at all')
    await t.rejects(client.refreshTokenGrant(app, next.refresh_token ?? ''), { name: 'ResponseBodyError', error: 'invalid_grant' })
  })

  t.test('what docs/CLIENTS.md shows', async t => {
    const shown = /^```js\n\/\/ caller\.js\n(.*?)^```$/ms.exec(readFileSync(
      new URL('../../docs/CLIENTS.md', import.meta.url),
      'utf8'
    ))?.[1] ??
      ''
    const settings = { AUTH_URL: `http://127.0.0.1:${await freePort()}`, AUTH_TOKEN: secret }
    let copies = 0
    const load = async () => {
      const name = `caller${copies++}`
      Object.assign(globalThis, { [name]: settings })
      const code = shown.replace("'openid-client'", JSON.stringify(import.meta.resolve('openid-client')))
        .replaceAll('process.env.', `globalThis.${name}.`)
      return await import(`data:text/javascript,${encodeURIComponent(code)}`) as {
        callerOf (header?: string): Promise<object | null>
        may (caller: object, ability: string): boolean
      }
    }
    const unavailable = { name: 'Error', message: 'Nobody can say who calls', statusCode: 503 }
    const { callerOf, may } = await load()
    await t.rejects(callerOf('Bearer x'), unavailable, 'the server is not there yet, and the service is')
    settings.AUTH_URL = issuer.href
    const { accessToken, user } = await pairOf(one, { abilities: ['orders:read'] })
    const caller = await callerOf(`Bearer ${accessToken}`)
    t.strictSame(caller, { id: user.id, abilities: ['orders:read'] })
    t.strictSame([may(caller ?? {}, 'orders:read'), may(caller ?? {}, 'orders:write')], [true, false])
    await one.logout(accessToken)
    for (const header of [`Bearer ${accessToken}`, undefined, 'Basic x', 'Bearer x']) t.equal(await callerOf(header), null)

    const ailing = createServer((request, response) => {
      const { AUTH_URL: url } = settings
      if (request.method === 'POST') response.writeHead(503, { 'content-type': 'application/json' }).end('{"error":"temporarily_unavailable"}')
      else response.setHeader('content-type', 'application/json').end(JSON.stringify({ issuer: url, introspection_endpoint: `${url}/introspect` }))
    })
    t.teardown(() => ailing.close())
    await new Promise<void>(resolve => ailing.listen(0, '127.0.0.1', resolve))
    settings.AUTH_URL = `http://127.0.0.1:${(ailing.address() as AddressInfo).port}`
    await t.rejects((await load()).callerOf(`Bearer ${accessToken}`), unavailable, 'a 503 stays a 503')
  })
})

t.test('two instances on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const gate = createGate()
  const death = createDeath()
  const flight = createFlight()
  const start = (more: AppOptions = {}) => startApp(t, ground, { env: { SESSION_LIMIT: '0' }, ...more })
  const [
    one,
    two,
    three
  ] = await Promise.all([start({ settle: death.settle }), start({ backend: gate.backend }), start({ backend: flight.backend })])
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const service = await newService(one)
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const revoke = (app: TestApp, token: string) => form(app, '/oauth/revoke', { token })
  const active = async (app: TestApp, token: string) => (await introspect(app, service, token)).json<{ active: boolean }>().active
  const isCached = async (token: string) => (await redis.get(keyOf(token)))?.startsWith('V') === true
  const cached = (token: string) => becomesTrue(async () => { await active(one, token); return await isCached(token) }, patienceMs)

  t.test('a token revoked on one is inactive on the other at once, although it was cached', async t => {
    for (let i = 0; i < 5; i++) {
      const { accessToken, refreshToken } = await pairOf(one)
      const { accessToken: script } = await personalOf(one, accessToken)
      for (const [token, by] of [[script, script], [accessToken, i % 2 === 0 ? accessToken : refreshToken]] as const) {
        t.ok(await cached(token))
        t.equal(await active(two, token), true)
        t.equal((await revoke(one, by)).statusCode, 200)
        for (const app of [two, one]) await dead(t, app, service, token, 'at once')
        t.equal(await redis.get(keyOf(token)), 'R')
      }
    }
  })

  t.test('a service that was ended can no longer ask any instance, although it was cached', async t => {
    const brief = await newService(one)
    const { accessToken } = await pairOf(one)
    t.ok(await becomesTrue(async () => {
      for (const app of [one, two, one, two]) t.equal((await introspect(app, brief, accessToken)).statusCode, 200)
      return await isCached(brief)
    }, patienceMs))
    t.equal((await revoke(two, brief)).statusCode, 200)
    for (const app of [one, two]) refused(t, await introspect(app, brief, accessToken), 401, 'invalid_token', 'AUTH_INVALID_TOKEN')
  })

  t.test('an introspection that fills the cache late leaves the token inactive', async t => {
    const { accessToken } = await pairOf(one)
    t.ok(await cached(accessToken))
    t.ok(await cached(accessToken))
    const fill = await gate.hold(async () => {
      await redis.del(keyOf(accessToken))
      return await active(two, accessToken)
    })
    t.equal(await fill.early, true, 'it read the live row')
    t.equal((await revoke(one, accessToken)).statusCode, 200)
    fill.open()
    t.equal(await fill.written, false)
    for (const app of [one, two]) await dead(t, app, service, accessToken, 'the late fill changed nothing')
  })

  t.test('a revocation whose revoker died takes effect when it is repeated', async t => {
    for (const which of ['accessToken', 'refreshToken', 'script', 'service'] as const) {
      const pair = await pairOf(one)
      const by = which === 'script'
        ? (await personalOf(one, pair.accessToken)).accessToken
        : which === 'service'
        ? await newService(one)
        : pair[which]
      const ending = which === 'refreshToken' ? pair.accessToken : by
      if (which === 'service') t.equal((await introspect(one, by, pair.accessToken)).statusCode, 200)
      t.ok(await becomesTrue(async () => { await one.me(ending); return await isCached(ending) }, patienceMs), which)
      death.comes()
      refused(t, await revoke(one, by), 503, 'temporarily_unavailable', 'AUTH_UNAVAILABLE')
      t.match(await redis.get(keyOf(ending)), /^V/, 'committed, but not yet in the cache')
      t.equal((await revoke(two, by)).statusCode, 200)
      t.equal(await redis.get(keyOf(ending)), 'R', which)
    }
    // What the dead revoker left is settled once it is overdue; until then the cache is not trusted.
    t.ok(await becomesTrue(async () => (await one.database.prepared('select from cache_settlements', [])).length === 0, patienceMs))
    for (const app of [one, two, three]) await app.trusted()
  })

  for (const first of ['the refresh', 'the revocation']) {
    t.test(`a refresh racing a revocation leaves no live token, ${first} first`, async t => {
      const { accessToken, refreshToken, user } = await pairOf(one)
      const row = await holdUser(t, ground, user.id)
      const refresh = () => form(one, '/oauth/token', { grant_type: 'refresh_token', refresh_token: refreshToken })
      const [a, b] = first === 'the refresh' ? [refresh, () => revoke(two, accessToken)] : [() => revoke(two, accessToken), refresh]
      const early = a()
      await row.waiters(1)
      const late = b()
      await row.waiters(2)
      await row.release()
      const replies = await Promise.all([early, late])
      t.strictSame(replies.map(reply => reply.statusCode), first === 'the refresh' ? [200, 200] : [200, 400])
      const next = first === 'the refresh' ? replies[0]?.json<{ access_token: string, refresh_token: string }>() : undefined
      for (const token of [
        accessToken,
        ...next === undefined ? [] : [next.access_token]
      ]) for (const app of [one, two]) await dead(t, app, service, token, first)
      refused(
        t,
        await form(two, '/oauth/token', { grant_type: 'refresh_token', refresh_token: next?.refresh_token ?? refreshToken }),
        400,
        'invalid_grant',
        'AUTH_INVALID_GRANT'
      )
    })
  }

  t.test('twenty concurrent revocations count as one', async t => {
    const { accessToken, refreshToken, user } = await pairOf(one)
    const replies = await Promise.all(Array.from(
      { length: 20 },
      (_, i) => revoke(i % 2 === 0 ? one : two, i % 3 === 0 ? accessToken : refreshToken)
    ))
    t.strictSame([...new Set(replies.map(reply => reply.statusCode))], [200])
    t.equal((await eventsOf(one, user.id)).filter(({ type }) => type === 'session_ended').length, 1)
    for (const app of [one, two]) await dead(t, app, service, accessToken, 'dead')
  })

  t.test('the caller and the token share one round trip to Redis, and one to PostgreSQL on a miss', async t => {
    const { accessToken } = await pairOf(one)
    let { hits } = three.counters
    t.ok(await becomesTrue(async () => {
      hits = three.counters.hits
      await active(three, accessToken)
      return three.counters.hits - hits === 2
    }, patienceMs))
    await three.trusted()
    flight.reset()
    hits = three.counters.hits
    t.equal(await active(three, accessToken), true)
    t.strictSame([flight.sent(), flight.most(), three.counters.hits - hits], [2, 2, 2], 'both were sent before either was answered')
    await redis.del(keyOf(accessToken), keyOf(service))
    const { databaseReads } = three.counters
    t.equal(await active(three, accessToken), true)
    t.equal(three.counters.databaseReads - databaseReads, 1)

    const many = [accessToken, ...await Promise.all(Array.from({ length: 20 }, async () => (await pairOf(one)).accessToken))]
    await redis.del(keyOf(service), ...many.map(keyOf))
    const reads = three.counters.databaseReads
    const reply = await three.app.inject({
      method: 'POST', url: '/v1/introspections', payload: { tokens: many }, headers: bearer(service)
    })
    t.ok(reply.json<{ results: Array<{ active: boolean }> }>().results.every(({ active }) => active))
    t.equal(three.counters.databaseReads - reads, 1, 'so do twenty of them')
  })

  t.test('introspection answers 503, never inactive, while PostgreSQL cannot be reached', async t => {
    const { accessToken } = await pairOf(one)
    const database = await ground.database()
    let failure = new UnavailableError() as Error
    const away = await startApp(
      t,
      {
        ...ground,
        database: async () =>
          ({
            ...database,
            prepared: (text, parameters) => /tokens t/.test(text) ? Promise.reject(failure) : database.prepared(text, parameters)
          })
      }
    )
    const ask = async () => {
      await redis.del(keyOf(accessToken), keyOf(service))
      return await introspect(away, service, accessToken)
    }
    const reply = await ask()
    refused(t, reply, 503, 'temporarily_unavailable', 'AUTH_UNAVAILABLE')
    t.match(reply.headers['retry-after'], /^\d+$/)
    failure = new Error('the words of a secret statement')
    const broken = await ask()
    refused(t, broken, 500, 'server_error', 'AUTH_INTERNAL')
    t.notMatch(broken.body, /secret/)
  })
})

/** Makes the next look-up of `token` go to the database again. */
async function cleared (ground: Ground, token: string): Promise<void> {
  const redis = new Redis(ground.redisUrl as string)
  await redis.del(`${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`)
  redis.disconnect()
}

/** A backend that counts the calls in progress. */
function createFlight () {
  let [sent, now, most] = [0, 0, 0]
  return {
    sent: () => sent,
    most: () => most,
    reset () { [sent, now, most] = [0, 0, 0] },
    backend: (real: CacheBackend): CacheBackend => ({
      get connection () { return real.connection },
      async get (key) {
        sent++
        most = Math.max(most, ++now)
        try {
          return await real.get(key)
        } finally {
          now--
        }
      },
      takeLease: (...args) => real.takeLease(...args),
      compareAndSet: (...args) => real.compareAndSet(...args),
      overwrite: (...args) => real.overwrite(...args),
      identify: () => real.identify(),
      close: () => real.close()
    })
  }
}
