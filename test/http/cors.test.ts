import t from 'tap'
import { embeddedGround, onEachGround, startApp } from '../fixtures/app.js'

const page = 'https://app.example.com'
const strangers = [
  'null', 'https://app.example.com.evil', 'https://evil.app.example.com', 'https://evilapp.example.com', 'http://app.example.com', 'https://app.example.com:444', 'https://app.example.com/',
  'HTTPS://APP.EXAMPLE.COM', `${page}, https://evil.example`, '*', '', 'http://localhost.evil.example', 'http://127.0.0.1.evil.example', 'http://evil.example#localhost', 'http://localhost:3000/', 'file://'
]
const loopback = ['http://localhost:5173', 'http://127.0.0.1:8080', 'http://[::1]:8080', 'https://localhost']

onEachGround(t, async (t, ground) => {
  const { call, app } = await startApp(t, ground, { env: { CORS_ORIGINS: `${page},http://localhost:4000` } })
  const preflight = (origin: string) =>
    app.inject({
      method: 'OPTIONS',
      url: '/v1/login',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' }
    })

  t.test('pages of CORS_ORIGINS may read replies, including errors, and send cookies (V3.4.2)', async t => {
    for (const origin of [page, 'http://localhost:4000']) {
      for (const reply of [
        await preflight(origin),
        await call('GET', '/v1/me', { headers: { origin } }),
        await call('GET', '/nowhere', { headers: { origin } }),
        await call('GET', '/health/live', { headers: { origin } })
      ]) {
        t.equal(reply.headers['access-control-allow-origin'], origin)
        t.equal(reply.headers['access-control-allow-credentials'], 'true')
        t.match(reply.headers.vary, /\borigin\b/i)
      }
    }
    const reply = await preflight(page)
    t.equal(reply.statusCode, 204)
    t.equal(reply.headers['access-control-allow-methods'], 'GET, POST, PUT, PATCH, DELETE')
    t.equal(reply.headers['access-control-allow-headers'], 'Authorization, Content-Type, traceparent, tracestate, baggage')
  })

  t.test('they may send conditions, and read the ETag that these are made of', async t => {
    for (const asked of ['if-match', 'content-type,If-Match', 'authorization, if-none-match']) {
      const reply = await app.inject({
        method: 'OPTIONS',
        url: '/v1/session/data',
        headers: { origin: page, 'access-control-request-method': 'PUT', 'access-control-request-headers': asked }
      })
      t.match(reply.headers['access-control-allow-headers'], /^Authorization, .*, If-Match, If-None-Match$/, asked)
    }
    t.match((await call('GET', '/v1/me', { headers: { origin: page } })).headers['access-control-expose-headers'], /\bETag\b/)
  })

  t.test('pages from anywhere else may not: null, prefixes and suffixes, another scheme or port (V3.4.2)', async t => {
    for (const origin of strangers) {
      for (const reply of [await preflight(origin), await call('GET', '/v1/me', { headers: { origin } })]) {
        t.equal(reply.headers['access-control-allow-origin'], undefined, origin)
        t.equal(reply.headers['access-control-allow-credentials'], undefined, origin)
        t.equal(reply.headers['access-control-allow-methods'], undefined, origin)
        t.match(reply.headers.vary, /\borigin\b/i)
      }
    }
  })

  t.test('pages on loopback may read only with the embedded database, and may never send cookies', async t => {
    const embedded = ground.databaseUrl === null
    for (const origin of loopback) {
      for (const reply of [await preflight(origin), await call('GET', '/v1/me', { headers: { origin } })]) {
        t.equal(reply.headers['access-control-allow-origin'], embedded ? origin : undefined)
        t.equal(reply.headers['access-control-allow-credentials'], undefined)
      }
    }
  })
})

t.test('apps named in CORS_ORIGINS may read replies with bearer tokens, but may not send cookies; CORS_HEADERS adds headers', async t => {
  const apps = [
    'capacitor://localhost',
    'tauri://localhost',
    'ionic://localhost',
    'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
    'moz-extension://2f1a0c1e-0000-4000-8000-000000000000',
    'app.example.mobile://localhost:8080'
  ]
  const { app, register } = await startApp(
    t,
    await embeddedGround(),
    { env: { CORS_ORIGINS: apps.join(','), CORS_HEADERS: 'X-Request-Id, x-tenant' } }
  )
  t.ok(register)
  for (const origin of apps) {
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/v1/me',
      headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization,traceparent,x-tenant' }
    })
    t.equal(preflight.headers['access-control-allow-origin'], origin)
    t.equal(preflight.headers['access-control-allow-credentials'], undefined)
    t.equal(
      preflight.headers['access-control-allow-headers'],
      'Authorization, Content-Type, traceparent, tracestate, baggage, X-Request-Id, x-tenant'
    )
    const login = await app.inject({
      method: 'POST',
      url: '/v1/login',
      payload: { email: 'a@example.com', password: 'x', cookies: true },
      headers: { origin }
    })
    t.equal(login.json().code, 'AUTH_CROSS_SITE', 'no cookies for apps')
  }
  const stranger = await app.inject({ url: '/v1/me', headers: { origin: 'capacitor://localhost.evil' } })
  t.equal(stranger.headers['access-control-allow-origin'], undefined)
})

t.test('without CORS_ORIGINS nobody may send cookies', async t => {
  const { call } = await startApp(t, await embeddedGround())
  for (const origin of [
    page,
    ...loopback,
    ...strangers
  ]) t.equal((await call('GET', '/v1/me', { headers: { origin } })).headers['access-control-allow-credentials'], undefined, origin)
})
