import fc from 'fast-check'
import t from 'tap'
import { createEdgeVerifier, type Principal, UnavailableError } from '../../clients/js/src/edge.js'
import { createPresentedReader } from '../../clients/js/src/verifying/presented.js'
import { createVerifier, type HonoContext, type IntrospectedPrincipal } from '../../src/verifier/index.js'
import { createPresentedReader as createServersReader } from '../../src/verifier/presented.js'
import { onEachGround, startApp } from '../fixtures/app.js'
import { serve, service, token } from '../verifier/scene.js'

const app = 'https://app.example'
const settings = { publicUrl: 'https://auth.example/base', corsOrigins: [app] }

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)
  const url = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { plain } = await one.serviceTokens.create('orders')
  const edge = createEdgeVerifier({ url: `${url}/`, token: plain.reveal(), ...settings })
  const node = createVerifier({ url, token: plain.reveal(), ...settings })
  t.teardown(() => node.close())

  t.test('says of a token what the verifier of Node.js says, however it is presented', async t => {
    const { token, userId, sessionId } = await one.account({ abilities: ['orders:read', 'orders:write'] })
    const personal = await one.personal(token)
    const cookie = `__Host-latchkey=${token}`
    const requests: Array<[method: string, headers: Record<string, string>]> = [
      ['GET', {}],
      ['GET', { authorization: `Bearer ${token}` }],
      ['GET', { authorization: `bearer  ${personal}` }],
      ['GET', { authorization: `Bearer ${plain.reveal()}` }],
      ['GET', { authorization: `Bearer lk_${'0'.repeat(50)}` }],
      ['GET', { authorization: 'Bearer nonsense', cookie }],
      ['GET', { authorization: 'Bearer', cookie }],
      ['GET', { authorization: 'Basic dTpw', cookie }],
      ['GET', { authorization: '', cookie }],
      ['GET', { cookie: `a=b; ${cookie}` }],
      ['GET', { cookie: `${cookie}; ${cookie}` }],
      ['GET', { cookie: `__Host-latchkey=; ${cookie}` }],
      ['GET', { cookie: `latchkey=${token}` }],
      ['GET', { cookie: `__Host-latchkey=${personal}` }],
      ['GET', { cookie, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
      ['HEAD', { cookie, origin: 'https://evil.example' }],
      ...['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'].flatMap(method => [
        {}, { origin: app }, { origin: 'https://auth.example' }, { origin: 'https://evil.example' }, { origin: 'null' },
        { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'same-site' }, { origin: `${app}.evil.example`, 'sec-fetch-site': 'cross-site' }
      ].map((headers): [string, Record<string, string>] => [method, { cookie, ...headers as Record<string, string> }]))
    ]
    for (const [method, headers] of requests) {
      const request = () => new Request('http://localhost/', { method, headers })
      const what = JSON.stringify([method, headers])
      // For TypeScript, too, the one's is the other's.
      const wanted: Principal | null = await node.verify(request())
      const found: IntrospectedPrincipal | null = await edge.verify(request())
      t.strictSame(found, wanted, what)

      // And the same refusal, where there is one.
      for (const ability of [undefined, 'orders:write', 'orders:delete']) {
        const admitted = await edge.admit(request(), { ability })
        const refused = await node.hono.requireAbility(ability)({ req: { raw: request() }, set () {} } as HonoContext, async () => {})
        if (!(admitted instanceof Response)) {
          t.equal(refused, undefined, what)
          continue
        }
        t.strictSame(
          [admitted.status, Object.fromEntries(admitted.headers), await admitted.json()],
          [refused?.status, Object.fromEntries(refused?.headers ?? []), await refused?.json()],
          `${what} ${ability}`
        )
      }
    }
    t.match(await edge.verify(token), { session: { id: sessionId }, user: { id: userId, emailVerified: false } })
    t.match(await edge.verify(personal), { session: null, expiresAtMs: Number.MAX_SAFE_INTEGER })
  })

  t.test('refuses what was revoked, in the next call', async t => {
    const { token } = await one.account()
    t.ok(await edge.verify(token))
    await one.logout(token)
    t.equal(await edge.verify(token), null)
  })

  t.test('a service token that was revoked is nobody who can say', async t => {
    const { plain, service } = await one.serviceTokens.create('gone')
    const own = createEdgeVerifier({ url, token: plain.reveal() })
    const { token } = await one.account()
    t.ok(await own.verify(token))
    await one.serviceTokens.endByOperator(service.id)
    await t.rejects(own.verify(token), { name: 'UnavailableError', code: 'AUTH_UNAVAILABLE', detail: 'HTTP 401' })
    const reply = await own.admit(token) as Response
    t.match([reply.status, reply.headers.get('retry-after'), await reply.json()], [503, '1', { code: 'AUTH_UNAVAILABLE' }])
  })
})

t.test('headers alone count as those of a change where a page of another origin sent them', async t => {
  const { url } = await serve(t, (_request, response) => {
    response.end('{"results":[{"active":true,"sub":"u","scope":"","iat":1,"sid":"s"}]}')
  })
  const edge = createEdgeVerifier({ url, token: service, corsOrigins: [app] })
  const cookie = `__Host-latchkey=${token(1)}`
  for (const [headers, counts] of [
    [{ cookie }, true],
    [{ cookie, origin: app }, true],
    [{ cookie, origin: 'https://auth.example', 'sec-fetch-site': 'same-origin' }, true],
    [{ cookie, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, false],
    [{ authorization: `Bearer ${token(1)}`, origin: 'https://evil.example' }, true]
  ] as const) {
    t.equal(await edge.verify(new Headers(headers)) !== null, counts, JSON.stringify(headers))
    t.equal(await edge.verify(headers) !== null, counts, 'headers of Node.js')
  }
})

t.test('cookies and Authorization are read letter by letter as the server reads them', async t => {
  const mine = createPresentedReader(settings)
  const servers = createServersReader({ cookieSecure: true, origins: [app, 'https://auth.example'] })
  const piece = fc.constantFrom(
    '__Host-latchkey=lk_0', '; __Host-latchkey=lk%5F0;', '__Host-latchkey', 'latchkey', 'lk_0', '=', '==', ';', '; ', ' ', '\t', ',', '"', '%3D', '%', '%zz', '\u00a0', '\\', 'é', 'bearer', 'Bearer', 'Basic', '\n'
  )
  const header = fc.option(fc.array(piece, { maxLength: 9 }).map(pieces => pieces.join('')), { nil: undefined })
  const site = fc.constantFrom(undefined, 'same-origin', 'cross-site', 'same-origin, same-origin')
  const origin = fc.constantFrom(undefined, app, 'https://evil.example', '')
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'get')
  fc.assert(fc.property(header, header, site, origin, method, (authorization, cookie, site, origin, method) => {
    const request = { method, headers: { authorization, cookie, origin, 'sec-fetch-site': site } }
    t.strictSame(mine(request), servers(request))
  }), { numRuns: 3_000 })
  const long = `__Host-latchkey${' '.repeat(100_000)}x; a`
  const startedAt = performance.now()
  mine({ headers: { cookie: long } })
  mine({ headers: { cookie: `__Host-latchkey=x${' '.repeat(100_000)}x` } })
  t.ok(performance.now() - startedAt < 1_000, 'in time that grows with their length alone')
})

t.test('one POST a token; what no token looks like is not asked about', async t => {
  const { url, asked } = await serve(t, (_request, response) => { response.end('{"results":[{"active":false}]}') })
  const edge = createEdgeVerifier({ url: `${url}/base//`, token: service })
  await Promise.all([1, 2, 2].map(i => edge.verify(token(i))))
  t.strictSame(asked.sort(), [1, 2, 2].map(i => JSON.stringify({ tokens: [token(i)] })))
  for (const text of ['', 'nonsense', `lkr_${'0'.repeat(50)}`, `lk_${'0'.repeat(49)}`, `${token(1)}\n`]) t.equal(await edge.verify(text), null)
  t.equal(asked.length, 3)
})

t.test('asks the right address, with what a service sends, and follows no redirect', async t => {
  const seen: unknown[] = []
  const other = await serve(t, (_request, response) => { response.end('{"results":[{"active":false}]}') })
  const { url } = await serve(t, (request, response) => {
    seen.push([request.method, request.url, request.headers.authorization, request.headers['content-type']])
    response.writeHead(307, { location: `${other.url}/v1/introspections` }).end()
  })
  const edge = createEdgeVerifier({ url: `${url}/auth/`, token: service })
  await t.rejects(edge.verify(token(1)), { code: 'AUTH_UNAVAILABLE', detail: 'HTTP 307' })
  t.strictSame(seen, [['POST', '/auth/v1/introspections', `Bearer ${service}`, 'application/json']])
  t.equal(other.asked.length, 0)
})

t.test('an answer that is none means that nobody can say, never null', async t => {
  let reply: [status: number, body: string, headers?: Record<string, string>] = [200, '']
  const { url, asked, server } = await serve(t, (_request, response) => { response.writeHead(reply[0], reply[2]).end(reply[1]) })
  const edge = createEdgeVerifier({ url, token: service })
  for (const [status, body] of [
    [200, ''], [200, 'null'], [200, '{}'], [200, '[]'], [200, '{"results":[]}'], [200, '{"results":[null]}'], [200, '{"results":[{}]}'],
    [200, '{"results":[{"active":"true"}]}'], [200, '{"results":[{"active":true}]}'], [200, '{"results":[{"active":false},{"active":false}]}'],
    [204, ''], [302, ''], [401, ''], [403, ''], [404, '{"results":[{"active":false}]}'], [500, ''], [503, '']
  ] as const) {
    reply = [status, body]
    await t.rejects(edge.verify(token(1)), { name: 'UnavailableError', code: 'AUTH_UNAVAILABLE', statusCode: 503 }, `${status} ${body}`)
  }
  for (const [said, seconds] of [['7', 7], ['soon', 1], ['-1', 1]] as const) {
    reply = [503, '', { 'retry-after': said }]
    await t.rejects(edge.verify(token(1)), { retryAfterSeconds: seconds } as object as Error)
    t.equal((await edge.admit(token(1)) as Response).headers.get('retry-after'), String(seconds))
  }
  const before = asked.length
  server.closeAllConnections()
  server.close()
  await t.rejects(edge.verify(token(1)), UnavailableError)
  t.equal(asked.length, before)
})

t.test('a kept connection that the server has just closed is no failure', async t => {
  const { url } = await serve(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"results":[{"active":false}]}')
    // Closed as the answer leaves: the next request finds it gone.
    response.on('finish', () => request.socket.destroySoon())
  })
  const edge = createEdgeVerifier({ url, token: service })
  for (let i = 0; i < 20; i++) t.equal(await edge.verify(token(1)), null)
})

t.test('a silent server, or one that stops within its answer, is waited for 5 s and asked once', async t => {
  for (const begins of [false, true]) {
    const { url, asked } = await serve(t, (_request, response) => { if (begins) response.write('{"results":') })
    const edge = createEdgeVerifier({ url, token: service })
    const startedAt = performance.now()
    await t.rejects(edge.verify(token(1)), { code: 'AUTH_UNAVAILABLE', detail: 'no answer' })
    t.ok(performance.now() - startedAt > 4_900)
    t.equal(asked.length, 1)
  }
})

t.test('an error of the program itself is no 503', async t => {
  const edge = createEdgeVerifier({ url: 'https://auth.example', token: service, fetch: async () => new Response('{"results":[{"active":false}]}') })
  await t.rejects(edge.admit(token(1), { ability: 'a b' }), TypeError)
  await t.rejects(edge.admit({ headers: { get () { throw new RangeError('broken') } } }), RangeError)
})

t.test('options that cannot be used are refused, without their values', async t => {
  for (const url of ['', 'x', 'ftp://x', 'https://u:p@x', 'https://x?y', 'https://x#y']) {
    t.throws(() => createEdgeVerifier({ url, token: service }), { name: 'TypeError', message: /^url must/ }, url)
    t.throws(() => createEdgeVerifier({ url: 'https://x', token: service, publicUrl: url }), { message: /^publicUrl must/ })
  }
  for (const bad of ['', 'lk_x', token(1), `lkp_${'x'.repeat(49)}`]) {
    t.throws(() => createEdgeVerifier({ url: 'https://x', token: bad }), { message: 'token must be a service token: lkp_…' })
  }
  for (const origin of ['', 'app.example', 'https://app.example/', 'https://*.example/x']) {
    t.throws(() => createEdgeVerifier({ url: 'https://x', token: service, corsOrigins: [origin] }), { message: /^corsOrigins must/ })
  }
})

t.test('with cookieSecure: false it reads the cookie of a server with COOKIE_SECURE=false, and no other', async t => {
  const { url } = await serve(t, (_request, response) => {
    response.end('{"results":[{"active":true,"sub":"u","scope":"","iat":1,"sid":"s"}]}')
  })
  const edge = createEdgeVerifier({ url, token: service, cookieSecure: false })
  t.ok(await edge.verify({ cookie: `latchkey=${token(1)}` }))
  t.equal(await edge.verify({ cookie: `__Host-latchkey=${token(1)}` }), null)
})
