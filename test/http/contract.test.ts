import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { FastifyInstance, LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import { createPostgres } from '../../src/database/postgres.js'
import { UnavailableError } from '../../src/shared/errors.js'
import { createPhone } from '../factors/phone.js'
import {
  createTestClock,
  embeddedGround,
  type Ground,
  newEmail,
  onEachGround,
  password,
  serverGround,
  skipMissing,
  startApp,
  type TestApp
} from '../fixtures/app.js'
import { createPostbox, tokenIn } from '../fixtures/mail.js'
import { findPostgres, hasRedisServer, startRedis } from '../fixtures/servers.js'

interface Operation {
  operationId?: string
  summary?: string
  tags?: string[]
  security?: unknown[]
  requestBody?: { required: boolean, content: Record<string, { schema: object, example?: Record<string, unknown> }> }
  responses: Record<string, { description: string, content?: Record<string, { schema: object }> }>
}
interface Openapi {
  openapi: string
  info: { title: string, version: string }
  tags: Array<{ name: string, description: string }>
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes: Record<string, unknown>, schemas: Record<string, object> }
}

interface Session {
  id: string
  deviceName: string | null
  userAgent: string | null
  ip: string | null
  createdAt: string
  lastUsedAt: string
  expiresAt: string
  current: boolean
}
interface TokenReply {
  accessToken: string
  expiresIn: number
  session: { id: string, deviceName: string | null, createdAt: string, expiresAt: string }
  user: { id: string, email: string }
}

const dayMs = 86_400_000
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const moment = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

const sessionsOf = async (
  one: TestApp,
  token: string
) => (await one.call('GET', '/v1/sessions', { token })).json<{ sessions: Session[] }>().sessions
const tokenOf = (reply: Response) => reply.json<TokenReply>().accessToken

/** One embedded database for the apps in this file, which run one after another. */
const shared = await (await embeddedGround()).database()
t.teardown(() => shared.close())
const embedded: Ground = { ...await embeddedGround(), database: async () => ({ ...shared, close: async () => {} }) }

t.test('OpenAPI', async t => {
  const routes: string[] = []
  const watch = (message: unknown) => {
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', ({ method, url }) => {
      for (const name of [method].flat()) routes.push(`${name.toUpperCase()} ${url}`)
    })
  }
  subscribe('fastify.initialization', watch)
  const postbox = createPostbox()
  const one = await startApp(t, embedded, { env: { PERSONAL_TOKEN_LIMIT: '1' }, mailer: postbox.mailer })
  unsubscribe('fastify.initialization', watch)
  const openapi = (await one.call('GET', '/openapi.json')).json<Openapi>()

  t.test('is 3.1 and says how to authenticate', async t => {
    t.match(openapi.openapi, /^3\.1\./)
    t.match(openapi.info, { title: 'Latchkey API', version: '1' })
    t.match(openapi.components.securitySchemes.bearer, { type: 'http', scheme: 'bearer' })
  })

  t.test('lists exactly the routes of the app', async t => {
    const others = /^HEAD | (\/docs|\*|\/openapi\.json$|\/(account|admin|pages)\b)/
    const own = routes.filter(route => !others.test(route)).map(route => route.replace(/:(\w+)/g, '{$1}'))
    const listed = Object.entries(openapi.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map(method => `${method.toUpperCase()} ${path}`))
    t.ok(own.length >= 11, own.join(', '))
    t.same(listed.sort(), [...new Set(own)].sort())
  })

  t.test('has a summary and the security of each route', async t => {
    const open = [
      '/',
      '/health/live',
      '/health/ready',
      '/v1/register',
      '/v1/admin/setup',
      '/v1/login',
      '/v1/login/second-factor',
      '/v1/refresh',
      '/.well-known/oauth-authorization-server',
      '/v1/password/forgot',
      '/v1/password/reset',
      '/v1/email/verify'
    ]
    for (const [path, operations] of Object.entries(openapi.paths)) {
      for (const [method, { summary, security = [] }] of Object.entries(operations)) {
        t.type(summary, 'string', `${method} ${path}`)
        t.equal(security.length > 0, !open.includes(path), `${method} ${path}: ${open.includes(path) ? 'open' : 'needs a token'}`)
      }
    }
  })

  const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, name: `${method.toUpperCase()} ${path}` })))

  t.test('has a name of its own for each route, as methods of generated clients have', async t => {
    const names = operations.map(({ operationId }) => operationId ?? '')
    for (const { name, operationId } of operations) t.match(operationId, /^[a-z][A-Za-z]+$/, name)
    t.equal(new Set(names).size, names.length)
    for (const name of ['login', 'getMe', 'listSessions', 'introspectToken']) t.ok(names.includes(name), name)
  })

  t.test('has the routes in groups, in the order in which they are needed', async t => {
    const groups = openapi.tags.map(({ name }) => name)
    t.equal(groups[0], 'sessions')
    t.same([...new Set(operations.flatMap(({ tags = [] }) => tags))].sort(), groups.toSorted())
    for (const { name, tags } of operations) t.equal(tags?.length, 1, name)
    for (const { name, description } of openapi.tags) t.match(description, /\w{3}/, name)
  })

  t.test('has a component for each schema with a name, and none that nothing refers to', async t => {
    const whole = JSON.stringify(openapi)
    const referred = new Set([...whole.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name as string))
    t.same([...referred].sort(), Object.keys(openapi.components.schemas))
    t.equal(whole.match(/"\$ref"/g)?.length, [...whole.matchAll(/"\$ref":"#\/components\/schemas\//g)].length, 'and refers to nothing else')
    for (const name of ['User', 'Tokens', 'Session', 'Failure', 'Refusal', 'Introspection']) t.ok(referred.has(name), name)
    t.same(
      openapi.paths['/v1/login']?.post?.responses[401],
      { description: 'No token, or none that is live', content: { 'application/json': { schema: { $ref: '#/components/schemas/Failure' } } } }
    )
    t.notMatch(whole, 'Default Response', 'every answer is described')
  })

  t.test('says which bodies may be left out', async t => {
    const optional = operations.filter(({ requestBody }) => requestBody?.required === false).map(({ name }) => name)
    t.same(optional.sort(), [
      'DELETE /v1/admin/users/{id}/factors', 'DELETE /v1/me', 'DELETE /v1/totp', 'POST /v1/admin/users/{id}/revoke', 'POST /v1/logout',
      'POST /v1/logout-all', 'POST /v1/recovery-codes', 'POST /v1/refresh', 'POST /v1/totp'
    ])
    for (const { name, requestBody } of operations) {
      for (const { schema } of Object.values(requestBody?.content ?? {})) t.notMatch(JSON.stringify(schema), /"type":\["object","null"\]/, name)
    }
  })

  t.test('describes what the routes really answer', async t => {
    const ajv = new Ajv2020({ strict: false, formats: { 'date-time': moment } })
    const answered = new Set<string>()

    function conforms (method: string, path: string, reply: Response): void {
      const name = `${method} ${path} ${reply.statusCode}`
      const declared = openapi.paths[path]?.[method.toLowerCase()]?.responses[reply.statusCode]
      t.ok(declared, `${name} is declared`, { body: reply.body })
      answered.add(name)
      const schema = declared?.content?.['application/json']?.schema
      if (schema === undefined) {
        t.equal(reply.body, '', `${name} has no body`)
      } else {
        t.match(reply.headers['content-type'], /^application\/json/)
        const validate = ajv.compile({ ...schema, components: openapi.components })
        t.ok(validate(reply.json()), `${name} ${JSON.stringify(validate.errors)}`, { body: reply.body })
      }
    }

    const bodies = {
      '/v1/register': { email: newEmail(), password, name: 'Ada', deviceName: 'phone' },
      '/v1/login': { email: newEmail(), password },
      '/v1/login/second-factor': { challenge: `lkc_${'x'.repeat(43)}`, totp: '000000' },
      '/v1/admin/setup': { token: (await one.setup.invite())?.reveal(), email: newEmail(), password }
    }
    const { email, token } = await one.account()
    conforms('POST', '/v1/admin/setup', await one.call('POST', '/v1/admin/setup', { body: { ...bodies['/v1/admin/setup'], email } }))
    for (const path of ['/', '/health/live', '/health/ready']) conforms('GET', path, await one.call('GET', path))
    for (const [path, body] of Object.entries(bodies)) {
      conforms('POST', path, await one.call('POST', path, { body }))
      conforms('POST', path, await one.call('POST', path, { body: { ...body, extra: 1 } }))
      conforms('POST', path, await one.call('POST', path, { body: { ...body, refresh: true } }))
      conforms('POST', path, await one.call('POST', path, { body: { ...body, abilities: ['introspect'] } }))
      conforms('POST', path, await one.app.inject({ method: 'POST', url: path, payload: 'x', headers: { 'content-type': 'text/plain' } }))
      conforms('POST', path, await one.call('POST', path, { body: { ...body, name: 'x'.repeat(100_000) } }))
    }
    await one.database.prepared("update users set role = 'user'", [])
    conforms('POST', '/v1/register', await one.register(email))
    const device = await one.login(email, { deviceName: 'laptop', abilities: ['read'] })
    conforms('POST', '/v1/login', device)
    t.equal((await one.me(token)).statusCode, 401)
    const live = tokenOf(device)
    conforms('GET', '/v1/me', await one.me(live))
    conforms('GET', '/v1/sessions', await one.call('GET', '/v1/sessions', { token: live }))
    conforms('DELETE', '/v1/sessions', await one.call('DELETE', '/v1/sessions', { token: live }))
    conforms('DELETE', '/v1/sessions/{id}', await one.call('DELETE', '/v1/sessions/none', { token: live }))
    const change = (body: object) => one.call('PUT', '/v1/password', { token: live, body })
    conforms('PUT', '/v1/password', await change({ currentPassword: 'not this', newPassword: 'another long one' }))
    conforms('PUT', '/v1/password', await change({ currentPassword: password, newPassword: 'short' }))
    const changed = await change({ currentPassword: password, newPassword: 'another long one' })
    conforms('PUT', '/v1/password', changed)
    conforms('POST', '/v1/logout', await one.call('POST', '/v1/logout', { token: tokenOf(changed) }))
    conforms('POST', '/v1/logout-all', await one.call('POST', '/v1/logout-all', { token: (await one.account()).token }))
    const last = await one.account()
    conforms('DELETE', '/v1/sessions/{id}', await one.call('DELETE', `/v1/sessions/${last.sessionId}`, { token: last.token }))

    const { refreshToken } = (await one.register(newEmail(), { refresh: true })).json<{ refreshToken: string }>()
    conforms('POST', '/v1/refresh', await one.call('POST', '/v1/refresh', { body: { refreshToken } }))
    conforms('POST', '/v1/refresh', await one.call('POST', '/v1/refresh', { body: { refreshToken: 'lkr_no' } }))
    for (const [method, path] of [
      ['POST', '/v1/refresh'],
      ['POST', '/v1/logout'],
      ['POST', '/v1/logout-all'],
      ['POST', '/v1/tokens'],
      ['PUT', '/v1/password'],
      ['PATCH', '/v1/me'],
      ['DELETE', '/v1/me'],
      ['POST', '/v1/totp'],
      ['POST', '/v1/totp/confirm'],
      ['DELETE', '/v1/totp'],
      ['POST', '/v1/recovery-codes']
    ] as const) {
      const { token } = await one.account()
      conforms(method, path, await one.call(method, path, { token, body: { extra: 1 } }))
      conforms(method, path, await one.call(method, path, { token, body: { name: 'x'.repeat(100_000) } }))
      conforms(
        method,
        path,
        await one.app.inject({
          method,
          url: path,
          payload: 'x',
          headers: { 'content-type': 'text/plain', authorization: `Bearer ${token}` }
        })
      )
    }
    const keeper = (await one.account()).token
    const data = (method: 'GET' | 'PUT' | 'PATCH', body?: object, headers: Record<string, string> = {}) =>
      one.call(method, '/v1/session/data', { token: keeper, headers, ...body === undefined ? {} : { body } })
    const empty = await data('GET')
    conforms('GET', '/v1/session/data', empty)
    conforms('GET', '/v1/session/data', await data('GET', undefined, { 'if-none-match': String(empty.headers.etag) }))
    for (const method of ['PUT', 'PATCH'] as const) {
      conforms(method, '/v1/session/data', await data(method, { a: [1, { b: null }] }))
      conforms(method, '/v1/session/data', await data(method, []))
      conforms(method, '/v1/session/data', await data(method, { a: 'x'.repeat(17_000) }))
      conforms(method, '/v1/session/data', await data(method, {}, { 'if-match': '"none"' }))
      conforms(method, '/v1/session/data', await one.app.inject({
        method, url: '/v1/session/data', payload: 'x', headers: { 'content-type': 'text/plain', authorization: `Bearer ${keeper}` }
      }))
    }
    const factor = await one.account()
    const owner = (method: 'GET' | 'POST' | 'DELETE', path: string, body: object | undefined, token: string) =>
      one.call(method, path, { token, ...body === undefined ? {} : { body } }).then(reply => { conforms(method, path, reply); return reply })
    await owner('POST', '/v1/totp/confirm', { code: '000000' }, factor.token)
    await owner('DELETE', '/v1/totp', undefined, factor.token)
    await owner('POST', '/v1/recovery-codes', undefined, factor.token)
    const phone = createPhone((await owner('POST', '/v1/totp', undefined, factor.token)).json<{ uri: string }>().uri, one.clock)
    await owner('GET', '/v1/factors', undefined, factor.token)
    await owner('POST', '/v1/totp/confirm', { code: phone.code(-1) }, factor.token)
    for (const [path, body] of [['/v1/totp', undefined], ['/v1/totp/confirm', { code: phone.code() }]] as const) {
      await owner('POST', path, body, factor.token)
    }
    await owner('GET', '/v1/factors', undefined, factor.token)
    await owner('POST', '/v1/recovery-codes', undefined, factor.token)
    await one.call('POST', '/v1/password/forgot', { body: { email: factor.email } })
    const mailed = tokenIn(await postbox.wait(factor.email, 'reset_password'))
    conforms('POST', '/v1/password/reset', await one.call('POST', '/v1/password/reset', { body: { token: mailed, password, totp: '000000' } }))
    const challenged = await one.login(factor.email)
    conforms('POST', '/v1/login', challenged)
    const { challenge } = challenged.json<{ challenge: string }>()
    const finished = await one.call('POST', '/v1/login/second-factor', { body: { challenge, totp: phone.code() } })
    conforms('POST', '/v1/login/second-factor', finished)
    await owner('DELETE', '/v1/totp', undefined, tokenOf(finished))
    const leaver = await one.account()
    conforms('PATCH', '/v1/me', await one.call('PATCH', '/v1/me', { token: leaver.token, body: { name: 'Grace' } }))
    await one.database.prepared("update users set role = 'admin' where id = $1", [leaver.userId])
    conforms('DELETE', '/v1/me', await one.call('DELETE', '/v1/me', { token: (await one.login(leaver.email)).json().accessToken }))
    await one.database.prepared("update users set role = 'user' where id = $1", [leaver.userId])
    conforms('DELETE', '/v1/me', await one.call('DELETE', '/v1/me', { token: (await one.login(leaver.email)).json().accessToken }))
    const maker = (await one.account()).token
    const made = await one.call('POST', '/v1/tokens', { token: maker, body: { name: 'backup' } })
    conforms('POST', '/v1/tokens', made)
    conforms('POST', '/v1/tokens', await one.call('POST', '/v1/tokens', { token: maker, body: { name: 'one too many' } }))
    conforms('GET', '/v1/tokens', await one.call('GET', '/v1/tokens', { token: maker }))
    conforms('DELETE', '/v1/tokens/{id}', await one.call('DELETE', '/v1/tokens/none', { token: maker }))
    for (const query of [
      '',
      '?limit=1',
      '?cursor=none'
    ]) conforms('GET', '/v1/events', await one.call('GET', `/v1/events${query}`, { token: maker }))
    conforms('GET', '/v1/sessions', await one.call('GET', '/v1/sessions', { token: made.json<{ accessToken: string }>().accessToken }))
    conforms(
      'DELETE',
      '/v1/tokens/{id}',
      await one.call('DELETE', `/v1/tokens/${made.json<{ token: { id: string } }>().token.id}`, { token: maker })
    )

    const boss = await one.account()
    await one.admin.setRole(operator, boss.userId, 'admin')
    await one.database.prepared("update users set role = 'user' where id <> $1", [boss.userId])
    const ask = async (method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown, id = last.userId) =>
      conforms(
        method,
        `/v1/admin/${path}`,
        await one.call(method, `/v1/admin/${path.replace('{id}', id)}`, { token: boss.token, ...body === undefined ? {} : { body } })
      )
    for (const query of ['', '?limit=1', '?cursor=none']) {
      for (const path of [
        'users',
        'events'
      ]) conforms('GET', `/v1/admin/${path}`, await one.call('GET', `/v1/admin/${path}${query}`, { token: boss.token }))
    }
    for (const path of [
      'users/{id}/revoke',
      'users/{id}/disable',
      'users/{id}/enable'
    ]) for (const id of [last.userId, 'none']) await ask('POST', path, undefined, id)
    for (const id of [last.userId, 'none']) for (const path of ['users/{id}', 'users/{id}/sessions']) await ask('GET', path, undefined, id)
    for (const [role, id] of [
      ['user', last.userId],
      ['user', 'none'],
      ['user', boss.userId],
      ['root', boss.userId]
    ] as const) await ask('PUT', 'users/{id}/role', { role }, id)
    for (const id of [last.userId, 'none']) await ask('DELETE', 'users/{id}/factors', undefined, id)
    await ask('DELETE', 'users/{id}/factors', { extra: 1 })
    await ask('POST', 'users/{id}/disable', undefined, boss.userId)
    await ask('POST', 'users/{id}/revoke', { extra: 1 })
    for (const body of [{ email: newEmail() }, { email: boss.email }, { email: 'none' }]) await ask('POST', 'users', body)
    await ask('GET', 'token-stats')
    for (const query of ['', '?hours=168', '?hours=0']) conforms('GET', '/v1/admin/overview', await one.call('GET', `/v1/admin/overview${query}`, { token: boss.token }))
    await ask('POST', 'cache/clear')
    for (const [method, path] of [
      ['POST', '/v1/admin/users'],
      ['POST', '/v1/admin/users/{id}/revoke'],
      ['PUT', '/v1/admin/users/{id}/role'],
      ['DELETE', '/v1/admin/users/{id}/factors']
    ] as const) {
      const url = path.replace('{id}', last.userId)
      conforms(method, path, await one.call(method, url as '/', { token: boss.token, body: { name: 'x'.repeat(100_000) } }))
      conforms(
        method,
        path,
        await one.app.inject({
          method,
          url,
          payload: 'x',
          headers: { 'content-type': 'text/plain', authorization: `Bearer ${boss.token}` }
        })
      )
    }
    const admin = await one.account()
    await shared.prepared("update users set role = 'admin' where id = $1", [admin.userId])
    admin.token = tokenOf(await one.login(admin.email))
    const { plain, service } = await one.serviceTokens.create('orders')
    conforms('GET', '/v1/admin/services', await one.call('GET', '/v1/admin/services', { token: admin.token }))
    conforms('GET', '/v1/admin/services', await one.call('GET', '/v1/admin/services', { token: maker }))
    for (const [path, token] of [
      ['/v1/sessions', maker], ['/v1/tokens', maker], ['/v1/admin/services', admin.token], ['/v1/admin/users/{id}/sessions', admin.token]
    ] as const) for (const query of ['?limit=1', '?limit=0']) {
      conforms('GET', path, await one.call('GET', `${path.replace('{id}', last.userId)}${query}`, { token }))
    }
    conforms('GET', '/v1/me', await one.me(plain.reveal()))
    conforms('GET', '/.well-known/oauth-authorization-server', await one.call('GET', '/.well-known/oauth-authorization-server'))
    const renewed = (await one.register(newEmail(), { refresh: true })).json<{ refreshToken: string, accessToken: string }>()
    const forms = {
      '/oauth/token': `grant_type=refresh_token&refresh_token=${renewed.refreshToken}`,
      '/oauth/introspect': `token=${renewed.accessToken}`,
      '/oauth/revoke': `token=${renewed.accessToken}`
    }
    const asService = { authorization: `Basic ${Buffer.from(`orders:${plain.reveal()}`).toString('base64')}` }
    const form = (
      app: TestApp,
      url: string,
      payload: string,
      headers: Record<string, string> = {}
    ) => app.app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers } })
    for (const [path, body] of Object.entries(forms)) {
      for (const payload of [body, '', `x=${'x'.repeat(20_000)}`]) conforms('POST', path, await form(one, path, payload, asService))
      conforms('POST', path, await form(one, path, body, { ...asService, 'content-type': 'text/plain' }))
      conforms('POST', path, await form(one, path, body, { authorization: 'Basic eDp5' }))
    }
    conforms('POST', '/oauth/introspect', await form(one, '/oauth/introspect', forms['/oauth/revoke'], asService))
    const introspections = (app: TestApp, payload: string, type = 'application/json') =>
      app.app.inject({ method: 'POST', url: '/v1/introspections', payload, headers: { ...asService, 'content-type': type } })
    for (const payload of [JSON.stringify({ tokens: [maker, 'x'] }), '{}', 'x'.repeat(100_000)]) {
      conforms('POST', '/v1/introspections', await introspections(one, payload))
    }
    conforms('POST', '/v1/introspections', await introspections(one, 'x', 'text/plain'))
    conforms('POST', '/oauth/introspect', await form(one, '/oauth/introspect', 'token=x', { authorization: `Bearer ${maker}` }))
    for (const id of [
      service.id,
      'none'
    ]) conforms('DELETE', '/v1/admin/services/{id}', await one.call('DELETE', `/v1/admin/services/${id}`, { token: admin.token }))
    const mails = {
      '/v1/password/forgot': { email },
      '/v1/password/reset': { token: 'none', password },
      '/v1/email/verify': { token: 'none' }
    }
    for (const [path, body] of Object.entries(mails)) {
      conforms('POST', path, await one.call('POST', path, { body }))
      conforms('POST', path, await one.call('POST', path, { body: { ...body, extra: 1 } }))
      conforms('POST', path, await one.call('POST', path, { body: { ...body, email: 'x'.repeat(100_000) } }))
      conforms('POST', path, await one.app.inject({ method: 'POST', url: path, payload: 'x', headers: { 'content-type': 'text/plain' } }))
    }
    for (const [path, kind] of [['/v1/email/verify', 'verify_email'], ['/v1/password/reset', 'reset_password']] as const) {
      const token = tokenIn(await postbox.wait(email, kind))
      conforms('POST', path, await one.call('POST', path, { body: path === '/v1/email/verify' ? { token } : { token, password } }))
    }
    conforms('POST', '/v1/email/verify/send', await one.call('POST', '/v1/email/verify/send', { token: maker }))

    for (const [path, operations] of Object.entries(openapi.paths)) {
      for (const method of Object.keys(operations).filter(method => operations[method]?.security !== undefined)) {
        conforms(
          method.toUpperCase(),
          path,
          await one.app.inject({ method: method.toUpperCase() as 'GET', url: path.replace('{id}', last.sessionId) })
        )
      }
    }

    const gone = () => Promise.reject(Object.assign(new UnavailableError(), { retryAfterSeconds: 2 }))
    const { token: held, userId: holder } = await one.account()
    await one.admin.setRole(operator, holder, 'admin')
    let away = false
    const flaky: Ground = {
      ...embedded,
      database: async () =>
        ({
          ...shared,
          embedded: false,
          close: async () => {},
          query: work => away ? gone() : shared.query(work),
          prepared: (text, parameters) => away ? gone() : shared.prepared(text, parameters),
          transaction: work => away ? gone() : shared.transaction(work)
        })
    }
    const confirming = await startApp(t, embedded, { env: { REGISTRATION: 'confirm', PUBLIC_URL: 'https://app.example.com' } })
    conforms('POST', '/v1/register', await confirming.register())
    const toPage = { headers: { accept: 'text/html' } }
    conforms('GET', '/v1/forward-auth', await confirming.call('GET', '/v1/forward-auth?redirect=true', toPage))
    for (const query of ['', '?ability=introspect', '?ability=']) {
      conforms('GET', '/v1/forward-auth', await one.call('GET', `/v1/forward-auth${query}` as '/', { token: held }))
    }
    const other = await startApp(t, flaky, {
      env: { LOGIN_LIMIT: '1/1m', ADDRESS_LIMIT: '13/1m', SESSION_DATA_LIMIT: '4/1m', WRITE_LIMIT: '60/1m', HOST: '0.0.0.0' }
    })
    conforms('GET', '/.well-known/oauth-authorization-server', await other.call('GET', '/.well-known/oauth-authorization-server'))
    const wrong = { currentPassword: 'not this', newPassword: 'another long one' }
    conforms('PUT', '/v1/password', await other.call('PUT', '/v1/password', { token: held, body: wrong }))
    conforms('PUT', '/v1/password', await other.call('PUT', '/v1/password', { token: held, body: wrong }))
    conforms('POST', '/v1/tokens', await other.call('POST', '/v1/tokens', { token: held, body: { name: 'backup', password } }))
    for (const method of [
      'PATCH',
      'DELETE'
    ] as const) conforms(method, '/v1/me', await other.call(method, '/v1/me', { token: held, body: { password } }))
    conforms(
      'POST',
      '/v1/admin/users',
      await other.call('POST', '/v1/admin/users', { token: held, body: { email: newEmail(), role: 'admin', currentPassword: password } })
    )
    conforms(
      'PUT',
      '/v1/admin/users/{id}/role',
      await other.call('PUT', `/v1/admin/users/${holder}/role`, { token: held, body: { role: 'admin', password } })
    )
    for (const [method, path, body] of [
      ['POST', '/v1/totp', { password }],
      ['POST', '/v1/totp/confirm', { code: '000000' }],
      ['DELETE', '/v1/totp', { password }],
      ['POST', '/v1/recovery-codes', { password }],
      ['DELETE', '/v1/admin/users/{id}/factors', { password }]
    ] as const) conforms(method, path, await other.call(method, path.replace('{id}', holder), { token: held, body }))
    const well = `lkmv_${'x'.repeat(43)}`
    for (let i = 0; i < 2; i++) conforms(
      'POST',
      '/v1/email/verify/send',
      await other.call('POST', '/v1/email/verify/send', { token: held })
    )
    away = true
    conforms('POST', '/v1/introspections', await introspections(other, JSON.stringify({ tokens: [maker] })))
    for (const [path, body] of Object.entries(forms)) conforms(
      'POST',
      path,
      await form(other, path, body, path === '/oauth/introspect' ? asService : {})
    )
    conforms('POST', '/v1/refresh', await other.call('POST', '/v1/refresh', { body: { refreshToken } }))
    for (const [path, operations] of Object.entries(openapi.paths)) {
      for (const method of Object.keys(operations).filter(method => operations[method]?.responses[503] !== undefined)) {
        const body = path === '/v1/password'
          ? wrong
          : {
            '/v1/session/data': {},
            ...bodies,
            ...mails,
            '/v1/email/verify': { token: well },
            '/v1/password/reset': { token: well.replace('lkmv', 'lkmr'), password }
          }[path]
        conforms(
          method.toUpperCase(),
          path,
          await other.call(
            method.toUpperCase() as 'GET',
            path.replace('{id}', last.sessionId),
            path.startsWith('/v1/') && path !== '/v1/refresh' ? { token: held, ...body === undefined ? {} : { body } } : {}
          )
        )
      }
    }
    away = false
    for (let i = 0; i < 4; i++) await other.call('PUT', '/v1/session/data', { token: held, body: {} })
    for (const method of ['PUT', 'PATCH'] as const) {
      conforms(method, '/v1/session/data', await other.call(method, '/v1/session/data', { token: held, body: {} }))
    }
    for (let i = 0; i < 60; i++) await other.call('DELETE', '/v1/tokens/none', { token: held })
    for (const path of ['/v1/sessions', '/v1/sessions/{id}', '/v1/tokens/{id}']) {
      conforms('DELETE', path, await other.call('DELETE', path.replace('{id}', 'none'), { token: held }))
    }
    for (let i = 0; i < 13; i++) await other.login(newEmail())
    for (const path of ['/oauth/revoke', '/oauth/token']) conforms('POST', path, await form(other, path, 'token=x'))
    for (const [path, body] of Object.entries({
      ...bodies,
      ...mails,
      '/v1/refresh': { refreshToken },
      '/v1/logout': { refreshToken },
      '/v1/logout-all': { refreshToken }
    })) conforms('POST', path, await other.call('POST', path, { body }))

    const declared = Object.entries(openapi.paths).flatMap(([path, operations]) =>
      Object.entries(operations).flatMap(([method, { responses }]) =>
        Object.keys(responses).map(status => `${method.toUpperCase()} ${path} ${status}`)))
    const unseen = declared.filter(name => !answered.has(name))
    // Refusals for other sites and for personal tokens have their own tests.
    t.same(unseen.filter(name => !/ 403$/.test(name)), [], 'every declared answer was given')
  })
})

t.test('the example of each body in OpenAPI can be sent as it is', async t => {
  const one = await startApp(t, await embeddedGround())
  const server = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const openapi = await (await fetch(`${server}/openapi.json`)).json() as Openapi
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': moment } })
  const service = (await one.serviceTokens.create('orders')).plain.reveal()

  /** What a caller who may use the route gets for `body`. */
  async function send (method: string, path: string, type: string, body: Record<string, unknown>): Promise<{ status: number, code?: string }> {
    const { token, userId } = await one.account()
    if (path.startsWith('/v1/admin/')) await one.admin.setRole(operator, userId, 'admin')
    const asService = path === '/oauth/introspect' || path === '/v1/introspections'
    const reply = await fetch(server + path.replace('{id}', userId), {
      method: method.toUpperCase(),
      headers: { 'content-type': type, ...path === '/oauth/token' ? {} : { authorization: `Bearer ${asService ? service : token}` } },
      body: type.endsWith('json') ? JSON.stringify(body) : new URLSearchParams(body as Record<string, string>)
    })
    const text = await reply.text()
    return { status: reply.status, ...text === '' ? {} : { code: (JSON.parse(text) as { code?: string }).code ?? '' } }
  }

  const takesAnything = new Set(['/v1/session/data'])
  let seen = 0
  for (const [path, methods] of Object.entries(openapi.paths)) {
    for (const [method, { requestBody }] of Object.entries(methods)) {
      for (const [type, { schema, example }] of Object.entries(requestBody?.content ?? {})) {
        const name = `${method.toUpperCase()} ${path}`
        seen++
        if (example === undefined) {
          t.fail(`${name} has no example`)
          continue
        }
        const validate = ajv.compile({ ...schema, components: openapi.components })
        t.ok(validate(example), `${name} ${JSON.stringify(validate.errors)}`)
        const reply = await send(method, path, type, example)
        t.not(reply.code, 'FST_ERR_VALIDATION', name)
        t.not(reply.code, 'AUTH_INVALID_REQUEST', name)
        t.ok(reply.status < 500 && reply.status !== 415, `${name} ${reply.status}`)
        // Or else the request was refused before its body was looked at.
        const unknown = type.endsWith('json') ? { ...example, unknown: 1 } : {}
        const wrong = takesAnything.has(path) ? [] as unknown as typeof unknown : unknown
        t.equal((await send(method, path, type, wrong)).code, 'FST_ERR_VALIDATION', `${name} checks its body`)
      }
    }
  }
  t.ok(seen >= 18, `${seen} bodies`)
})

t.test('the pages for people', async t => {
  const one = await startApp(t, embedded)

  t.test('/docs loads nothing from elsewhere', async t => {
    const page = await one.call('GET', '/docs')
    t.equal(page.statusCode, 200)
    t.match(page.headers['content-type'], /^text\/html/)
    const links = [...page.body.matchAll(/(?:src|href)\s*=\s*["']?([^"'\s>]+)/g)].map(([, link]) =>
      new URL(link as string, 'http://latchkey.test/docs'))
    t.ok(links.length >= 4, links.join(' '))
    for (const link of links) {
      t.equal(link.origin, 'http://latchkey.test', link.href)
      t.equal((await one.call('GET', link.pathname as '/docs')).statusCode, 200, link.href)
    }
    t.notMatch(page.body, /https?:\/\//)
    t.notMatch(
      page.headers['content-security-policy'],
      /https?:|\*|\.io|\.com|upgrade-insecure-requests/,
      'the policy lets nothing in either, and works over http'
    )
    t.match(page.body, '<title>Latchkey API</title>')
    const settings = (await one.call('GET', '/docs/static/swagger-initializer.js')).body
    t.match(settings, /validatorUrl["']?\s*:\s*null/, 'no badge from an external validator')
    t.equal((await one.call('GET', '/docs/json')).json<Openapi>().openapi, '3.1.0')
  })

  t.test('/ names the service and links to what there is', async t => {
    const home = (await one.call('GET', '/')).json<Record<string, string>>()
    t.match(home.name, /latchkey/i)
    const links = Object.values(home).filter(value => value.startsWith('/'))
    t.ok(links.includes('/docs') && links.includes('/openapi.json'), links.join(' '))
    for (const link of links) t.equal((await one.call('GET', link as '/')).statusCode, 200, link)
  })
})

t.test('health', async t => {
  t.test('is ok on the embedded server', async t => {
    const one = await startApp(t, embedded)
    t.same((await one.call('GET', '/health/live')).json(), { status: 'ok' })
    await one.trusted()
    const ready = await one.call('GET', '/health/ready')
    t.equal(ready.statusCode, 200)
    t.match(
      ready.json(),
      {
        status: 'ok',
        database: { status: 'ok', roundTripMs: Number },
        cache: { status: 'ok', trusted: true, reason: null, roundTripMs: Number }
      }
    )
  })

  t.test('is ok without Redis when that is configured', async t => {
    const ground = await serverGround(t, { redisUrl: null })
    if (ground === null) return
    const one = await startApp(t, ground)
    const ready = await one.call('GET', '/health/ready')
    t.equal(ready.statusCode, 200)
    t.match(ready.json(), { status: 'ok', database: { status: 'ok' }, cache: { status: 'none', trusted: false, roundTripMs: null } })
  })

  t.test('is degraded while Redis is gone, and the API works', async t => {
    if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary')
    const server = await startRedis()
    t.teardown(() => server.kill())
    const ground = await serverGround(t, { redisUrl: server.url })
    if (ground === null) return
    const one = await startApp(t, { ...ground, healthy: true })
    const { email, token } = await one.account()
    await one.trusted()
    t.match((await one.call('GET', '/health/ready')).json(), { status: 'ok', cache: { status: 'ok', trusted: true, roundTripMs: Number } })
    await server.kill()
    await delay(300)
    const ready = await one.call('GET', '/health/ready')
    t.equal(ready.statusCode, 200)
    t.match(
      ready.json(),
      {
        status: 'degraded',
        database: { status: 'ok' },
        cache: { status: 'unavailable', trusted: false, reason: String, roundTripMs: null }
      }
    )
    t.equal((await one.me(token)).statusCode, 200)
    t.equal((await one.login(email)).statusCode, 200)
    t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.call('GET', '/health/live')).statusCode, 200)
  })

  t.test('is degraded while Redis takes no writes, though it answers', async t => {
    if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary')
    const server = await startRedis()
    t.teardown(() => server.kill())
    const ground = await serverGround(t, { redisUrl: server.url })
    if (ground === null) return
    const one = await startApp(t, ground)
    const admin = new Redis(server.url)
    t.teardown(() => admin.disconnect())
    await admin.config('SET', 'maxmemory', '1')
    await delay(300)
    const ready = await one.call('GET', '/health/ready')
    t.equal(ready.statusCode, 200)
    t.match(ready.json(), { status: 'degraded', cache: { status: 'unavailable', roundTripMs: null } })
  })

  for (const [name, fault] of [['refuses connections', 'close'], ['is a black hole', 'freeze']] as const) {
    t.test(`is 503 while the database ${name}`, async t => {
      const ground = await serverGround(t, { redisUrl: null })
      if (ground === null) return
      const way = await forward(t, new URL(await findPostgres() as string))
      const url = new URL(ground.databaseUrl as string)
      url.port = String(way.port)
      const one = await startApp(t, { ...ground, database: async () => createPostgres(url.href, 4) })
      const { email, token } = await one.account()
      t.equal((await one.call('GET', '/health/ready')).statusCode, 200)
      way[fault]()
      await delay(300)

      // Other queries over a dead connection are given up after 7 s.
      const ready = await Promise.race([one.call('GET', '/health/ready'), delay(6_000, null, { ref: false })])
      if (ready === null) return t.fail('a probe must not wait long')
      t.equal(ready.statusCode, 503)
      t.match(ready.headers['retry-after'], /^[1-9]\d*$/)
      t.match(ready.json(), { status: 'unavailable', database: { status: 'unavailable', roundTripMs: null } })
      t.equal((await one.call('GET', '/health/live')).statusCode, 200, 'the process itself is healthy')

      if (fault === 'freeze') return
      const replies = await Promise.all([
        one.me(token),
        one.login(email),
        one.register(),
        one.call('GET', '/v1/sessions', { token }),
        one.logout(token)
      ])
      for (const reply of replies) {
        t.equal(reply.statusCode, 503, 'and so is the API')
        t.equal(reply.json().code, 'AUTH_UNAVAILABLE')
        t.match(reply.headers['retry-after'], /^[1-9]\d*$/)
        t.notMatch(reply.body, /ECONN|127\.0\.0\.1|postgres|TIMEOUT/)
      }
    })
  }
})

/** A proxy to `target` that can be closed, or left open while letting nothing through. */
async function forward (t: Test, target: URL): Promise<{ port: number, close (): void, freeze (): void }> {
  const sockets = new Set<Socket>()
  let frozen = false
  const server = createServer(client => {
    sockets.add(client.on('error', () => {}))
    if (frozen) return
    const upstream = connect(Number(target.port || 5432), target.hostname)
    sockets.add(upstream.on('error', () => client.destroy()))
    client.on('data', chunk => { if (!frozen) upstream.write(chunk) }).on('close', () => upstream.destroy())
    upstream.on('data', chunk => { if (!frozen) client.write(chunk) }).on('close', () => client.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(close)
  return { port: (server.address() as AddressInfo).port, close, freeze () { frozen = true } }
}

t.test('unknown account, wrong password and disabled account get one answer', async t => {
  const one = await startApp(t, embedded, { env: { BCRYPT_COST: '8' } })
  const [right, off] = [await one.account(), await one.account()]
  await one.database.prepared('update users set disabled_at = now() where id = $1', [off.userId])
  const attempts = {
    unknown: () => one.login(newEmail()),
    wrong: () => one.login(right.email, { password: 'not the password' }),
    disabled: () => one.login(off.email),
    'disabled and wrong': () => one.login(off.email, { password: 'not the password' })
  }

  t.test('to the byte', async t => {
    const answers = await Promise.all(Object.values(attempts).map(attempt => attempt()))
    const [first] = answers.map(({ statusCode, body, headers: { date, ...headers } }) => ({ statusCode, body, headers }))
    t.match(first, { statusCode: 401, body: 'AUTH_INVALID_CREDENTIALS' })
    for (const { statusCode, body, headers: { date, ...headers } } of answers) t.same({ statusCode, body, headers }, first)
  })

  t.test('in the time they take', async t => {
    const took = new Map(Object.keys(attempts).map(name => [name, [] as number[]]))
    /** The slowest of them divided by the fastest, by their lower quartiles: a busy machine delays some of each. */
    const ratio = () => {
      const typical = [...took.values()].map(times => times.sort((a, b) => a - b)[times.length >> 2] as number)
      return Math.max(...typical) / Math.min(...typical)
    }
    for (let round = 0; round < 60 && (round < 15 || ratio() >= 2); round++) {
      for (const [name, attempt] of Object.entries(attempts)) {
        const startedAt = performance.now()
        await attempt()
        took.get(name)?.push(performance.now() - startedAt)
      }
    }
    t.ok(ratio() < 2, `${ratio().toFixed(2)} times`)
  })

  t.test('and a disabled user cannot change the password', async t => {
    const live = await one.account()
    await one.database.prepared('update users set disabled_at = now() where id = $1', [live.userId])
    const changed = await one.call(
      'PUT',
      '/v1/password',
      { token: live.token, body: { currentPassword: password, newPassword: 'another long one' } }
    )
    t.equal(changed.statusCode, 401)
  })
})

onEachGround(t, async (t, given) => {
  const ground = given.redisUrl === null ? embedded : given

  for (const limit of [0, 1, 2, 3]) {
    t.test(`SESSION_LIMIT ${limit} keeps ${limit === 0 ? 'every session' : `the newest ${limit}`}`, async t => {
      const one = await startApp(t, ground, { env: { SESSION_LIMIT: String(limit) } })
      const { email, token } = await one.account()
      const tokens = [token]
      for (let i = 0; i < 4; i++) {
        await delay(5)
        tokens.push(tokenOf(await one.login(email)))
      }
      const kept = limit === 0 ? 5 : limit
      const statuses = await Promise.all(tokens.map(async token => (await one.me(token)).statusCode))
      t.same(statuses, tokens.map((_, i) => i >= 5 - kept ? 200 : 401), 'the oldest end first')
      const listed = await sessionsOf(one, tokens.at(-1) as string)
      t.equal(listed.length, kept)
      t.same(listed.map(session => session.current), listed.map((_, i) => i === 0), 'newest first')
    })
  }

  t.test('a session that was ended or has expired makes room for another', async t => {
    const one = await startApp(t, ground, { env: { SESSION_LIMIT: '2' } })
    const { email, token } = await one.account()
    const second = tokenOf(await one.login(email))
    await one.logout(second)
    const third = tokenOf(await one.login(email))
    t.equal((await one.me(token)).statusCode, 200)
    t.equal((await one.me(third)).statusCode, 200)
    t.equal((await one.me(second)).statusCode, 401)
  })

  t.test('sessions', async t => {
    const clock = createTestClock()
    const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' }, clock })
    const { email, token, sessionId } = await one.account({ deviceName: 'the first' })
    const login = (deviceName: string) =>
      one.call('POST', '/v1/login', { body: { email, password, deviceName }, headers: { 'user-agent': 'Tests/1' } })
    await delay(5)
    const second = (await login('das Zweite 📱')).json<TokenReply>()

    t.test('are listed newest first, in the shape the contract gives, without token material', async t => {
      const reply = await one.call('GET', '/v1/sessions', { token })
      const { sessions } = reply.json<{ sessions: Session[] }>()
      t.same(sessions.map(({ id }) => id), [second.session.id, sessionId])
      for (const session of sessions) {
        t.same(Object.keys(session).sort(), ['createdAt', 'current', 'deviceName', 'expiresAt', 'id', 'ip', 'lastUsedAt', 'userAgent'])
        t.match(session, { id: uuid, createdAt: moment, lastUsedAt: moment, expiresAt: moment, ip: '127.0.0.1' })
        t.equal(Date.parse(session.expiresAt) - Date.parse(session.createdAt), 30 * dayMs)
      }
      t.match(sessions[0], { deviceName: 'das Zweite 📱', userAgent: 'Tests/1', current: false })
      t.match(sessions[1], { deviceName: 'the first', current: true })
      t.notMatch(reply.body, /lk_|hash|token/i)
      t.same((await sessionsOf(one, second.accessToken)).map(({ current }) => current), [true, false])
    })

    t.test('of others are not listed', async t => {
      const other = await one.account()
      t.same((await sessionsOf(one, other.token)).map(({ id }) => id), [other.sessionId])
    })

    t.test('end one by one, even if asked twice, and only one’s own', async t => {
      const third = (await login('third')).json<TokenReply>()
      for (let i = 0; i < 2; i++) t.equal((await one.call('DELETE', `/v1/sessions/${third.session.id}`, { token })).statusCode, 204)
      t.equal((await one.me(third.accessToken)).statusCode, 401)
      t.equal((await one.me(token)).statusCode, 200)
      t.same((await sessionsOf(one, token)).map(({ id }) => id), [second.session.id, sessionId])
    })

    t.test('end all except the current one', async t => {
      t.equal((await one.call('DELETE', '/v1/sessions', { token })).statusCode, 204)
      t.equal((await one.me(second.accessToken)).statusCode, 401)
      t.same((await sessionsOf(one, token)).map(({ id }) => id), [sessionId])
    })

    t.test('all end with logout-all', async t => {
      const third = tokenOf(await login('third'))
      t.equal((await one.call('POST', '/v1/logout-all', { token })).statusCode, 204)
      for (const ended of [token, third]) t.equal((await one.me(ended)).statusCode, 401)
      t.equal((await one.call('POST', '/v1/logout-all', { token })).statusCode, 401)
    })
  })

  t.test('a 204 has no body, and the request may have an empty JSON body', async t => {
    const one = await startApp(t, ground)
    const { token } = await one.account()
    const reply = await one.app.inject({
      method: 'DELETE',
      url: '/v1/sessions',
      payload: '',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    })
    t.equal(reply.statusCode, 204)
    t.equal(reply.body, '')
  })

  t.test('login options', async t => {
    const one = await startApp(t, ground)
    const { email } = await one.account()

    t.test('abilities belong to the token, also after a password change; a token has all of them when none are named', async t => {
      const abilities = ['read', 'orders:write', '!#~']
      const reply = await one.login(email, { abilities, deviceName: 'phone' })
      t.equal(reply.json<TokenReply>().session.deviceName, 'phone')
      const me = (await one.me(tokenOf(reply))).json<{ token: { id: string, kind: string, abilities: string[], expiresAt: string } }>()
      t.match(me.token, { id: uuid, kind: 'access', abilities, expiresAt: moment })
      const changed = await one.call(
        'PUT',
        '/v1/password',
        { token: tokenOf(reply), body: { currentPassword: password, newPassword: password } }
      )
      t.same((await one.me(tokenOf(changed))).json().token.abilities, abilities)
      t.same((await one.me(tokenOf(await one.login(email)))).json().token.abilities, ['*'])
      t.same((await one.me(tokenOf(await one.login(email, { abilities: [] })))).json().token.abilities, [])
    })

    t.test('introspect is not granted to anyone', async t => {
      for (const reply of [
        await one.login(email, { abilities: ['read', 'introspect'] }),
        await one.register(newEmail(), { abilities: ['introspect'] })
      ]) {
        t.equal(reply.statusCode, 403)
        t.equal(reply.json().code, 'AUTH_INSUFFICIENT_ABILITY')
      }
    })
  })

  t.test('a token', async t => {
    const clock = createTestClock()
    const one = await startApp(t, ground, { clock })

    t.test('has the shape the contract gives, and is different each time', async t => {
      const reply = await one.register()
      const body = reply.json<TokenReply>()
      t.same(Object.keys(body).sort(), ['accessToken', 'endedSessions', 'expiresIn', 'session', 'tokenType', 'user'])
      t.match(
        body,
        {
          tokenType: 'Bearer',
          accessToken: /^lk_[0-9A-Za-z]{50}$/,
          expiresIn: 30 * 86_400,
          session: { id: uuid, deviceName: null, createdAt: moment, expiresAt: moment }
        }
      )
      t.same(Object.keys(body.session).sort(), ['createdAt', 'deviceName', 'expiresAt', 'id'])
      t.same(Object.keys(body.user).sort(), ['createdAt', 'email', 'emailVerifiedAt', 'id', 'name', 'role'])
      t.match(body.user, { id: uuid, emailVerifiedAt: null, name: null, role: 'user', createdAt: moment })
      const again = (await one.login(body.user.email)).json<TokenReply>()
      t.not(again.accessToken, body.accessToken)
      t.not(again.session.id, body.session.id)
      t.same((await one.me(again.accessToken)).json().user, body.user)
    })

    t.test('lives for TOKEN_TTL and not a moment longer', async t => {
      const { token } = await one.account()
      const { expiresAt } = (await one.me(token)).json<{ token: { expiresAt: string } }>().token
      clock.advance(Date.parse(expiresAt) - clock.now() - 60_000)
      t.equal((await one.me(token)).statusCode, 200, 'a minute before its end')
      clock.advance(Date.parse(expiresAt) - clock.now() + 1)
      const reply = await one.me(token)
      t.equal(reply.statusCode, 401)
      t.equal(reply.json().code, 'AUTH_INVALID_TOKEN')
      for (const [method, url] of [
        ['POST', '/v1/logout'],
        ['GET', '/v1/sessions'],
        ['DELETE', '/v1/sessions'],
        ['PUT', '/v1/password']
      ] as const) t.equal(
        (await one.call(
          method,
          url,
          { token, ...method === 'PUT' ? { body: { currentPassword: password, newPassword: password } } : {} }
        )).statusCode,
        401,
        url
      )
    })
  })

  t.test('a shorter TOKEN_TTL ends both token and session', async t => {
    const clock = createTestClock()
    const one = await startApp(t, ground, { env: { TOKEN_TTL: '10m' }, clock })
    const reply = (await one.register()).json<TokenReply>()
    t.equal(reply.expiresIn, 600)
    t.equal(Date.parse(reply.session.expiresAt) - Date.parse(reply.session.createdAt), 600_000)
    clock.advance(540_000)
    t.equal((await one.me(reply.accessToken)).statusCode, 200)
    clock.advance(Date.parse(reply.session.expiresAt) - clock.now() + 1)
    t.equal((await one.me(reply.accessToken)).statusCode, 401)
  })

  t.test('a SESSION_TTL shorter than TOKEN_TTL ends the token, and a password change does not extend it', async t => {
    const clock = createTestClock()
    const one = await startApp(t, ground, { env: { TOKEN_TTL: '30d', SESSION_TTL: '1h' }, clock })
    const first = (await one.register()).json<TokenReply>()
    t.equal(first.expiresIn, 3_600)
    clock.advance(1_800_000)
    const left = () => (Date.parse(first.session.expiresAt) - clock.now()) / 1000
    const before = left()
    const changed = (await one.call(
      'PUT',
      '/v1/password',
      { token: first.accessToken, body: { currentPassword: password, newPassword: 'another long one' } }
    )).json<TokenReply>()
    t.equal(changed.session.id, first.session.id)
    t.equal(changed.session.expiresAt, first.session.expiresAt)
    t.ok(changed.expiresIn <= Math.ceil(before) && changed.expiresIn >= Math.floor(left()), `${changed.expiresIn} s left`)
    clock.advance(1_801_000)
    t.equal((await one.me(changed.accessToken)).statusCode, 401)
  })

  t.test('with REGISTRATION closed nobody can register, and login still works', async t => {
    const one = await startApp(t, ground)
    const { email } = await one.account()
    await one.close()
    const two = await startApp(t, ground, { env: { REGISTRATION: 'closed' } })
    for (const address of [newEmail(), email]) {
      const reply = await two.register(address)
      t.equal(reply.statusCode, 403)
      t.equal(reply.json().code, 'AUTH_REGISTRATION_CLOSED', 'for a taken email too')
    }
    t.equal((await two.login(email)).statusCode, 200)
  })
})
