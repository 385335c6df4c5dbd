import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { UnavailableError } from '../../src/shared/errors.js'
import { embeddedGround, newEmail, skipMissing, startApp } from '../fixtures/app.js'
import { freePort } from '../fixtures/servers.js'
import { findProxy, host, listen, type ProxyName, type Seen, startApplication, startProxy } from './proxies-scene.js'

/** docs/PROXIES.md with real nginx and real Caddy: each test runs behind both. */

t.setTimeout(300_000)

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const cookie = (token: string) => ({ cookie: `__Host-latchkey=${token}` })
const page = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' }
const own = { origin: `https://${host}`, 'sec-fetch-site': 'same-origin' }
const foreign = { origin: 'https://evil.example.com', 'sec-fetch-site': 'same-site' }
/** All that a CGI application would take for one of ours. */
const told = (seen: Seen | undefined) => Object.fromEntries((seen?.headers ?? []).filter(([name]) => /^x[-_]auth[-_]/.test(name)))
const inUtf8 = (text = '') => Buffer.from(text, 'latin1').toString()

for (const name of ['nginx', 'caddy'] as const) {
  t.test(`behind ${name}`, async t => {
    if (findProxy(name) === null) return skipMissing(t, `needs ${name}: apt-get install ${name === 'nginx' ? 'nginx-light' : 'caddy'}`)
    await behind(t, name)
  })
}

async function behind (t: Test, name: ProxyName): Promise<void> {
  const shared = await (await embeddedGround()).database()
  t.teardown(() => shared.close())
  let away = false
  const gone = () => Promise.reject(Object.assign(new UnavailableError(), { retryAfterSeconds: 7 }))
  const ground = {
    ...await embeddedGround(),
    // No cache: with the database everything is away.
    database: async () => ({
      ...shared,
      embedded: false,
      close: async () => {},
      query: (work: Parameters<typeof shared.query>[0]) => away ? gone() : shared.query(work),
      prepared: (text: string, parameters: Parameters<typeof shared.prepared>[1]) => away ? gone() : shared.prepared(text, parameters)
    }) as typeof shared
  }
  const env = { PUBLIC_URL: `https://${host}`, TRUST_PROXY: '127.0.0.1', SESSION_LIMIT: '0' }
  const one = await startApp(t, ground, { env })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const latchkey = (one.app.server.address() as AddressInfo).port
  let connections = 0
  one.app.server.on('connection', () => { connections++ })
  const { port: app, seen } = await startApplication(t)
  const { send, upgrade } = await startProxy(t, name, { latchkey, app })
  t.beforeEach(() => { seen.length = 0 })

  async function verified (body: object = {}, email = newEmail()) {
    const { userId } = await one.account()
    await shared.prepared('update users set email = $1, email_verified_at = now() where id = $2', [email, userId])
    const { accessToken: token, session } = (await one.login(email, body)).json<{ accessToken: string, session: { id: string } }>()
    return { email, userId, token, sessionId: session.id }
  }

  const forged = {
    'X-Auth-User': 'forged', 'x-auth-email': 'forged', 'X-AUTH-SESSION': 'forged', 'X-Auth-Abilities': 'forged', 'X-Auth-Role': 'forged',
    X_Auth_User: 'forged', 'X-Auth_User': 'forged', 'X_Auth-User': 'forged', x_auth_role: 'forged', 'x-auth_email': 'forged'
  }

  t.test("V4.1.3 a client's own X-Auth-User never reaches the application", async t => {
    const ada = await verified()
    const script = await one.personal(ada.token)
    const nobody = await one.account({ abilities: [] })
    // nginx leaves empty headers out.
    const all = (headers: Record<string, string>) => Object.fromEntries(Object.entries(headers).filter(([, value]) => name !== 'nginx' || value !== ''))
    for (const [token, headers] of [
      [ada.token, { 'x-auth-user': ada.userId, 'x-auth-email': ada.email, 'x-auth-session': ada.sessionId, 'x-auth-abilities': '*', 'x-auth-role': 'user' }],
      [script, { 'x-auth-user': ada.userId, 'x-auth-email': ada.email, 'x-auth-session': '', 'x-auth-abilities': '*', 'x-auth-role': 'user' }],
      [nobody.token, { 'x-auth-user': nobody.userId, 'x-auth-email': '', 'x-auth-session': nobody.sessionId, 'x-auth-abilities': '', 'x-auth-role': 'user' }]
    ] as const) {
      for (const more of [{}, forged]) {
        seen.length = 0
        t.equal((await send('GET', '/orders', { ...bearer(token), ...more })).body, 'the application')
        t.strictSame(told(seen[0]), all(headers))
      }
    }
    seen.length = 0
    t.equal((await send('GET', '/orders', forged)).status, 401)
    t.strictSame(seen, [], 'nor does a request without a token')
  })

  t.test('a token with as many abilities as there can be, and an address beyond ASCII, get through', async t => {
    const abilities = Array.from({ length: 64 }, (_, i) => `${String(i).padStart(3, '0')}:${'x'.repeat(60)}`)
    const email = 'ürsula-日本@exämple.com'
    const { token } = await verified({ abilities }, email)
    t.equal((await send('GET', '/', bearer(token))).status, 200)
    t.equal(told(seen[0])['x-auth-abilities'], abilities.join(' '))
    t.equal(inUtf8(told(seen[0])['x-auth-email']), email)
  })

  t.test('without a live token it is 401 with a challenge, and a logout counts at once', async t => {
    const { token } = await one.account()
    t.equal((await send('GET', '/', bearer(token))).status, 200)
    await one.logout(token)
    seen.length = 0
    const replies = [await send('GET', '/'), await send('GET', '/', bearer(token)), await send('POST', '/', { ...cookie(token), ...own }, Buffer.from('x'))]
    t.strictSame(replies.map(({ status }) => status), [401, 401, 401])
    t.strictSame(replies.map(({ headers }) => String(headers['www-authenticate']).includes('error="invalid_token"')), [false, true, true])
    t.strictSame(seen, [])
  })

  t.test('a browser that waits for a page is sent to the sign-in page, and its way back is where it was', async t => {
    for (const path of ['/orders?a=1&b=%26%20&ability=x&redirect=false', '//evil.example.com/x', `/${'x'.repeat(3_000)}?${'y=%20&'.repeat(400)}`]) {
      const { status, headers } = await send('GET', path, page)
      t.equal(status, 302, path.slice(0, 40))
      const location = new URL(String(headers.location))
      t.equal(location.origin + location.pathname, `https://${host}/account`)
      t.equal(location.searchParams.get('return_to'), path.length > 2_000 ? null : new URL(`https://${host}${path}`).href)
    }
    t.equal((await send('GET', '/', { ...page, 'x-forwarded-host': 'evil.example.com', 'x-forwarded-proto': 'http' })).headers.location,
      `https://${host}/account?return_to=${encodeURIComponent(`https://${host}/`)}`, 'whatever it says itself')
    t.strictSame(
      [(await send('GET', '/', { ...page, 'sec-fetch-mode': 'cors' })).status, (await send('POST', '/', { ...page, ...own })).status],
      [401, 401]
    )
    t.strictSame(seen, [])
    t.equal((await send('GET', '/account')).status, 200, 'and the page is there')
    t.equal((await send('GET', '/v1/session')).status, 200)
  })

  t.test('an ability comes from the configuration alone', async t => {
    const edit = (printed: string) => printed.replace('redirect=false', 'redirect=false&ability=orders:read').replace('redirect=true', 'redirect=true&ability=orders:read')
    const strict = await startProxy(t, name, { latchkey, app, edit })
    const [reader, writer] = [await one.account({ abilities: ['orders:read'] }), await one.account({ abilities: ['orders:write'] })]
    for (const query of ['', '?ability=orders:write', '?ability=orders:read', '?redirect=false', '?ability=&ability=x', '?page=2']) {
      seen.length = 0
      t.equal((await strict.send('GET', `/orders${query}`, bearer(reader.token))).status, 200, query)
      const { status } = await strict.send('GET', `/orders${query}`, bearer(writer.token))
      t.equal(status, 403, query)
      t.strictSame(seen.map(({ url }) => url), [`/orders${query}`], 'the application gets the query as it was')
      t.equal((await send('GET', `/orders${query}`, bearer(writer.token))).status, 200, `${query} where none is asked for`)
    }
  })

  if (name === 'caddy') {
    t.test("a configuration without a query of its own takes no ability from the caller's", async t => {
      const bare = await startProxy(t, name, { latchkey, app, edit: printed => printed.replace('?redirect=true', '') })
      const { token } = await one.account({ abilities: [] })
      for (const [query, expected] of [['', 200], ['?page=2&x=%20', 200], ['?redirect=true', 200], ['?ability=orders:read', 400]] as const) {
        t.equal((await bare.send('GET', `/${query}`, bearer(token))).status, expected, query)
      }
      t.equal((await bare.send('GET', '/?redirect=true', page)).status, 401)
    })
  }

  t.test("a cookie counts for another site's page only as far as it reads", async t => {
    const { token } = await one.account()
    const statuses = async (method: string, from: Record<string, string>) => (await send(method, '/', { ...cookie(token), ...from })).status
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      t.strictSame([await statuses(method, own), await statuses(method, foreign), await statuses(method, {})], [200, 403, 403], method)
      t.equal(await statuses(method, { ...foreign, 'x-forwarded-method': 'GET', 'x-original-method': 'GET' }), 403, `${method}, called GET by the client`)
    }
    t.strictSame([await statuses('GET', own), await statuses('GET', foreign), await statuses('HEAD', {})], [200, 200, 200])
  })

  t.test("what is the application's stays so: its 304, its 401 and its 500", async t => {
    const { token } = await one.account()
    for (const [tag, expected] of [['"v1"', 304], ['"v0"', 200], ['*', 200]] as const) {
      const { status, headers } = await send('GET', '/', { ...bearer(token), 'if-none-match': tag })
      t.strictSame([status, headers.etag], [expected, '"v1"'], tag)
    }
    const { status, headers, body } = await send('GET', '/mine', bearer(token))
    t.strictSame([status, headers['www-authenticate'], body], [401, 'Mine', 'mine'])
    t.strictSame((await send('GET', '/broken', bearer(token))).body, 'broken')
  })

  t.test('while nobody can say, it is 503 with Retry-After', async t => {
    const { token } = await one.account()
    away = true
    const { status, headers } = await send('GET', '/', bearer(token))
    away = false
    t.strictSame([status, headers['retry-after']], [503, '7'])
    t.strictSame(seen, [])
    t.equal((await send('GET', '/', bearer(token))).status, 200)

    const limited = createServer((_request, reply) => { reply.writeHead(429, { 'retry-after': '30' }).end() })
    const crowded = await startProxy(t, name, { latchkey: await listen(t, limited), app })
    const refused = await crowded.send('GET', '/', bearer(token))
    t.strictSame([refused.status, refused.headers['retry-after']], [429, '30'])

    const dead = await startProxy(t, name, { latchkey: await freePort(), app })
    seen.length = 0
    t.equal((await dead.send('GET', '/', bearer(token))).status, name === 'nginx' ? 503 : 502, 'without Latchkey nothing passes')
    t.strictSame(seen, [])
  })

  t.test('large uploads arrive whole, in one piece or in chunks, and Latchkey gets none of them', async t => {
    const { token } = await one.account()
    const large = Buffer.alloc(30 << 20, 'x')
    const whole = { 'content-length': String(large.length), 'content-type': 'application/json', expect: '100-continue' }
    for (const headers of [whole, { 'transfer-encoding': 'chunked', 'content-type': 'text/plain' }]) {
      seen.length = 0
      t.equal((await send('PUT', '/up', { ...bearer(token), ...headers }, large)).status, 200)
      t.strictSame(seen.map(({ method, bytes }) => [method, bytes]), [['PUT', large.length]])
      seen.length = 0
      const refused = await send('PUT', '/up', headers, large).then(({ status }) => status, (error: NodeJS.ErrnoException) => error.code)
      t.ok([401, 'EPIPE', 'ECONNRESET'].includes(refused as number), `without a token: ${refused}`)
      t.strictSame(seen, [])
    }
  })

  t.test('a WebSocket opens with a token alone', async t => {
    const { token, userId } = await one.account()
    t.equal(await upgrade('/live?page=2', { ...bearer(token), ...forged }, 'hello'), 'heard hello')
    t.equal(told(seen[0])['x-auth-user'], userId)
    t.notMatch(JSON.stringify(told(seen[0])), /forged/)
    t.equal(await upgrade('/live', { ...cookie(token), ...own }, 'hello'), 'heard hello')
    seen.length = 0
    t.equal(await upgrade('/live', {}, 'hello'), 401)
    t.strictSame(seen, [])
  })

  t.test('answers of every kind leave the connection to Latchkey open', async t => {
    const { token } = await one.account()
    await send('GET', '/', bearer(token))
    connections = 0
    for (let i = 0; i < 10; i++) {
      t.strictSame([(await send('GET', '/', bearer(token))).status, (await send('GET', '/')).status, (await send('GET', '/', bearer('lk_no'))).status], [200, 401, 401])
    }
    t.equal(connections, 0)
  })
}
