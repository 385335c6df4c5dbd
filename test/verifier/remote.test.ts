import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { ConfigError, createVerifier, UnavailableError } from '../../src/verifier/index.js'
import { embeddedGround, onEachGround, startApp } from '../fixtures/app.js'
import { serve, service, token } from './scene.js'

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)
  const url = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { plain } = await one.serviceTokens.create('orders')
  const verifier = createVerifier({ url, token: plain.reveal() })
  t.teardown(() => verifier.close())
  await verifier.ready()

  t.test('says whose token it is as far as introspection does, and null for every other', async t => {
    const { token, userId, sessionId } = await one.account()
    const personal = await one.personal(token)
    t.strictSame(await verifier.verify(token), {
      issuedAtMs: (await verifier.verify(token))?.issuedAtMs,
      expiresAtMs: (await verifier.verify(token))?.expiresAtMs,
      amr: ['pwd'],
      acr: 'aal1',
      emailVerified: false,
      token: { abilities: ['*'] },
      session: { id: sessionId },
      user: { id: userId, emailVerified: false }
    })
    t.match(await verifier.verify({ authorization: `Bearer ${personal}` }), { session: null, amr: [], acr: null, expiresAtMs: Number.MAX_SAFE_INTEGER })
    t.match(await verifier.verify({ cookie: `__Host-latchkey=${token}` }), { user: { id: userId } })
    t.equal(await verifier.verify({ cookie: `__Host-latchkey=${personal}` }), null)
    for (const dead of [plain.reveal(), `lk_${'0'.repeat(50)}`, 'nonsense', '']) t.equal(await verifier.verify(dead), null, dead)
  })

  t.test('refuses what was revoked, in the next call', async t => {
    const { token } = await one.account()
    t.ok(await verifier.verify(token))
    await one.logout(token)
    t.equal(await verifier.verify(token), null)
  })

  t.test("reads the session's data, and null where there is no session", async t => {
    const { token } = await one.account()
    t.strictSame(await verifier.sessionData(token), {})
    await one.call('PUT', '/v1/session/data', { token, body: { cart: ['a'] } })
    t.strictSame(await verifier.sessionData({ cookie: `__Host-latchkey=${token}` }), { cart: ['a'] })
    for (const none of [await one.personal(token), plain.reveal(), `lk_${'0'.repeat(50)}`, 'nonsense']) {
      t.equal(await verifier.sessionData(none), null)
    }
    await one.logout(token)
    t.equal(await verifier.sessionData(token), null)
  })

  t.test('a service token that was revoked is nobody who can say', async t => {
    const { plain, service } = await one.serviceTokens.create('gone')
    const own = createVerifier({ url: `${url}/`, token: plain.reveal() })
    t.teardown(() => own.close())
    const { token } = await one.account()
    t.ok(await own.verify(token))
    await one.serviceTokens.endByOperator(service.id)
    await t.rejects(own.verify(token), { name: UnavailableError.prototype.name, code: 'AUTH_UNAVAILABLE', detail: 'HTTP 401' })
    await t.rejects(own.ready(), { code: 'AUTH_UNAVAILABLE' })
  })
})

t.test('one request for all tokens of a turn, at most a hundred in each, on a kept connection', async t => {
  const { url, asked, connections } = await serve(t, (_request, response, body) => {
    const { tokens } = JSON.parse(body) as { tokens: string[] }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ results: tokens.map(one => ({ active: true, sub: one, scope: '', iat: 1 })) }))
  })
  const verifier = createVerifier({ url, token: service })
  t.teardown(() => verifier.close())
  for (let turn = 0; turn < 3; turn++) {
    const wanted = Array.from({ length: 40 }, (_, i) => token(i % 30))
    t.strictSame((await Promise.all(wanted.map(one => verifier.verify(one)))).map(found => found?.user.id), wanted)
  }
  t.equal(asked.length, 3)
  t.equal(connections.size, 1)
  const many = Array.from({ length: 250 }, (_, i) => token(i))
  t.strictSame((await Promise.all(many.map(one => verifier.verify(one)))).map(found => found?.user.id), many)
  t.strictSame(asked.slice(3).map(body => (JSON.parse(body) as { tokens: string[] }).tokens.length).sort(), [100, 100, 50])
  t.equal(await verifier.verify('nonsense'), null)
  t.equal(asked.length, 6, 'what no token looks like is not asked about')
})

t.test('an answer that is none means that nobody can say, never null', async t => {
  let reply: [status: number, body: string, headers?: Record<string, string>] = [200, '']
  const { url, asked, server } = await serve(t, (_request, response) => { response.writeHead(reply[0], reply[2]).end(reply[1]) })
  const verifier = createVerifier({ url, token: service })
  t.teardown(() => verifier.close())
  for (const [status, body] of [
    [200, ''], [200, 'null'], [200, '{}'], [200, '[]'], [200, '{"results":[]}'], [200, '{"results":[null]}'], [200, '{"results":[{}]}'],
    [200, '{"results":[{"active":"true"}]}'], [200, '{"results":[{"active":true}]}'], [200, '{"results":[{"active":false},{"active":false}]}'],
    [204, ''], [302, ''], [401, ''], [403, ''], [404, '{"results":[{"active":false}]}'], [500, ''], [503, '']
  ] as const) {
    reply = [status, body, status === 302 ? { location: '/' } : {}]
    await t.rejects(verifier.verify(token(1)), { code: 'AUTH_UNAVAILABLE', statusCode: 503 }, `${status} ${body}`)
  }
  for (const [status, body] of [
    [200, ''], [200, 'null'], [200, '{}'], [200, '{"data":null}'], [200, '{"data":[]}'], [200, '{"data":"x"}'], [201, '{"data":{}}'], [401, ''], [401, '{}'],
    [401, '{"code":"PROXY"}'], [403, '{"code":"AUTH_FORBIDDEN"}'], [404, '{"code":"AUTH_NOT_FOUND"}'], [503, '{"code":"AUTH_UNAVAILABLE"}']
  ] as const) {
    reply = [status, body]
    await t.rejects(verifier.sessionData(token(1)), { code: 'AUTH_UNAVAILABLE', statusCode: 503 }, `${status} ${body}`)
  }
  for (const code of ['AUTH_INVALID_TOKEN', 'AUTH_SESSION_REPLACED', 'AUTH_SESSION_REQUIRED']) {
    reply = [401, JSON.stringify({ code })]
    t.equal(await verifier.sessionData(token(1)), null, code)
  }
  reply = [503, '', { 'retry-after': '7' }]
  await t.rejects(verifier.verify(token(1)), { code: 'AUTH_UNAVAILABLE', retryAfterSeconds: 7 } as object as Error)
  const before = asked.length
  server.closeAllConnections()
  server.close()
  await t.rejects(verifier.verify(token(1)), UnavailableError)
  t.equal(asked.length, before)
})

t.test('a kept connection that the server has just closed is no failure', async t => {
  const { url } = await serve(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"results":[{"active":false}]}')
    // Closed as the answer leaves: the next request finds it gone.
    response.on('finish', () => request.socket.destroySoon())
  })
  const verifier = createVerifier({ url, token: service })
  t.teardown(() => verifier.close())
  for (let i = 0; i < 20; i++) t.equal(await verifier.verify(token(1)), null)
})

t.test('a silent server means that nobody can say; closing ends the wait', async t => {
  const { url } = await serve(t, () => {})
  const verifier = createVerifier({ url, token: service })
  const waiting = t.rejects(verifier.verify(token(1)), UnavailableError)
  await new Promise(resolve => setTimeout(resolve, 50))
  await verifier.close()
  await waiting
})

t.test('options that cannot be used are refused', async t => {
  for (const url of ['', 'x', 'ftp://x', 'https://u:p@x', 'https://x?y', 'https://x#y']) {
    t.throws(() => createVerifier({ url, token: service }), ConfigError, url)
  }
  for (const bad of ['', 'lk_x', `lk_${'0'.repeat(50)}`]) t.throws(() => createVerifier({ url: 'https://x', token: bad }), ConfigError, bad)
  const secret = `lkp_${'x'.repeat(49)}`
  t.throws(() => createVerifier({ url: 'https://x', token: secret }), { message: new RegExp(`^((?!${secret}).)*$`) })
})

t.test('middlewares answer as the server does', async t => {
  const one = await startApp(t, await embeddedGround())
  const url = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { plain } = await one.serviceTokens.create('orders')
  const verifier = createVerifier({ url, token: plain.reveal(), corsOrigins: ['https://app.example'] })
  t.teardown(() => verifier.close())
  const guard = verifier.requireAbility('orders:read')
  const app = createServer((request: IncomingMessage & { auth?: { user: { id: string } } }, response) => {
    void guard(request as never, response, () => response.end(request.auth?.user.id))
  })
  await new Promise<void>(resolve => app.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise(resolve => { app.closeAllConnections(); app.close(resolve) }))
  const here = `http://127.0.0.1:${(app.address() as AddressInfo).port}/`
  const hono = verifier.hono.requireAbility('orders:read')
  async function byHono (init: RequestInit): Promise<Response> {
    let auth: { user: { id: string } } | undefined
    const context = { req: { raw: new Request(here, init) }, set: (_name: 'auth', principal: unknown) => { auth = principal as { user: { id: string } } } }
    return await hono(context, async () => {}) ?? new Response(auth?.user.id)
  }

  const { token: whole, userId } = await one.account()
  const { token: narrow } = await one.account({ abilities: ['orders:write'] })
  for (const [name, ask] of [['node:http', (init: RequestInit) => fetch(here, init)], ['Hono', byHono]] as const) {
    const bearer = (token: string) => ask({ headers: { authorization: `Bearer ${token}` } })
    const good = await bearer(whole)
    t.strictSame([good.status, await good.text()], [200, userId], name)
    for (const [reply, status, code, challenge] of [
      [await ask({}), 401, 'AUTH_MISSING_TOKEN', /^Bearer realm="latchkey"$/],
      [await bearer('lk_no'), 401, 'AUTH_INVALID_TOKEN', /error="invalid_token"/],
      [await bearer(narrow), 403, 'AUTH_INSUFFICIENT_ABILITY', /error="insufficient_scope", scope="orders:read"$/]
    ] as const) {
      t.equal(reply.status, status, `${name} ${code}`)
      t.match(reply.headers.get('www-authenticate'), challenge)
      t.equal(reply.headers.get('cache-control'), 'no-store')
      t.match(await reply.json(), { statusCode: status, code })
    }
    const cookie = `__Host-latchkey=${whole}`
    t.equal((await ask({ method: 'POST', headers: { cookie, origin: 'https://app.example' } })).status, 200)
    const foreign = await ask({ method: 'POST', headers: { cookie, origin: 'https://evil.example' } })
    t.match([foreign.status, await foreign.json()], [403, { code: 'AUTH_CROSS_SITE' }])
  }
  await one.close()
  const away = await fetch(here, { headers: { authorization: `Bearer ${whole}` } })
  t.match([away.status, away.headers.get('retry-after'), await away.json()], [503, '1', { code: 'AUTH_UNAVAILABLE' }])
  t.throws(() => verifier.requireAbility('a b'), TypeError)
  t.throws(() => verifier.hono.requireAbility('"'), TypeError)
})
