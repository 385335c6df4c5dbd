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
  const preflight = (origin: string) => app.inject({ method: 'OPTIONS', url: '/v1/login', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } })

  t.test('pages of CORS_ORIGINS may read replies, errors too, and send cookies (V3.4.2)', async t => {
    for (const origin of [page, 'http://localhost:4000']) {
      for (const reply of [await preflight(origin), await call('GET', '/v1/me', { headers: { origin } }), await call('GET', '/nowhere', { headers: { origin } }), await call('GET', '/health/live', { headers: { origin } })]) {
        t.equal(reply.headers['access-control-allow-origin'], origin)
        t.equal(reply.headers['access-control-allow-credentials'], 'true')
        t.match(reply.headers.vary, /\borigin\b/i)
      }
    }
    const reply = await preflight(page)
    t.equal(reply.statusCode, 204)
    t.equal(reply.headers['access-control-allow-methods'], 'GET, POST, PUT, PATCH, DELETE')
    t.equal(reply.headers['access-control-allow-headers'], 'Authorization, Content-Type')
  })

  t.test('pages of anywhere else may not: null, prefixes and suffixes, another scheme or port (V3.4.2)', async t => {
    for (const origin of strangers) {
      for (const reply of [await preflight(origin), await call('GET', '/v1/me', { headers: { origin } })]) {
        t.equal(reply.headers['access-control-allow-origin'], undefined, origin)
        t.equal(reply.headers['access-control-allow-credentials'], undefined, origin)
        t.equal(reply.headers['access-control-allow-methods'], undefined, origin)
        t.match(reply.headers.vary, /\borigin\b/i)
      }
    }
  })

  t.test('pages on loopback may read with the embedded database alone, and never send cookies', async t => {
    const embedded = ground.databaseUrl === null
    for (const origin of loopback) {
      for (const reply of [await preflight(origin), await call('GET', '/v1/me', { headers: { origin } })]) {
        t.equal(reply.headers['access-control-allow-origin'], embedded ? origin : undefined)
        t.equal(reply.headers['access-control-allow-credentials'], undefined)
      }
    }
  })
})

t.test('without CORS_ORIGINS nobody may send cookies', async t => {
  const { call } = await startApp(t, await embeddedGround())
  for (const origin of [page, ...loopback, ...strangers]) t.equal((await call('GET', '/v1/me', { headers: { origin } })).headers['access-control-allow-credentials'], undefined, origin)
})
