import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { embeddedGround, type Ground, newEmail, password, startApp, type TestApp } from '../fixtures/app.js'
import { refusedAs } from '../fixtures/refused.js'
import { type Openapi, operationsOf } from '../slow/fuzz/checks.js'
import { createClient } from '../slow/fuzz/client.js'

const guards = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'strict-transport-security': /^max-age=[1-9]\d{6,}/ }

/** One embedded database for the apps of this file that don't break it. */
const shared = await (await embeddedGround()).database()
t.teardown(() => shared.close())
const ground: Ground = { ...await embeddedGround(), database: async () => ({ ...shared, close: async () => {} }) }
/** For apps beside another: two never share the cache in memory. */
const beside: Ground = { ...ground, database: async () => ({ ...shared, embedded: false, close: async () => {} }) }

const openapiOf = async (one: TestApp) => (await one.call('GET', '/openapi.json')).json<Openapi>()
const post = (
  one: TestApp,
  url: string,
  payload: string | Buffer,
  type = 'application/json',
  headers: Record<string, string> = {}
): Promise<Response> =>
  one.app.inject({ method: 'POST', url, payload, headers: { 'content-type': type, ...headers } })

t.test('HTTP', async t => {
  const routes: string[] = []
  const watch = (message: unknown) => {
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', ({ method, url }) => {
      for (const name of [method].flat()) routes.push(`${name.toUpperCase()} ${url}`)
    })
  }
  subscribe('fastify.initialization', watch)
  const one = await startApp(t, ground, { env: { CORS_ORIGINS: 'https://good.com', SESSION_LIMIT: '0' } })
  unsubscribe('fastify.initialization', watch)
  const { email, token } = await one.account()
  const openapi = await openapiOf(one)
  const operations = operationsOf(openapi)

  t.test('V6.3.4 no undocumented pathway: the route table is the one of OpenAPI', async t => {
    const others = /^HEAD | (\/docs|\*|\/openapi\.json$|\/(account|admin)(\/\*)?$|\/pages\/assets\/)/
    const own = routes.filter(route => !others.test(route)).map(route => route.replace(/:(\w+)/g, '{$1}'))
    t.same([...new Set(own)].sort(), operations.map(({ name }) => name).sort())
  })

  t.test('V6.3.4 every route that is not declared open refuses without a token, before it looks at anything else', async t => {
    for (const { name, method, path, security, responses } of operations.filter(({ security }) =>
      security.length > 0 && !security.some(one => Object.keys(one as object).length === 0))) {
      const url = path.replace(/\{\w+\}/g, 'x')
      const asked = (headers: Record<string, string>) =>
        one.app.inject({
          method: method as 'POST',
          url,
          headers: { ...headers, 'content-type': 'text/plain' },
          ...method === 'GET' ? {} : { payload: '{' }
        })
      if (path.startsWith('/oauth/')) continue
      const isBare = responses[401]?.content === undefined
      t.equal(isBare, path === '/v1/forward-auth', 'one route alone has a 401 without a body')
      refusedAs(t, await asked({}), 401, isBare ? null : 'AUTH_MISSING_TOKEN', `${name} ${security.length}`)
      refusedAs(t, await asked({ authorization: 'Bearer lk_no' }), 401, isBare ? null : 'AUTH_INVALID_TOKEN', name)
    }
  })

  t.test('V3.4.1, V3.4.4 HSTS and nosniff are on every status, 404 and 500 included', async t => {
    const limited = await startApp(t, beside, { env: { LOGIN_LIMIT: '1/1m' } })
    let fails: Error | null = null
    const query: typeof shared.query = work => fails === null ? shared.query(work) : Promise.reject(fails)
    const broken = await startApp(t, { ...beside, database: async () => ({ ...shared, embedded: false, query, close: async () => {} }) })
    fails = new Error('select secret from nowhere')
    await limited.login(email, { password: 'not the password' })
    const replies = [
      await one.me(token), await one.register(), await one.call(
        'DELETE',
        '/v1/sessions',
        { token }
      ), await one.login(
        email,
        { password: 1 }
      ), await one.me('x'), await one.login(email, { abilities: ['introspect'] }), await one.call('GET', '/nowhere'),
      await one.register(email), await post(
        one,
        '/v1/login',
        'x'.repeat(100_000)
      ), await post(
        one,
        '/v1/login',
        'x',
        'text/plain'
      ), await limited.login(email), await broken.login(email), await one.call('GET', '/%zz'),
      await one.app.inject({
        method: 'OPTIONS',
        url: '/v1/me',
        headers: { origin: 'https://good.com', 'access-control-request-method': 'GET' }
      })
    ]
    t.same([...new Set(replies.map(({ statusCode }) => statusCode))].sort(), [200, 201, 204, 400, 401, 403, 404, 409, 413, 415, 429, 500])
    for (const { statusCode, headers } of replies) t.match(headers, guards, String(statusCode))
    for (const { name, method, path } of operations) t.match(
      (await one.app.inject({ method: method as 'GET', url: path.replace(/\{\w+\}/g, 'x') })).headers,
      guards,
      name
    )
  })

  t.test('V3.4.2 CORS is an exact list: Origin null, https://good.com.evil and other likenesses may read nothing', async t => {
    for (const origin of [
      'null',
      '',
      '*',
      'https://good.com.evil',
      'https://evilgood.com',
      'https://evil.good.com',
      'http://good.com',
      'https://good.com:443',
      'https://good.com/',
      'https://GOOD.com',
      'https://good.com, https://evil.example',
      'https://good.com@evil.example',
      'file://'
    ]) {
      for (const reply of [
        await one.app.inject({ method: 'OPTIONS', url: '/v1/me', headers: { origin, 'access-control-request-method': 'GET' } }),
        await one.call('GET', '/v1/me', { token, headers: { origin } })
      ]) {
        t.equal(reply.headers['access-control-allow-origin'], undefined, origin)
        t.equal(reply.headers['access-control-allow-credentials'], undefined, origin)
      }
    }
    t.equal(
      (await one.call('GET', '/v1/me', { token, headers: { origin: 'https://good.com' } })).headers['access-control-allow-origin'],
      'https://good.com'
    )
  })

  t.test('V4.2.1 framing is unambiguous: CL and TE over a raw socket are 400, and the connection is closed', async t => {
    await one.app.listen({ host: '127.0.0.1', port: 0 })
    const client = createClient((one.app.server.address() as AddressInfo).port)
    t.teardown(client.close)
    const head = 'POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'
    const smuggled = `POST /v1/logout-all HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`
    for (const framing of [
      'Content-Length: 4\r\nTransfer-Encoding: chunked',
      'Transfer-Encoding: chunked\r\nContent-Length: 4',
      'Content-Length: 4\r\nContent-Length: 5',
      'Content-Length: 4, 4',
      'Content-Length: +4',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding: chunked, x',
      'Transfer-Encoding:\tchunked\r\nContent-Length: 0',
      'Content-Length : 4'
    ]) {
      const said = await client.raw(Buffer.from(`${head}${framing}\r\n\r\n0\r\n\r\n${smuggled}`), 10_000)
      t.strictSame(said.match(/HTTP\/1\.1 \d{3}/g), ['HTTP/1.1 400'], framing)
      t.match(said, /connection: close/i, framing)
    }
    t.equal((await one.me(token)).statusCode, 200, 'what was smuggled was not obeyed')
  })

  t.test('V13.4 no metrics, versions or internals are exposed', async t => {
    for (const url of [
      '/metrics',
      '/status',
      '/stats',
      '/server-status',
      '/actuator',
      '/actuator/env',
      '/debug',
      '/debug/pprof',
      '/.env',
      '/.git/HEAD',
      '/.git/config',
      '/package.json',
      '/package-lock.json',
      '/node_modules/fastify/package.json',
      '/src/server.ts',
      '/dist/src/server.js',
      '/db/schema.ts',
      '/.latchkey/lock',
      '/docs/../package.json',
      '/docs/static/..%2f..%2fpackage.json',
      '/documentation',
      '/swagger.json',
      '/swagger',
      '/graphql',
      '/administrator',
      '/api',
      '/v1',
      '/console',
      '/phpinfo.php',
      '/robots.txt~',
      '/server.js.map'
    ]) {
      const reply = await one.call('GET', url, { token })
      t.ok(reply.statusCode === 404 || reply.statusCode === 400, `${url} ${reply.statusCode}`)
    }
    for (const reply of [
      await one.call('GET', '/'),
      await one.call('GET', '/nowhere'),
      await one.me(token),
      await one.call('GET', '/health/live'),
      await one.call('GET', '/health/ready'),
      await one.call('GET', '/openapi.json')
    ]) {
      t.notOk(reply.headers.server ?? reply.headers['x-powered-by'] ?? reply.headers.via)
      t.notMatch(reply.body, /fastify|postgres|drizzle|ioredis|node_modules|PGlite|\b\d+\.\d+\.\d+-?\w*\b(?<!127\.0\.0|3\.1\.\d)/i)
    }
  })

  t.test('V14.2.1, V14.3.2 no token is read from a URL or asked for there, and every reply of authentication is no-store', async t => {
    for (const { name, query } of operations) t.notOk(query.some(one => /token|password|secret|session/i.test(one.name)), name)
    for (const key of [
      'access_token',
      'token',
      'authorization',
      'accessToken',
      'bearer',
      'jwt',
      '__Host-latchkey'
    ]) refusedAs(t, await one.call('GET', `/v1/me?${key}=${token}`), 401, 'AUTH_MISSING_TOKEN', key)
    const opened = await one.register(newEmail(), { refresh: true })
    const { accessToken, refreshToken } = opened.json<{ accessToken: string, refreshToken: string }>()
    const own = { token: accessToken }
    for (const reply of [
      opened,
      await one.login(email),
      await one.me(accessToken),
      await one.call('GET', '/v1/sessions', own),
      await one.call('POST', '/v1/tokens', { ...own, body: { name: 'x' } }),
      await one.call('POST', '/v1/refresh', { body: { refreshToken } }),
      await one.call('POST', '/v1/logout', own),
      await one.me('x'),
      await one.call('GET', '/v1/me')
    ]) {
      t.equal(reply.headers['cache-control'], 'no-store')
      t.notOk(reply.headers.location ?? reply.headers.etag)
    }
  })

  t.test('V15.3.1 a reply has the fields that OpenAPI names and no other: no hash, no flag', async t => {
    const fresh = await one.register()
    t.strictSame(Object.keys(fresh.json<{ user: object }>().user).sort(), ['createdAt', 'email', 'emailVerifiedAt', 'id', 'name', 'role'])
    for (const reply of [
      fresh,
      await one.me(token),
      await one.call('GET', '/v1/sessions', { token })
    ]) t.notMatch(reply.body, /hash|disabled|secret|\$2[aby]\$/i)
  })

  t.test('V15.3.3 no mass assignment: body userId, role, expiresAt and their kin are refused, and change nothing', async t => {
    const victim = await one.account()
    const extras: object[] = [
      { role: 'admin' },
      { userId: victim.userId },
      { id: victim.userId },
      { expiresAt: '2999-01-01T00:00:00Z' },
      { emailVerifiedAt: '2020-01-01T00:00:00Z' },
      { disabledAt: null },
      { kind: 'personal' },
      { sessionId: victim.sessionId },
      { isAdmin: true },
      { user: { role: 'admin' } },
      { createdAt: '2000-01-01T00:00:00Z' }
    ]
    const bodies: Array<[method: 'POST' | 'PUT', url: string, body: object]> = [
      ['POST', '/v1/register', { email: newEmail(), password }],
      ['POST', '/v1/login', { email, password }],
      ['PUT', '/v1/password', { currentPassword: password, newPassword: password }],
      ['POST', '/v1/tokens', { name: 'x' }],
      ['POST', '/v1/logout', {}],
      ['POST', '/v1/refresh', { refreshToken: 'lkr_x' }]
    ]
    for (const extra of extras) for (const [method, url, body] of bodies) refusedAs(
      t,
      await one.call(method, url, { token, body: { ...body, ...extra } }),
      400,
      'FST_ERR_VALIDATION',
      `${url} ${JSON.stringify(extra)}`
    )
    const { user } = (await one.register()).json<{ user: { role: string, emailVerifiedAt: null } }>()
    t.match(user, { role: 'user', emailVerifiedAt: null })
  })

  t.test('V15.3.5, V15.3.6 no type juggling: arrays, objects, numbers, __proto__ and duplicate keys', async t => {
    for (const key of [
      'email',
      'password'
    ]) for (const value of [
      [],
      [email],
      {},
      { $ne: '' },
      { toString: 'x' },
      1,
      0,
      true,
      false,
      null
    ]) refusedAs(t, await one.login(email, { [key]: value }), 400, 'FST_ERR_VALIDATION', `${key} ${JSON.stringify(value)}`)
    const inside = JSON.stringify({ email, password }).slice(1)
    for (const key of [
      '"__proto__":{"role":"admin"}',
      '"\\u005f\\u005fproto__":{"role":"admin"}',
      '"constructor":{"prototype":{"role":"admin"}}'
    ]) t.equal((await post(one, '/v1/login', `{${key},${inside}`)).statusCode, 400, key)
    t.notOk('role' in {}, 'no prototype has changed')
    refusedAs(
      t,
      await post(
        one,
        '/v1/login',
        `{"password":${JSON.stringify(password)},"email":${JSON.stringify(email)},"password":"not the password"}`
      ),
      401,
      'AUTH_INVALID_CREDENTIALS',
      'of duplicate keys the last counts'
    )
    for (const key of [
      'email',
      'Email',
      'EMAIL'
    ]) refusedAs(
      t,
      await one.call('POST', '/v1/login', { body: { [key]: email, password, Password: password } }),
      400,
      'FST_ERR_VALIDATION',
      key
    )
  })

  t.test('V15.3.6 a JSON string or array at the root is no body', async t => {
    for (const { name, path } of operations.filter(({ method, body }) => method === 'POST' && body !== null)) {
      for (const text of [
        '"text"',
        '[]',
        '[{}]',
        `[${JSON.stringify({ email, password })}]`,
        '1',
        'true'
      ]) t.match(
        await post(one, path, text, 'application/json', { authorization: `Bearer ${token}` }),
        { statusCode: /^(400|403)$/ },
        `${name} ${text}`
      )
    }
    t.equal((await one.me(token)).statusCode, 200, 'and ends nothing')
  })

  t.test('V15.2.2 a 10 MB body is refused unread', async t => {
    const large = Buffer.from(JSON.stringify({ email, password, deviceName: 'x'.repeat(10 << 20) }))
    for (const { name, method, path } of operations.filter(({ method, body }) => method !== 'GET' && body !== null)) {
      const reply = await one.app.inject({
        method: method as 'POST',
        url: path,
        payload: large,
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }
      })
      t.ok([413, 403].includes(reply.statusCode), `${name} ${reply.statusCode}`)
    }
  })

  t.test('V4.1.1 Content-Type with tab, odd case or a lone ; is JSON still and is validated; what merely resembles it is not read', async t => {
    for (const type of [
      'application/json\t',
      'application/json\t;charset=utf-8',
      'APPLICATION/JSON',
      'Application/Json; Charset=UTF-8',
      'application/json;',
      'application/json ;'
    ]) {
      t.equal((await post(one, '/v1/login', JSON.stringify({ email, password }), type)).statusCode, 200, JSON.stringify(type))
      refusedAs(
        t,
        await post(one, '/v1/login', JSON.stringify({ email, password, role: 'admin' }), type),
        400,
        'FST_ERR_VALIDATION',
        JSON.stringify(type)
      )
    }
    for (const type of [
      'text/plain',
      'text/json',
      'application/jsonp',
      'application/json-seq',
      'application/x-www-form-urlencoded',
      'text/plain;application/json',
      'application/json,text/plain',
      '\tapplication',
      ';application/json'
    ]) {
      refusedAs(
        t,
        await post(one, '/v1/login', JSON.stringify({ email, password }), type),
        415,
        'FST_ERR_CTP_INVALID_MEDIA_TYPE',
        JSON.stringify(type)
      )
    }
  })

  t.test('V8.3.1 //v1/me, /%761/me, ;x and a trailing slash never go past a guard', async t => {
    // GET /v1/session has no guard: it answers everybody, and nobody signed in is an answer.
    for (const { method, path, security } of operations.filter(({ path }) => path.startsWith('/v1/') && path !== '/v1/session')) {
      const plain = path.replace(/\{\w+\}/g, '00000000-0000-4000-8000-000000000000')
      for (const url of [
        `/${plain}`,
        `${plain}/`,
        `${plain};x`,
        `${plain};x=1`,
        plain.replace('/v1', '/V1'),
        plain.replace('/v1', '/%761'),
        plain.replace('/v1', '/./v1'),
        plain.replace('/v1', '/x/../v1'),
        plain.replaceAll('/', '//'),
        `${plain}%00`,
        `${plain}%20`,
        `${plain}.json`
      ]) {
        const reply = await one.app.inject({
          method: method as 'GET',
          url,
          ...method === 'GET' || method === 'DELETE' ? {} : { payload: '{}', headers: { 'content-type': 'application/json' } }
        })
        t.ok(
          [404, 401].includes(reply.statusCode) || (reply.statusCode === 400 && security.length === 0),
          `${method} ${url} ${reply.statusCode}`
        )
      }
    }
    for (const url of [
      '//v1/me',
      '/v1/me/',
      '/v1/me;x',
      '/v1//me',
      '/V1/me'
    ]) refusedAs(t, await one.call('GET', url, { token }), 404, 'AUTH_NOT_FOUND', url)
    t.equal(
      (await one.call('GET', '/%761/me', { token })).statusCode,
      200,
      'another spelling of the very path is that path, guard included'
    )
  })

  t.test('RFC 6750 2, 2.3, 3 one transport, never the URL or a body, and challenges', async t => {
    const missing = await one.call('GET', '/v1/me')
    t.equal(missing.headers['www-authenticate'], 'Bearer realm="latchkey"', 'no error when no credentials were sent')
    t.match((await one.me('x')).headers['www-authenticate'], /^Bearer realm="latchkey", error="invalid_token", error_description=/)
    for (const body of [{ access_token: token }, { token }]) t.equal((await one.call('POST', '/v1/logout', { body })).statusCode, 400)
    refusedAs(
      t,
      await one.app.inject({
        method: 'POST',
        url: '/v1/logout',
        payload: `access_token=${token}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' }
      }),
      415,
      'FST_ERR_CTP_INVALID_MEDIA_TYPE'
    )
    const cookie = `__Host-latchkey=${token}`
    refusedAs(
      t,
      await one.call('GET', '/v1/me', { headers: { cookie, authorization: 'Bearer x' } }),
      401,
      'AUTH_INVALID_TOKEN',
      'a header wins over a good cookie'
    )
    t.equal((await one.me(token)).statusCode, 200)
  })

  t.test('RFC 6750 2.1 Bearer empty, doubled, comma-joined, of 64 KB or non-ASCII opens nothing', async t => {
    for (const header of [
      'Bearer',
      'Bearer ',
      `Bearer Bearer ${token}`,
      `Bearer ${token},${token}`,
      `Bearer ${token}, Bearer ${token}`,
      `Bearer ${token} ${token}`,
      `Bearer ${'x'.repeat(65_536)}`,
      `Bearer lk_${'A'.repeat(65_536)}`,
      `Bearer ${token}é`,
      `Bearer lk_${'ａ'.repeat(50)}`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer ${token}0`,
      `Bearer "${token}"`,
      `Bearer ${token}\0`
    ]) {
      refusedAs(
        t,
        await one.call('GET', '/v1/me', { headers: { authorization: header } }),
        401,
        'AUTH_INVALID_TOKEN',
        JSON.stringify(header.slice(0, 30))
      )
    }
    for (const header of [
      '',
      token,
      `Basic ${token}`,
      `Bearer\t${token}`,
      `Bearer:${token}`,
      `Token ${token}`
    ]) refusedAs(
      t,
      await one.call('GET', '/v1/me', { headers: { authorization: header } }),
      401,
      'AUTH_MISSING_TOKEN',
      JSON.stringify(header.slice(0, 12))
    )
  })

  t.test('V16.2.5 no secret is in the log at level trace, whatever route it was sent to', async t => {
    const logged = await startApp(t, beside, { env: { LOG_LEVEL: 'trace' } })
    const sentinel = 'sentinel-kq7vzx3m'
    const opened = (await logged.register(newEmail(), { password: sentinel, refresh: true })).json<{
      accessToken: string
      refreshToken: string
    }>()
    for (const { method, path } of operations) {
      const url = path.replace(/\{\w+\}/g, opened.accessToken)
      for (const payload of [
        JSON.stringify({
          password: sentinel,
          currentPassword: sentinel,
          newPassword: sentinel,
          token: opened.refreshToken,
          refreshToken: opened.refreshToken,
          email: 'a@example.com',
          name: 'x'
        }),
        `{"password":"${sentinel}`,
        `["${sentinel}"]`
      ]) {
        await logged.app.inject({
          method: method as 'POST',
          url: `${url}?token=${opened.refreshToken}&password=${sentinel}`,
          ...method === 'GET' ? {} : { payload, headers: { 'content-type': 'application/json' } }
        })
        await logged.app.inject({
          method: method as 'POST',
          url,
          headers: {
            authorization: `Bearer ${opened.accessToken}`,
            cookie: `a=${sentinel}; __Host-latchkey-refresh=${opened.refreshToken}`,
            referer: `https://good.com/#${sentinel}`
          }
        })
      }
    }
    const log = logged.log.join('')
    t.ok(logged.log.length > operations.length * 6)
    t.notMatch(log, new RegExp(`${sentinel}|lk[rp]?_[0-9A-Za-z]{20,}|\\$2[aby]\\$`))
  })

  t.test('V16.4.1 no log injection: CRLF and ANSI in email and User-Agent stay in one line', async t => {
    const logged = await startApp(t, beside, { env: { LOG_LEVEL: 'trace', TRUST_PROXY: '127.0.0.1' } })
    const evil = 'x\r\n{"level":60,"msg":"forged"}\n\u001b[2J\u001b]0;owned\u0007\u009b31m\u2028'
    const headers = { 'user-agent': evil, 'x-forwarded-for': evil, referer: evil, origin: evil, 'x-request-id': evil }
    for (const { method, path } of operations) await logged.app.inject({
      method: method as 'POST',
      url: `${path.replace(/\{\w+\}/g, encodeURIComponent(evil))}?x=${encodeURIComponent(evil)}`,
      headers,
      ...method === 'GET' ? {} : { payload: { email: `${evil}@example.com`, password: evil, name: evil, deviceName: evil } }
    })
    await logged.register(newEmail(), { deviceName: 'x' })
    for (const line of logged.log) {
      t.match(line, /^\{[^\n\r\u001b\u0007]*\}\n$/)
      t.not((JSON.parse(line) as { msg?: string }).msg, 'forged')
    }
  })

  t.test('V16.5 nothing of it was an error of the server', async (t: Test) => {
    t.same(one.log.filter(line => /"level":(50|60)/.test(line)), [])
    t.equal((await one.me(token)).statusCode, 200)
  })
})
