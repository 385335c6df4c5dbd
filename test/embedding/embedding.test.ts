import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import fastifyCookie from '@fastify/cookie'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import swagger from '@fastify/swagger'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { authenticate, type LatchkeyOptions, latchkey, requireAbility, securitySchemes } from '../../src/embedding/index.js'
import type { Opener } from '../../src/embedding/instances.js'
import { actingAs, inMemory } from '../../src/embedding/testing.js'
import { UnavailableError } from '../../src/shared/errors.js'
import { becomesTrue, newEmail, password, patienceMs, serverGround, skipMissing } from '../fixtures/app.js'
import { freePort, hasRedisServer, openSql, startRedis } from '../fixtures/servers.js'

/** One database for most of these tests: creating one takes longer than everything else. */
const shared = inMemory() as LatchkeyOptions & { open: Opener }
let opened: ReturnType<Opener> | null = null
t.teardown(async () => { await (await opened)?.close() })

function onShared (env: Record<string, string> = {}): LatchkeyOptions & { open: Opener } {
  return { env: { ...shared.env, ...env }, open: async (...parts) => ({ ...await (opened ??= shared.open(...parts)), async close () {} }) }
}

/** Somebody else's application, closed at the end of the test. */
async function startHost (
  t: Test,
  options: LatchkeyOptions,
  { server = {}, before = async () => {} }: { server?: FastifyServerOptions, before?: (app: FastifyInstance) => Promise<void> } = {}
) {
  const app = fastify({ pluginTimeout: 60_000, ...server })
  t.teardown(() => app.close())
  await before(app)
  await app.register(latchkey, options)
  app.get('/mine', { onRequest: authenticate }, async request => ({ user: request.token?.user.email, kind: request.token?.token.kind }))
  app.post('/mine', { onRequest: authenticate }, async () => ({ done: true }))
  app.get('/orders', { onRequest: requireAbility('orders:read') }, async () => ({ orders: [] }))
  await app.ready()
  return app
}

const json = { 'content-type': 'application/json' }
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

t.test("the routes of Latchkey work below a prefix, and its tokens work on the application's own routes", async t => {
  const app = await startHost(t, { prefix: '/auth', ...onShared() })
  const registered = await app.inject({
    method: 'POST',
    url: '/auth/v1/register',
    payload: { email: newEmail(), password, abilities: ['orders:read'] }
  })
  t.equal(registered.statusCode, 201)
  const { accessToken, user } = registered.json<{ accessToken: string, user: { email: string } }>()
  const headers = bearer(accessToken)
  t.equal((await app.inject({ url: '/auth/v1/me', headers })).statusCode, 200)
  t.strictSame((await app.inject({ url: '/mine', headers })).json(), { user: user.email, kind: 'access' })
  t.equal((await app.inject({ url: '/orders', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/v1/me', headers })).statusCode, 404)

  t.equal((await app.inject({ method: 'POST', url: '/auth/v1/logout', headers })).statusCode, 204)
  for (const url of ['/auth/v1/me', '/mine', '/orders']) t.equal((await app.inject({ url, headers })).statusCode, 401, url)
})

t.test('without a prefix the routes are at the root, and leave / and /health to the application', async t => {
  const app = await startHost(
    t,
    onShared(),
    {
      async before (app) { app.get(
        '/',
        async () => 'mine'
      ); app.get('/health/ready', async request => await request.server.latchkey.health.database() !== null) }
    }
  )
  const { inject } = await actingAs(app)
  t.equal((await inject('/v1/me')).statusCode, 200)
  t.equal((await app.inject('/')).body, 'mine')
  t.equal((await app.inject('/health/ready')).body, 'true')
  t.match(await app.latchkey.metrics.metrics(), 'latchkey_cache_trusted')
})

t.test("an application's own routes read and write what is kept with the session, as its clients do", async t => {
  const app = await startHost(t, { prefix: '/auth', ...onShared() }, {
    async before (app) {
      app.get('/cart', { onRequest: authenticate }, request => app.latchkey.sessionData.read(request.token))
      app.put<{ Body: object, Querystring: { version?: string } }>('/cart', { onRequest: authenticate }, request =>
        app.latchkey.sessionData.replace(request.token, request.body as object, request.query.version))
      app.patch<{ Body: object }>('/cart', { onRequest: authenticate }, request => app.latchkey.sessionData.merge(request.token, request.body as object))
      app.get('/open', () => app.latchkey.sessionData.read(null))
      app.put('/odd', { onRequest: authenticate }, request =>
        app.latchkey.sessionData.merge(request.token, { at: new Date(0), none: undefined, nan: Number.NaN, list: [undefined] }))
      app.put('/cyclic', { onRequest: authenticate }, request => {
        const data: Record<string, unknown> = {}
        data.data = data
        return app.latchkey.sessionData.replace(request.token, data)
      })
    }
  })
  const { inject, token } = await actingAs(app)
  const ask = async (method: 'GET' | 'PUT' | 'PATCH', url: string, payload?: object) => {
    const reply = await inject({ method, url, ...payload === undefined ? {} : { payload } })
    return reply.statusCode === 200 ? reply.json() : [reply.statusCode, reply.json().code]
  }
  t.match(await ask('GET', '/cart'), { data: {}, version: '00000000-0000-0000-0000-000000000000' })
  const first = await ask('PUT', '/cart', { items: ['a'] }) as { version: string }
  t.match(await ask('PUT', '/cart?version=none', { items: [] }), [412, 'AUTH_CONFLICT'])
  t.match(await ask('PUT', `/cart?version=${first.version}`, { items: ['b'] }), { data: { items: ['b'] } })
  t.match(await ask('PATCH', '/cart', { size: 1 }), { data: { items: ['b'], size: 1 } })
  const wire = await app.inject({ url: '/auth/v1/session/data', headers: bearer(token) })
  t.strictSame(wire.json(), { data: { items: ['b'], size: 1 } })
  t.equal(wire.headers.etag, `"${(await ask('GET', '/cart') as { version: string }).version}"`)
  t.strictSame((await ask('PUT', '/odd') as { data: object }).data, { items: ['b'], size: 1, at: '1970-01-01T00:00:00.000Z', list: [null] })
  t.match(await ask('PUT', '/cart', []), [400, 'AUTH_INVALID_REQUEST'])
  t.match(await ask('PUT', '/cart', { a: 'x'.repeat(17_000) }), [413, 'AUTH_TOO_LARGE'])
  t.equal((await app.inject('/open')).json().code, 'AUTH_MISSING_TOKEN')
  t.match(await ask('PUT', '/cyclic'), [500, undefined])
  const personal = await actingAs(app, { kind: 'personal' })
  t.equal((await personal.inject('/cart')).json().code, 'AUTH_SESSION_REQUIRED')
})

t.test('forward auth works below a prefix, and no ETag of the application makes a 304 of it', async t => {
  const before = async (app: FastifyInstance) => {
    app.addHook('onSend', async (request, reply) => {
      reply.header('etag', '"x"')
      if (request.headers['if-none-match'] !== undefined) reply.code(304)
    })
  }
  const env = { TRUST_PROXY: '127.0.0.1', APP_URL: 'https://app.example.com/sign-in', PUBLIC_URL: 'https://app.example.com' }
  const app = await startHost(t, { prefix: '/auth', ...onShared(env) }, { before })
  const { accessToken } = (await app.inject({
    method: 'POST', url: '/auth/v1/register', payload: { email: newEmail(), password, abilities: ['orders:read'] }
  })).json<{ accessToken: string }>()
  const ask = (headers: Record<string, string>, query = '') => app.inject({ url: `/auth/v1/forward-auth${query}`, headers })
  const passed = await ask({ ...bearer(accessToken), 'if-none-match': '"x"' })
  t.strictSame([passed.statusCode, passed.body, passed.headers['x-auth-abilities']], [200, '', 'orders:read'])
  const forwarded = { 'x-forwarded-method': 'GET', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'app.example.com', 'x-forwarded-uri': '/x' }
  const sent = await ask({ ...forwarded, accept: 'text/html' }, '?redirect=true')
  t.strictSame(
    [sent.statusCode, sent.headers.location],
    [302, 'https://app.example.com/sign-in?return_to=https%3A%2F%2Fapp.example.com%2Fx']
  )
  const post = { ...forwarded, 'x-forwarded-method': 'POST', cookie: `__Host-latchkey=${accessToken}` }
  t.strictSame([(await ask(post)).statusCode, (await ask({ ...post, 'sec-fetch-site': 'same-origin' })).statusCode], [403, 200])
})

t.test("refusals on the application's own routes have their headers, however it handles errors", async t => {
  const kept = onShared()
  let gone = false
  const breakable: typeof kept = {
    ...kept,
    async open (...parts) {
      const opened = await kept.open(...parts)
      return {
        ...opened,
        database: {
          ...opened.database,
          prepared: async (...query) => { if (gone) throw new UnavailableError(); return opened.database.prepared(...query) }
        }
      }
    }
  }
  for (const handled of [false, true]) {
    gone = false
    const app = await startHost(t, breakable, {
      async before (app) {
        if (handled) app.setErrorHandler((
          error,
          _request,
          reply
        ) => reply.code((error as { statusCode?: number }).statusCode ?? 500).send('sorry'))
      }
    })
    const limited = await actingAs(app, { abilities: ['profile'] })
    const ask = async (url: string, authorization?: string) => {
      const { statusCode, headers, body } = await app.inject({ url, headers: authorization === undefined ? {} : { authorization } })
      return {
        statusCode,
        challenge: headers['www-authenticate'],
        retry: headers['retry-after'],
        store: headers['cache-control'],
        said: handled ? body : JSON.parse(body).code
      }
    }
    const expected = (
      statusCode: number,
      code: string,
      challenge: string | undefined,
      retry?: string
    ) => ({ statusCode, challenge, retry, store: 'no-store', said: handled ? 'sorry' : code })
    for (const url of ['/mine', '/orders']) {
      t.strictSame(await ask(url), expected(401, 'AUTH_MISSING_TOKEN', 'Bearer realm="latchkey"'), `${url}, no token`)
      t.match((await ask(url, 'Bearer lk_nothing')).challenge, 'error="invalid_token"', `${url}, made up`)
    }
    t.strictSame(
      await ask('/orders', limited.headers.authorization),
      expected(403, 'AUTH_INSUFFICIENT_ABILITY', 'Bearer realm="latchkey", error="insufficient_scope", scope="orders:read"')
    )
    t.equal((await ask('/mine', limited.headers.authorization)).store, 'no-store', 'accepted, and marked no-store')
    // A personal token is not cached before its first use.
    const unused = await actingAs(app, { kind: 'personal' })
    gone = true
    t.strictSame(await ask('/orders', unused.headers.authorization), expected(503, 'AUTH_UNAVAILABLE', undefined, '1'))
  }
  t.throws(() => requireAbility('orders read'), TypeError)
  t.throws(() => requireAbility('"'), TypeError)
})

t.test('an application that has plugins and settings of its own keeps them, and Latchkey has its own', async t => {
  const app = await startHost(t, { prefix: '/auth', ...onShared({ ADDRESS_LIMIT: '3/1m', LOGIN_LIMIT: '100/1m' }) }, {
    server: { bodyLimit: 200_000 },
    async before (app) {
      await app.register(fastifyCookie)
      await app.register(cors, { origin: 'https://app.example.com' })
      await app.register(helmet, { strictTransportSecurity: { maxAge: 5 } })
      await app.register(rateLimit, { max: 1000 })
      await app.register(swagger, { openapi: { openapi: '3.1.0', components: { securitySchemes } } })
      app.setValidatorCompiler(() => () => true)
      app.setSerializerCompiler(() => () => '"mine"')
      app.setErrorHandler((_error, _request, reply) => reply.code(418).send({ mine: true }))
      app.setNotFoundHandler((_request, reply) => reply.code(404).send({ nothing: 'mine' }))
      app.addContentTypeParser('text/plain', { parseAs: 'string' }, (_request, body, done) => done(null, body))
      app.post(
        '/echo',
        { schema: { body: { type: 'object' }, response: { 200: { type: 'object' } } } },
        async request => ({ length: String(request.body).length })
      )
      app.get('/fails', async () => { throw new Error('no') })
      app.get('/limit', { config: { rateLimit: { max: 1 } } }, async () => 'once')
    }
  })
  t.equal(
    (await app.inject({ method: 'POST', url: '/echo', headers: { 'content-type': 'text/plain' }, payload: 'x'.repeat(100_000) })).body,
    '"mine"',
    'its parser, limit, validator and serialiser'
  )
  t.equal((await app.inject('/fails')).statusCode, 418)
  for (const url of ['/none', '/auth/none']) t.strictSame((await app.inject(url)).json(), { nothing: 'mine' }, url)
  t.strictSame([(await app.inject('/limit')).statusCode, (await app.inject('/limit')).statusCode], [200, 418], 'its own limit')
  t.equal((await app.inject('/mine')).headers['strict-transport-security'], 'max-age=5; includeSubDomains')

  const login = (
    payload: string,
    headers: Record<string, string> = json
  ) => app.inject({ method: 'POST', url: '/auth/v1/login', headers, payload })
  const coerced = await login(JSON.stringify({ email: 'ada@example.com', password: 12345678 }))
  t.match(coerced.json(), { statusCode: 400, code: 'FST_ERR_VALIDATION', field: 'password', reason: 'wrong_type' }, 'our validator and our message')
  t.match(
    coerced.headers,
    { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'strict-transport-security': 'max-age=5; includeSubDomains' }
  )
  t.match((await login('hello', { 'content-type': 'text/plain' })).json(), { statusCode: 415, error: 'Unsupported Media Type' })
  t.match((await login(JSON.stringify({ email: 'a'.repeat(70_000) }))).json(), { statusCode: 413 })
  const limited = await login('{}')
  t.match(limited.json(), { statusCode: 429, code: 'AUTH_RATE_LIMITED' }, "ADDRESS_LIMIT counts, not the application's limit")
  t.match(limited.headers, { 'retry-after': /^\d+$/ })

  const { paths = {} } = app.swagger()
  t.ok('/auth/v1/login' in paths && '/echo' in paths, 'one document describes both')
})

t.test('an application without any of these gets none of them', async t => {
  const app = await startHost(
    t,
    { prefix: '/auth', ...onShared() },
    {
      async before (app) { app.get(
        '/coerce',
        { schema: { querystring: { type: 'object', properties: { n: { type: 'integer' } } } } },
        async request => request.query
      ) }
    }
  )
  const plain = await app.inject('/coerce?n=1')
  t.strictSame(plain.json(), { n: 1 })
  t.strictSame(Object.keys(plain.headers).sort(), ['connection', 'content-length', 'content-type', 'date'])
  t.match((await app.inject('/none')).json(), { message: 'Route GET:/none not found' })
  t.match(
    (await app.inject('/auth/v1/me')).headers,
    { 'strict-transport-security': 'max-age=31536000', 'x-content-type-options': 'nosniff' }
  )
  t.equal(app.server.listenerCount('checkExpectation'), 0)
})

t.test("cookies give access to the application's own routes only from its own pages", async t => {
  const app = await startHost(t, { prefix: '/auth', ...onShared({ PUBLIC_URL: 'https://api.example.com' }) })
  const own = { origin: 'https://api.example.com' }
  const registered = await app.inject({
    method: 'POST',
    url: '/auth/v1/register',
    headers: own,
    payload: { email: newEmail(), password, cookies: true }
  })
  const cookie = String(registered.headers['set-cookie']).split(';', 1)[0] as string
  t.match(cookie, /^__Host-latchkey=lk_/)
  t.equal((await app.inject({ url: '/mine', headers: { cookie } })).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/mine', headers: { cookie, ...own } })).statusCode, 200)
  const crossed = await app.inject({ method: 'POST', url: '/mine', headers: { cookie, origin: 'https://evil.example.com' } })
  t.match(crossed.json(), { statusCode: 403, code: 'AUTH_CROSS_SITE' })
})

t.test("a token in the URL doesn't reach the application's log", async t => {
  const lines: string[] = []
  const app = await startHost(
    t,
    { prefix: '/auth', ...onShared() },
    { server: { logger: { level: 'info', stream: { write (line: string) { lines.push(line) } } } } }
  )
  await app.inject('/auth/v1/me?access_token=lk_Sentinel000000000000000000')
  await app.inject({ method: 'DELETE', url: '/auth/v1/tokens/lkp_Sentinel000000000000000000?x=lk_Sentinel' })
  const log = lines.join('')
  t.match(log, /"url":"\/auth\/v1\/me","remoteAddress":"127\.0\.0\.1"/, 'the request was logged')
  t.match(log, /"url":"\/auth\/v1\/tokens\/lk_…"/)
  t.notMatch(log, 'Sentinel')
})

t.test('two applications in one process are independent of each other', async t => {
  const [one, other] = [await startHost(t, onShared()), await startHost(t, inMemory())]
  const ada = await actingAs(one)
  t.equal((await ada.inject('/mine')).statusCode, 200)
  t.equal((await other.inject({ url: '/mine', headers: ada.headers })).statusCode, 401)
  await one.close()
  t.equal((await (await actingAs(other)).inject('/mine')).statusCode, 200)
})

t.test('a scope outside Latchkey says so', async t => {
  const app = fastify({ pluginTimeout: 60_000 })
  t.teardown(() => app.close())
  await app.register(async scope => { await scope.register(latchkey, onShared()) })
  app.get('/outside', { onRequest: authenticate }, async () => 'in')
  t.match((await app.inject('/outside')).json(), { statusCode: 500, message: /not registered/ })
  await t.rejects(actingAs(app), /not registered/)
})

t.test('actingAs gives what any user gets, and no more', async t => {
  const app = await startHost(t, onShared())
  const admin = await actingAs(app, { email: 'Grace@Example.com', name: 'Grace', role: 'admin' })
  t.match(
    (await admin.inject('/v1/me')).json(),
    {
      user: { id: admin.user.id, email: 'grace@example.com', name: 'Grace', role: 'admin' },
      session: {},
      token: { kind: 'access', abilities: ['*'] }
    }
  )

  const again = await actingAs(app, { email: 'grace@example.com', abilities: ['orders:read'] })
  t.equal(again.user.id, admin.user.id, 'one account')
  t.equal((await admin.inject('/mine')).statusCode, 401, 'SESSION_LIMIT is 1')
  t.strictSame((await again.inject({ url: '/v1/me', headers: { authorization: 'Bearer other' } })).json().token.abilities, ['orders:read'])

  const program = await actingAs(app, { kind: 'personal', abilities: ['orders:read'] })
  t.match(program.token, /^lkp_/)
  t.match((await program.inject('/v1/me')).json(), { session: null, token: { kind: 'personal', abilities: ['orders:read'] } })
  t.equal((await program.inject('/orders')).statusCode, 200)
  t.match((await program.inject('/v1/sessions')).json(), { code: 'AUTH_SESSION_REQUIRED' })
  await t.rejects(actingAs(app, { abilities: ['introspect'] }), { code: 'AUTH_INSUFFICIENT_ABILITY' })
  t.equal(
    (await app.inject({ url: '/mine', headers: bearer(`${again.token.slice(0, -1)}${again.token.endsWith('a') ? 'b' : 'a'}`) })).statusCode,
    401
  )

  const closed = await startHost(t, onShared({ REGISTRATION: 'closed', PASSWORD_MIN_LENGTH: '200' }))
  t.equal((await (await actingAs(closed)).inject('/mine')).statusCode, 200, 'the rules for new accounts do not apply')
})

t.test('registering the plugin fails with the cause, and leaves nothing open', async t => {
  const failing = async (env: Record<string, string>) => {
    const app = fastify({ pluginTimeout: 60_000 })
    t.teardown(() => app.close())
    await app.register(latchkey, { env })
  }
  await t.rejects(failing({ PORT: 'x', BCRYPT_COST: '3' }), /BCRYPT_COST/)
  await t.rejects(failing({ NODE_ENV: 'production' }), /NODE_ENV=production needs DATABASE_URL/)
  const port = await freePort()
  await t.rejects(
    failing({ DATABASE_URL: `postgres://somebody:hidden@127.0.0.1:${port}/latchkey` }),
    { message: `PostgreSQL at 127.0.0.1:${port} does not answer: start it or correct DATABASE_URL.` }
  )

  const folder = mkdtempSync(join(tmpdir(), 'latchkey-embedding-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const first = fastify({ pluginTimeout: 60_000 })
  await first.register(latchkey, { env: { DATA_DIR: folder, BCRYPT_COST: '4' } })
  const { token } = await actingAs(first)
  await t.rejects(failing({ DATA_DIR: folder }), new RegExp(`process ${process.pid}`))
  await first.close()
  const second = await startHost(t, { env: { DATA_DIR: folder, BCRYPT_COST: '4' } })
  t.equal((await second.inject({ url: '/mine', headers: bearer(token) })).statusCode, 200, 'closed and reopened, with all data there')
})

t.test('closing the application closes its connections to PostgreSQL and Redis', async t => {
  const ground = await serverGround(t, { redisUrl: null })
  if (ground === null) return
  if (!hasRedisServer) return skipMissing(t, 'needs redis-server: install it')
  const server = await startRedis()
  t.teardown(() => server.kill())
  const redis = new Redis(server.url)
  const sql = openSql(ground.databaseUrl as string)
  t.teardown(async () => { redis.disconnect(); await sql.end() })
  const open = async () => [
    (await sql`select 1 from pg_stat_activity where application_name = 'latchkey' and datname = current_database()`).length,
    String(await redis.client('LIST')).split('\n').filter(line => line.includes('name=latchkey ')).length
  ]

  const app = await startHost(t, { env: { DATABASE_URL: ground.databaseUrl as string, REDIS_URL: server.url, BCRYPT_COST: '4' } })
  t.equal((await (await actingAs(app)).inject('/mine')).statusCode, 200)
  t.ok((await open()).every(count => count > 0))
  await app.close()
  t.ok(await becomesTrue(async () => (await open()).every(count => count === 0), 60_000), String(await open()))
})

t.test('app.redis is Latchkey\'s client, and neither the boot nor the close waits for Redis', async t => {
  const ground = await serverGround(t, { redisUrl: null })
  if (ground === null) return
  if (!hasRedisServer) return skipMissing(t, 'needs redis-server: install it')
  const start = (t: Test, url: string, before?: (app: FastifyInstance) => Promise<void>) =>
    startHost(
      t,
      { env: { DATABASE_URL: ground.databaseUrl as string, REDIS_URL: url, BCRYPT_COST: '4' } },
      { server: { pluginTimeout: 20_000 }, ...before === undefined ? {} : { before } }
    )
  const closes = async (
    t: Test,
    app: FastifyInstance
  ) => t.ok(await Promise.race([app.close().then(() => true), delay(15_000, false)]), 'it closes')

  await t.test('with Redis there', async t => {
    const server = await startRedis()
    t.teardown(() => server.kill())
    const app = await start(t, server.url)
    t.ok(await becomesTrue(() => app.redis.set('mine', 'kept').then(() => true, () => false), patienceMs))
    t.equal(await app.redis.get('mine'), 'kept')
    t.equal(app.redis.status, 'ready')
    await closes(t, app)
    t.ok(await becomesTrue(() => app.redis.status === 'end', patienceMs), 'the client is closed once, with Latchkey')
  })

  await t.test('with Redis absent', async t => {
    const app = await start(t, `redis://127.0.0.1:${await freePort()}`)
    t.equal((await (await actingAs(app)).inject('/mine')).statusCode, 200)
    t.not(app.redis.status, 'ready')
    await t.rejects(app.redis.get('mine'), 'a command fails at once')
    await closes(t, app)
  })

  await t.test('with Redis frozen', async t => {
    const server = await startRedis()
    t.teardown(() => server.kill())
    process.kill(server.pid, 'SIGSTOP')
    const app = await start(t, server.url)
    t.equal((await (await actingAs(app)).inject('/mine')).statusCode, 200)
    await t.rejects(app.redis.get('mine'), 'a command does not wait')
    await closes(t, app)
  })

  await t.test('with Redis gone while the application runs', async t => {
    const server = await startRedis()
    const app = await start(t, server.url)
    t.ok(await becomesTrue(() => app.redis.ping().then(() => true, () => false), patienceMs))
    await server.kill()
    await t.rejects(app.redis.get('mine'))
    t.equal((await (await actingAs(app)).inject('/mine')).statusCode, 200)
    await closes(t, app)
  })

  await t.test('an application keeps a client that it registered before', async t => {
    const own = new Redis({ lazyConnect: true })
    t.teardown(() => own.disconnect())
    const app = await start(
      t,
      `redis://127.0.0.1:${await freePort()}`,
      async app => { app.decorate('redis', own as FastifyInstance['redis']) }
    )
    t.equal(app.redis, own)
    await closes(t, app)
  })
})
