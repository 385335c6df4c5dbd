import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { newEmail, onEachGround, startApp, type TestApp } from '../fixtures/app.js'

const env = { PUBLIC_URL: 'https://app.example.com', CORS_ORIGINS: 'https://other.example.com', TRUST_PROXY: '127.0.0.1', SESSION_LIMIT: '0' }
const path = '/v1/forward-auth'
const names = ['x-auth-user', 'x-auth-email', 'x-auth-session', 'x-auth-abilities', 'x-auth-role']

type Headers = Record<string, string>
const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` })
const cookie = (token: string): Headers => ({ cookie: `__Host-latchkey=${token}` })
const asked = (method: string, uri = '/', more: Headers = {}): Headers =>
  ({ 'x-forwarded-method': method, 'x-forwarded-uri': uri, 'x-forwarded-host': 'app.example.com', 'x-forwarded-proto': 'https', ...more })
const page = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' }

const ask = (one: TestApp, headers: Headers, query = '') => one.call('GET', `${path}${query}` as '/', { headers })
const told = (reply: { headers: Record<string, unknown> }) => names.map(name => reply.headers[name])
const answer = (reply: { statusCode: number, body: string }) =>
  `${reply.statusCode} ${reply.body === '' ? '' : (JSON.parse(reply.body) as { code: string }).code}`.trim()

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env })
  const beside = ground.databaseUrl === null
    ? { ...ground, database: async () => ({ ...one.database, embedded: false, close: async () => {} }) }
    : ground

  async function verified (body: object = {}, email = newEmail()) {
    const { email: first, userId } = await one.account()
    await one.database.prepared('update users set email = $1, email_verified_at = now() where id = $2', [email, userId])
    const { accessToken: token, session } = (await one.login(email, body)).json<{ accessToken: string, session: { id: string } }>()
    return { first, email, userId, token, sessionId: session.id }
  }

  t.test('a live token passes, and every documented header says whose it is, empty where there is nothing to say', async t => {
    const { userId, sessionId, token } = await one.account({ abilities: ['orders:read', 'orders:write'] })
    for (const headers of [bearer(token), cookie(token)]) {
      const reply = await ask(one, headers)
      t.strictSame([reply.statusCode, reply.body, reply.headers['content-length']], [200, '', '0'])
      t.strictSame(told(reply), [userId, '', sessionId, 'orders:read orders:write', 'user'], 'an address that nobody has verified is not told')
      t.equal(reply.headers['cache-control'], 'no-store')
      t.equal(reply.headers['content-type'], undefined)
    }
    const ada = await verified()
    t.strictSame(told(await ask(one, bearer(ada.token))), [ada.userId, ada.email, ada.sessionId, '*', 'user'])
    const script = await one.personal(ada.token)
    t.strictSame(told(await ask(one, bearer(script))), [ada.userId, ada.email, '', '*', 'user'], 'a personal token has no session')
    const none = await verified({ abilities: [] })
    t.strictSame(told(await ask(one, bearer(none.token))), [none.userId, none.email, none.sessionId, '', 'user'])
  })

  t.test('an address beyond ASCII is told in UTF-8', async t => {
    const email = `ürsula-${randomBytes(4).toString('hex')}-日本@exämple.com`
    const { token } = await verified({}, email)
    const { port } = await listening(one)
    const said = await new Promise<string>((resolve, reject) => {
      request({ port, path, headers: bearer(token) }, reply => {
        reply.resume()
        resolve(Buffer.from(String(reply.headers['x-auth-email']), 'latin1').toString())
      }).on('error', reject).end()
    })
    t.equal(said, email)
  })

  t.test('whatever is not live is 401 with a challenge and no body', async t => {
    const { token } = await one.account()
    await one.logout(token)
    for (const [headers, challenge] of [
      [{}, /^Bearer realm="latchkey"$/], [bearer('lk_no'), /error="invalid_token"/], [bearer(token), /error="invalid_token"/], [cookie(token), /error="invalid_token"/]
    ] as const) {
      const reply = await ask(one, headers)
      t.strictSame([reply.statusCode, reply.body, reply.headers['content-length'], reply.headers['content-type']], [401, '', '0', undefined])
      t.match(reply.headers['www-authenticate'], challenge)
      t.strictSame(told(reply), names.map(() => undefined))
    }
    const { plain } = await one.serviceTokens.create(`orders-${randomBytes(4).toString('hex')}`)
    t.equal(answer(await ask(one, bearer(plain.reveal()))), '403 AUTH_SESSION_REQUIRED', 'a service is nobody who could pass')
    t.equal(answer(await ask(one, {}, `?access_token=${(await one.account()).token}`)), '401', 'no token is read from a URL')
  })

  t.test('an ability as a parameter is 403 with a challenge for a token that lacks it', async t => {
    const { token } = await one.account({ abilities: ['orders:read'] })
    t.equal(answer(await ask(one, bearer(token), '?ability=orders:read')), '200')
    const reply = await ask(one, bearer(token), '?ability=orders:write')
    t.equal(answer(reply), '403 AUTH_INSUFFICIENT_ABILITY')
    t.equal(reply.headers['www-authenticate'], 'Bearer realm="latchkey", error="insufficient_scope", scope="orders:write"')
    t.strictSame(told(reply), names.map(() => undefined))
    const all = (await one.account()).token
    t.equal(answer(await ask(one, bearer(all), '?ability=orders:write')), '200', '* has it')
    t.equal(answer(await ask(one, bearer(all), '?ability=introspect')), '403 AUTH_INSUFFICIENT_ABILITY', 'but never the reserved one')
    for (const query of ['?ability=', '?ability=a%20b', '?ability=a%22', '?abilities=a', '?Ability=a', '?ability=a&ability=b', '?ability[]=a', '?redirect=yes', '?x']) {
      t.equal(answer(await ask(one, bearer(all), query)), '400 FST_ERR_VALIDATION', `${query}: a slip of the operator's opens nothing`)
    }
  })

  t.test("a caller's query that a proxy passes on asks for nothing", async t => {
    const { token } = await one.account({ abilities: ['orders:read'] })
    const passedOn = (query: string, more: Headers = bearer(token)) => ask(one, { ...asked('GET', `/orders${query}`), ...more }, query)
    for (const query of ['?page=2', '?redirect=false&page=2', '?redirect=yes', '?', '?a=1&a=2']) t.equal(answer(await passedOn(query)), '200', query)
    t.equal(answer(await passedOn('?redirect=true', page)), '401', 'no redirect either')
    for (const query of ['?ability=orders:read', '?ability=admin', '?a=1&%61bility=x', '?ability=a&ability=b']) {
      t.equal(answer(await passedOn(query)), '400 AUTH_INVALID_REQUEST', `${query} may as well be the proxy's`)
    }
    for (const uri of ['/orders', '/orders?page=2', '/orders?ability=orders:read', '/?ability=orders:write&redirect=false']) {
      const reply = await ask(one, { ...asked('GET', uri), ...bearer(token) }, '?redirect=false&ability=orders:write')
      t.equal(answer(reply), '403 AUTH_INSUFFICIENT_ABILITY', `${uri} takes nothing away from the proxy's own`)
    }
    const untrusted = await startApp(t, beside, { env: { ...env, TRUST_PROXY: '10.0.0.0/8' } })
    const reply = await ask(untrusted, { ...asked('GET', '/?ability=orders:write'), ...bearer(token) }, '?ability=orders:write')
    t.equal(answer(reply), '403 AUTH_INSUFFICIENT_ABILITY', 'what X-Forwarded-Uri of a stranger says does not count')
  })

  t.test('with a cookie the forwarded method decides whether a page of our own must have asked', async t => {
    const { token } = await one.account()
    const sites: Array<[string, Headers, safe: string, unsafe: string]> = [
      ['the page itself', { 'sec-fetch-site': 'same-origin', origin: 'https://app.example.com' }, '200', '200'],
      ['PUBLIC_URL, in an old browser', { origin: 'https://app.example.com' }, '200', '200'],
      ['CORS_ORIGINS', { 'sec-fetch-site': 'same-site', origin: 'https://other.example.com' }, '200', '200'],
      ['a neighbour', { 'sec-fetch-site': 'same-site', origin: 'https://evil.example.com' }, '200', '403 AUTH_CROSS_SITE'],
      ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' }, '200', '403 AUTH_CROSS_SITE'],
      ['a file', { origin: 'null' }, '200', '403 AUTH_CROSS_SITE'],
      ['nobody who says', {}, '200', '403 AUTH_CROSS_SITE']
    ]
    for (const [from, headers, safe, unsafe] of sites) {
      for (const method of ['GET', 'HEAD']) t.equal(answer(await ask(one, { ...cookie(token), ...asked(method), ...headers })), safe, `${method} ${from}`)
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'get', 'GET, POST', 'PURGE']) {
        t.equal(answer(await ask(one, { ...cookie(token), ...asked(method), ...headers })), unsafe, `${method} ${from}`)
        t.equal(answer(await ask(one, { ...bearer(token), ...asked(method), ...headers })), '200', `${method} ${from}, with a Bearer`)
      }
    }
    const evil = { ...cookie(token), origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }
    t.equal(answer(await ask(one, { ...evil, 'x-original-method': 'POST' })), '403 AUTH_CROSS_SITE', "as nginx's ingress says it")
    for (const [forwarded, original] of [['GET', 'POST'], ['POST', 'GET']] as const) {
      const reply = await ask(one, { ...evil, 'x-forwarded-method': forwarded, 'x-original-method': original })
      t.equal(answer(reply), '403 AUTH_CROSS_SITE', 'one of the two may be what a client has made up')
    }
  })

  t.test('where nobody who is trusted says the method, an Origin makes it unsafe', async t => {
    const { token } = await one.account()
    const untrusted = await startApp(t, beside, { env: { ...env, TRUST_PROXY: '' } })
    const from = (origin: string | null): Headers => ({ ...cookie(token), ...origin === null ? {} : { origin } })
    t.equal(answer(await ask(one, from(null))), '200')
    t.equal(answer(await ask(one, from('https://evil.test'))), '403 AUTH_CROSS_SITE')
    t.equal(answer(await ask(one, from('https://app.example.com'))), '200')
    t.equal(answer(await ask(untrusted, { ...from('https://evil.test'), ...asked('GET') })), '403 AUTH_CROSS_SITE', 'a stranger says GET')
    t.equal(answer(await ask(untrusted, { ...from(null), ...asked('POST') })), '200', 'a stranger says POST')
  })

  t.test('redirect=true sends a navigation to the sign-in page, with the way back to where a sign-in may return', async t => {
    const to = async (uri: string, more: Headers = {}, query = '?redirect=true') => {
      const reply = await ask(one, { ...page, ...asked('GET', uri), ...more }, query)
      t.equal(reply.body, '')
      return [reply.statusCode, reply.headers.location, reply.headers['x-auth-sign-in']]
    }
    const signIn = 'https://app.example.com/account'
    const back = (url: string) => `${signIn}?return_to=${encodeURIComponent(url)}`
    t.strictSame(await to('/orders?a=1&b=%20#x'), [302, back('https://app.example.com/orders?a=1&b=%20#x'), undefined])
    t.strictSame(await to('/', { 'x-forwarded-host': 'other.example.com' }), [302, back('https://other.example.com/'), undefined])
    t.strictSame(await to('//evil.test/x'), [302, back('https://app.example.com//evil.test/x'), undefined])
    t.strictSame(await to('/orders', bearer('lk_no')), [302, back('https://app.example.com/orders'), undefined], 'with a dead token too')
    for (const [uri, more] of [
      ['/', { 'x-forwarded-host': 'evil.test' }], ['/', { 'x-forwarded-proto': 'http' }], ['/', { 'x-forwarded-proto': 'javascript' }],
      ['@evil.test/', {}], ['https://evil.test/', {}], ['/', { 'x-forwarded-host': 'me@app.example.com' }], ['/', { 'x-forwarded-host': 'app.example.com, evil.test' }],
      [`/${'%'.repeat(1_400)}`, {}], ['', {}]
    ] as const) t.strictSame(await to(uri, more), [302, signIn, undefined], `no way back to ${JSON.stringify(more)} ${uri.slice(0, 30)}`)
    const ingress = { ...page, 'x-original-method': 'GET', 'x-original-url': 'https://app.example.com/orders' }
    t.equal((await ask(one, ingress, '?redirect=true')).headers.location, back('https://app.example.com/orders'))

    t.strictSame(await to('/orders', {}, ''), [401, undefined, back('https://app.example.com/orders')], 'a proxy that cannot pass on a 302 finds it in a header')
    t.strictSame(await to('/orders', {}, '?redirect=false'), [401, undefined, back('https://app.example.com/orders')])
    for (const [name, more] of [
      ['a fetch', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }], ['an image', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
      ['a frame', { 'sec-fetch-dest': 'iframe' }], ['a form', { 'x-forwarded-method': 'POST', origin: 'https://app.example.com' }]
    ] as const) t.strictSame(await to('/orders', more), [401, undefined, undefined], `${name} is answered 401`)
    const old = (accept: string) => ask(one, { ...asked('GET', '/'), accept }, '?redirect=true').then(({ statusCode }) => statusCode)
    t.strictSame(await Promise.all(['text/html,*/*;q=0.8', '*/*', 'application/json'].map(old)), [302, 401, 401], 'without Sec-Fetch-*, Accept says it')
    t.strictSame(await Promise.all([bearer((await one.account()).token)].map(async headers => (await ask(one, { ...page, ...headers }, '?redirect=true')).statusCode)), [200])
  })

  t.test('the sign-in page is APP_URL, or the pages below PUBLIC_URL, or none', async t => {
    const where = async (more: Record<string, string>) => {
      const app = await startApp(t, beside, { env: { TRUST_PROXY: '127.0.0.1', ...more } })
      const { headers, statusCode } = await ask(app, { ...page, ...asked('GET', '/x') }, '?redirect=true')
      await app.close()
      return [statusCode, headers.location]
    }
    const back = 'return_to=https%3A%2F%2Fapp.example.com%2Fx'
    t.strictSame(await where({}), [401, undefined])
    t.strictSame(await where({ PUBLIC_URL: env.PUBLIC_URL, PAGES: 'false' }), [401, undefined])
    t.strictSame(await where({ PUBLIC_URL: 'https://app.example.com/auth/' }), [302, `https://app.example.com/auth/account?${back}`])
    t.strictSame(
      await where({ PUBLIC_URL: env.PUBLIC_URL, APP_URL: 'https://app.example.com/login?lang=de' }),
      [302, `https://app.example.com/login?lang=de&${back}`]
    )
    t.strictSame(await where({ APP_URL: 'https://app.example.com/login' }), [302, 'https://app.example.com/login'], 'an origin that nobody has allowed')
  })

  t.test('If-None-Match never makes a 304 of it', async t => {
    const { token } = await one.account()
    for (const tag of ['*', '"x"', 'W/"x"']) {
      const reply = await ask(one, { ...bearer(token), 'if-none-match': tag, 'if-modified-since': new Date().toUTCString() })
      t.strictSame([reply.statusCode, reply.headers.etag, reply.headers['last-modified']], [200, undefined, undefined])
    }
  })

  t.test("a refusal is logged with the client's address, and without what was asked", async t => {
    const { token } = await one.account({ abilities: [] })
    one.log.length = 0
    await ask(one, { ...bearer(token), ...asked('GET', '/s3cret?key=s3cret'), 'x-forwarded-for': '203.0.113.9' }, '?ability=x')
    const lines = one.log.filter(line => line.includes('"refused"'))
    t.equal(lines.length, 1)
    t.match(JSON.parse(lines[0] ?? ''), { statusCode: 403, code: 'AUTH_INSUFFICIENT_ABILITY', route: path, address: '203.0.113.9' })
    t.notOk(one.log.some(line => line.includes('s3cret')))
  })

  t.test('a revoked token is refused from the next request on, and while nobody can say it is 503', async t => {
    const { token } = await one.account()
    const two = ground.databaseUrl === null ? one : await startApp(t, ground, { env })
    for (const app of [one, two]) t.equal(answer(await ask(app, bearer(token))), '200')
    await one.logout(token)
    for (const app of [one, two]) t.equal(answer(await ask(app, bearer(token))), '401')
  })

  t.test('a hundred requests of one turn share one look-up, as on every route', async t => {
    const tokens = await Promise.all(Array.from({ length: 100 }, async () => (await one.account()).token))
    const before = one.counters.databaseReads
    const replies = await Promise.all(tokens.map(token => ask(one, { ...bearer(token), ...asked('POST') })))
    t.ok(replies.every(({ statusCode }) => statusCode === 200))
    t.ok(one.counters.databaseReads - before <= 1)
  })
})

async function listening (one: TestApp): Promise<AddressInfo> {
  if (!one.app.server.listening) await one.app.listen({ port: 0, host: '127.0.0.1' })
  return one.app.server.address() as AddressInfo
}
