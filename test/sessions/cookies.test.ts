import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { embeddedGround, newEmail, onEachGround, password, startApp, type TestApp } from '../fixtures/app.js'

const page = 'https://app.example.com'
const api = 'https://api.example.com'
const fromPage = { origin: page, 'sec-fetch-site': 'same-site' }
const access = '__Host-latchkey'
const refresh = '__Host-latchkey-refresh'

/** Headers of requests that do not come from our own pages. */
const hostile: Array<Record<string, string>> = [
  {},
  { origin: 'null' },
  { origin: 'https://app.example.com.evil' },
  { origin: 'https://evil.app.example.com' },
  { origin: 'https://evilapp.example.com' },
  { origin: 'http://app.example.com' },
  { origin: 'https://app.example.com:444' },
  { origin: 'https://app.example.com/' },
  { origin: 'https://app.example.com.' },
  { origin: 'HTTPS://APP.EXAMPLE.COM' },
  { origin: `${page}, https://evil.example` },
  { origin: 'https://user@app.example.com' },
  { origin: '' },
  { origin: 'https://evil.example', referer: `${page}/`, host: 'app.example.com', 'x-forwarded-host': 'app.example.com' },
  { referer: `${page}/` },
  { 'sec-fetch-site': 'same-site' },
  { 'sec-fetch-site': 'cross-site' },
  { 'sec-fetch-site': 'none' },
  { 'sec-fetch-site': 'same-origin, cross-site' },
  { 'sec-fetch-site': 'SAME-ORIGIN' }
]

/** Every route that changes something, called the way a page with session cookies would call it. */
const unsafe: Array<['POST' | 'PUT' | 'DELETE', string, object?]> = [
  ['POST', '/v1/refresh'],
  ['POST', '/v1/logout'],
  ['POST', '/v1/logout-all'],
  ['PUT', '/v1/password', { currentPassword: password, newPassword: 'another long password' }],
  ['POST', '/v1/tokens', { name: 'a script' }],
  ['DELETE', '/v1/tokens/00000000-0000-4000-8000-000000000000'],
  ['DELETE', '/v1/sessions'],
  ['DELETE', '/v1/sessions/00000000-0000-4000-8000-000000000000']
]

/** A browser's cookies: keeps those that a reply sets, drops those it clears. */
function createJar () {
  const held = new Map<string, string>()
  return {
    held,
    take (reply: Response): Response {
      for (const { name, value, maxAge } of reply.cookies) {
        if (maxAge === 0) held.delete(name)
        else held.set(name, value)
      }
      return reply
    },
    header: () => cookieHeader(Object.fromEntries(held))
  }
}

type Page = Awaited<ReturnType<typeof openPage>>

/** An account, and a page of our own that is logged in to it. */
async function openPage (app: TestApp, options: object = { refresh: true }) {
  const email = newEmail()
  const jar = createJar()
  const reply = jar.take(
    await app.call('POST', '/v1/register', { headers: fromPage, body: { email, password, cookies: true, ...options } })
  )
  if (reply.statusCode !== 201) throw new Error(`register answered ${reply.statusCode} ${reply.body}`)
  return {
    email,
    jar,
    reply,
    sessionId: reply.json<{ session: { id: string } }>().session.id,
    call: async (
      method: 'GET' | 'POST' | 'PUT' | 'DELETE',
      url: string,
      { body, headers = fromPage, cookie = jar.header() }: { body?: unknown, headers?: Record<string, string>, cookie?: string } = {}
    ) =>
      jar.take(await app.call(method, url, { body, headers: { ...headers, cookie } }))
  }
}

function cookieHeader (values: Record<string, string>): string {
  return Object.entries(values).map(([name, value]) => `${name}=${value}`).join('; ')
}

/** The value of a cookie that must exist. */
function tokenIn ({ jar }: Page, name: string): string {
  const value = jar.held.get(name)
  if (value === undefined) throw new Error(`no cookie ${name}`)
  return value
}

/** The parsed Set-Cookie headers, with every attribute they have. */
const cookiesOf = (reply: Response) => reply.cookies.map(cookie => ({ ...cookie }))
const attributesOf = (reply: Response) => cookiesOf(reply).map(({ value: _, ...attributes }) => attributes)

const clearedBoth = [access, refresh].map(
  name => ({ name, value: '', maxAge: 0, path: '/', httpOnly: true, secure: true, sameSite: 'Strict' }
))

function refusedAs (t: Test, reply: Response, status: number, code: string, message: string): void {
  t.equal(reply.statusCode, status, message)
  t.equal(reply.json<{ code: string }>().code, code, message)
}

onEachGround(t, async (t, ground) => {
  const app = await startApp(t, ground, { env: { PUBLIC_URL: api, CORS_ORIGINS: page, SESSION_LIMIT: '0' } })

  t.test('a login returns its tokens in __Host- cookies with every attribute, and never in the body (V3.3.1-4)', async t => {
    const { email } = await openPage(app)
    for (const reply of [
      await app.call('POST', '/v1/login', { headers: fromPage, body: { email, password, cookies: true, refresh: true } }),
      await app.call('POST', '/v1/register', { headers: fromPage, body: { email: newEmail(), password, cookies: true, refresh: true } })
    ]) {
      t.match(reply.cookies, [{ value: /^lk_/ }, { value: /^lkr_/ }])
      t.strictSame(attributesOf(reply), [
        { name: access, maxAge: 900, path: '/', httpOnly: true, secure: true, sameSite: 'Strict' },
        { name: refresh, maxAge: 604_800, path: '/', httpOnly: true, secure: true, sameSite: 'Strict' }
      ], 'and no Domain')
      t.notMatch(reply.body, /lkr?_/)
      t.match(
        reply.json(),
        { tokenType: 'Bearer', expiresIn: 900, refreshExpiresIn: 604_800, accessToken: undefined, refreshToken: undefined }
      )
      t.equal(reply.headers['cache-control'], 'no-store')
    }
  })

  t.test('without a refresh token the only cookie lasts as long as its token, and an older refresh cookie is cleared', async t => {
    const { reply } = await openPage(app, {})
    t.equal(attributesOf(reply)[0]?.maxAge, reply.json<{ expiresIn: number }>().expiresIn)
    t.strictSame(cookiesOf(reply)[1], clearedBoth[1])
    t.notMatch(reply.body, /lkr?_/)
  })

  t.test('a login without cookies: true sets none', async t => {
    const { email } = await openPage(app)
    const reply = await app.call('POST', '/v1/login', { headers: fromPage, body: { email, password } })
    t.match(reply.json(), { accessToken: /^lk_/ })
    t.equal(reply.headers['set-cookie'], undefined)
  })

  t.test('a page of ours needs only its cookies to call, refresh and log out', async t => {
    const mine = await openPage(app)
    const first = mine.jar.header()
    t.match((await mine.call('GET', '/v1/me')).json(), { user: { email: mine.email }, session: { id: mine.sessionId } })

    const renewed = await mine.call('POST', '/v1/refresh')
    t.equal(renewed.statusCode, 200, renewed.body)
    t.notMatch(renewed.body, /lkr?_/)
    t.match(renewed.cookies, [{ name: access, value: /^lk_/, maxAge: 900 }, { name: refresh, value: /^lkr_/, maxAge: 604_800 }])
    t.not(mine.jar.header(), first)
    t.equal((await mine.call('GET', '/v1/me')).statusCode, 200)

    const last = mine.jar.header()
    const out = await mine.call('POST', '/v1/logout')
    t.equal(out.statusCode, 204)
    t.strictSame(cookiesOf(out), clearedBoth)
    t.equal(mine.jar.held.size, 0)
    for (const cookie of [first, last]) refusedAs(t, await mine.call('GET', '/v1/me', { cookie }), 401, 'AUTH_INVALID_TOKEN', 'logged out')
  })

  t.test('an unsafe request by cookie from anywhere else is refused and changes nothing (V3.5.1)', async t => {
    const mine = await openPage(app)
    for (const headers of hostile) {
      for (const [method, url, body] of unsafe) {
        const reply = await mine.call(method, url, { body, headers })
        refusedAs(t, reply, 403, 'AUTH_CROSS_SITE', `${method} ${url} ${JSON.stringify(headers)}`)
        t.equal(reply.headers['set-cookie'], undefined)
      }
      for (const url of ['/v1/refresh', '/v1/logout', '/v1/logout-all']) {
        const reply = await mine.call('POST', url, { headers, cookie: cookieHeader({ [refresh]: tokenIn(mine, refresh) }) })
        refusedAs(t, reply, 403, 'AUTH_CROSS_SITE', `${url} with the refresh cookie alone`)
        t.equal(reply.headers['set-cookie'], undefined)
      }
    }
    t.equal((await mine.call('GET', '/v1/me')).statusCode, 200)
    t.equal((await mine.call('GET', '/v1/sessions')).json<{ sessions: unknown[] }>().sessions.length, 1)
    t.strictSame((await mine.call('GET', '/v1/tokens')).json(), { tokens: [], nextCursor: null })
    t.equal((await app.login(mine.email)).statusCode, 200, 'the old password still works')
    t.equal((await mine.call('POST', '/v1/refresh')).statusCode, 200)
  })

  t.test('our own pages may make unsafe requests: same origin, the origin of PUBLIC_URL, one in CORS_ORIGINS', async t => {
    for (const headers of [
      fromPage,
      { origin: page },
      { origin: api },
      { 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'same-origin', origin: api }
    ] as Array<Record<string, string>>) {
      const mine = await openPage(app)
      for (const [method, url, body] of unsafe.filter(([, url]) => !url.startsWith('/v1/logout'))) {
        const reply = await mine.call(method, url, { body, headers })
        t.ok([200, 201, 204, 404].includes(reply.statusCode), `${method} ${url} ${reply.statusCode} ${JSON.stringify(headers)}`)
      }
      t.equal((await mine.call('POST', '/v1/logout', { headers })).statusCode, 204)
    }
  })

  t.test('another site can neither log anybody in nor register them (login CSRF)', async t => {
    const { email } = await openPage(app)
    for (const headers of hostile) {
      const newcomer = newEmail()
      for (const [url, body] of [
        ['/v1/login', { email, password, cookies: true }],
        ['/v1/login', { email, password: 'wrong', cookies: true, refresh: true }],
        ['/v1/register', { email: newcomer, password, cookies: true }]
      ] as const) {
        const reply = await app.call('POST', url, { headers, body })
        refusedAs(t, reply, 403, 'AUTH_CROSS_SITE', `${url} ${JSON.stringify(headers)}`)
        t.equal(reply.headers['set-cookie'], undefined)
      }
      t.equal((await app.login(newcomer)).statusCode, 401, 'no account was made')
    }
  })

  t.test('reading by cookie requires no origin', async t => {
    const mine = await openPage(app)
    for (const headers of [
      {},
      { 'sec-fetch-site': 'none' },
      { origin: page },
      { 'sec-fetch-site': 'same-origin' }
    ] as Array<Record<string, string>>) {
      for (const url of [
        '/v1/me',
        '/v1/sessions',
        '/v1/tokens'
      ]) t.equal((await mine.call('GET', url, { headers })).statusCode, 200, `${url} ${JSON.stringify(headers)}`)
    }
  })

  t.test('a body that a form can send is refused, even from our own page (V3.5.2)', async t => {
    const mine = await openPage(app)
    const bodies = unsafe.filter(([method]) => method === 'POST').map(([, url]) => url)
    for (const url of [...bodies, '/v1/login', '/v1/register']) {
      for (const type of [
        'application/x-www-form-urlencoded',
        'text/plain',
        'multipart/form-data; boundary=x',
        'text/plain; application/json',
        'application/jsonx',
        'Text/Plain;charset=UTF-8',
        undefined
      ]) {
        const reply = await app.call('POST', url, {
          headers: { ...fromPage, cookie: mine.jar.header(), ...type === undefined ? { 'content-length': '1' } : { 'content-type': type } },
          body: JSON.stringify({ email: mine.email, password, cookies: true })
        })
        t.equal(reply.statusCode, 415, `${url} ${type}`)
        t.equal(reply.headers['set-cookie'], undefined)
      }
    }
    t.equal((await mine.call('GET', '/v1/me')).statusCode, 200)
  })

  t.test('a request with a Bearer header ignores its cookies, however bad the header is', async t => {
    const mine = await openPage(app)
    const { userId, token } = await app.account()
    t.match(
      (await mine.call('GET', '/v1/me', { headers: { ...fromPage, authorization: `Bearer ${token}` } })).json(),
      { user: { id: userId } }
    )

    for (const authorization of [
      'Bearer',
      'Bearer ',
      'Bearer lk_nonsense',
      `Bearer ${token}x`,
      `bearer  ${token}x`,
      `Bearer ${token}, Bearer ${token}`
    ]) {
      for (const [method, url, body] of [['GET', '/v1/me'], ...unsafe] as Array<['GET' | 'POST' | 'PUT' | 'DELETE', string, object?]>) {
        const reply = await mine.call(method, url, { body, headers: { ...fromPage, authorization } })
        t.equal(reply.statusCode, 401, `${method} ${url} ${authorization}`)
        t.equal(reply.headers['set-cookie'], undefined)
        t.match(reply.headers['www-authenticate'], /^Bearer /)
      }
    }
    t.equal((await mine.call('GET', '/v1/me')).statusCode, 200)
    t.equal((await mine.call('POST', '/v1/refresh')).statusCode, 200)
  })

  t.test('with an empty Authorization header, or the Basic one that browsers send to a protected site, cookies still count', async t => {
    for (const authorization of ['', 'Basic c3RhZ2luZzpzZWNyZXQ=', 'Negotiate x', 'Digest username="a"']) {
      const headers = { ...fromPage, authorization }
      const mine = await openPage(app)
      const login = mine.jar.take(
        await app.call('POST', '/v1/login', { headers, body: { email: mine.email, password, cookies: true, refresh: true } })
      )
      t.equal(login.statusCode, 200, authorization)
      t.match((await mine.call('GET', '/v1/me', { headers })).json(), { user: { email: mine.email } }, authorization)
      t.match(
        (await mine.call('GET', '/v1/session', { headers })).json(),
        { user: { email: mine.email }, refreshable: true },
        authorization
      )
      t.equal((await mine.call('POST', '/v1/refresh', { headers })).statusCode, 200, authorization)
      t.equal((await mine.call('POST', '/v1/tokens', { headers, body: { name: 'a script' } })).statusCode, 201, authorization)
      refusedAs(
        t,
        await mine.call('DELETE', '/v1/sessions', { headers: { authorization, origin: 'https://evil.example' } }),
        403,
        'AUTH_CROSS_SITE',
        authorization
      )
      const out = await mine.call('POST', '/v1/logout', { headers })
      t.equal(out.statusCode, 204, authorization)
      t.strictSame(cookiesOf(out), clearedBoth, authorization)
    }
  })

  t.test('GET /v1/session says who is signed in, or that nobody is, and never answers 401', async t => {
    const nobody = { user: null, session: null, refreshable: false }
    const ask = async (headers: Record<string, string>) => {
      const reply = await app.call('GET', '/v1/session', { headers })
      t.equal(reply.statusCode, 200)
      t.equal(reply.headers['cache-control'], 'no-store')
      t.equal(reply.headers['set-cookie'], undefined)
      const { expiresIn, ...rest } = reply.json<{
        user: { email: string } | null
        session: { id: string } | null
        refreshable: boolean
        expiresIn?: number
      }>()
      t.ok(
        rest.session === null ? expiresIn === undefined : Number(expiresIn) > 600 && Number(expiresIn) <= 900,
        `the access token, if there is one, has ${expiresIn} s left`
      )
      return rest
    }
    const mine = await openPage(app)
    const { session } = mine.reply.json<{ session: object }>()
    const { user } = (await mine.call('GET', '/v1/me')).json<{ user: object }>()
    t.strictSame(
      await ask({ cookie: mine.jar.header() }),
      { user, session, refreshable: true },
      'by cookies, from any site, because it changes nothing'
    )
    t.strictSame(await ask({ cookie: cookieHeader({ [access]: tokenIn(mine, access) }) }), { user, session, refreshable: false })
    t.strictSame(await ask({ cookie: cookieHeader({ [refresh]: tokenIn(mine, refresh) }) }), { ...nobody, refreshable: true })
    t.strictSame(await ask({ authorization: `Bearer ${tokenIn(mine, access)}` }), { user, session, refreshable: false }, 'by Bearer')
    t.strictSame(await ask({}), nobody)

    const { token } = await app.account()
    const personal = await app.personal(token)
    t.match(
      await ask({ authorization: `Bearer ${personal}` }),
      { user: { email: String }, session: null, refreshable: false },
      'a personal token has a user and no session'
    )
    const { plain } = await app.serviceTokens.create('orders')
    for (const authorization of ['Bearer', 'Bearer lk_nonsense', `Bearer ${tokenIn(mine, refresh)}`, `Bearer ${plain.reveal()}`]) {
      t.strictSame(
        await ask({ authorization, cookie: mine.jar.header() }),
        nobody,
        `${authorization.slice(0, 11)}: a Bearer header rules the cookies out`
      )
    }
    t.strictSame(await ask({ cookie: cookieHeader({ [access]: personal }) }), nobody, 'a personal token does not count in a cookie')

    const before = mine.jar.header()
    await mine.call('POST', '/v1/logout')
    t.strictSame(
      await ask({ cookie: before }),
      { ...nobody, refreshable: true },
      'right after the end; only refreshing shows whether the refresh cookie is good'
    )
  })

  t.test('a refresh token in the body wins over the cookie, and its successors are returned in the body', async t => {
    const mine = await openPage(app)
    const other = (await app.register(newEmail(), { refresh: true })).json<{ refreshToken: string, user: { id: string } }>()
    const reply = await mine.call('POST', '/v1/refresh', { body: { refreshToken: other.refreshToken }, headers: {} })
    t.match(reply.json(), { accessToken: /^lk_/, refreshToken: /^lkr_/, user: { id: other.user.id } })
    t.equal(reply.headers['set-cookie'], undefined)

    const bad = await mine.call('POST', '/v1/refresh', { body: { refreshToken: 'lkr_nonsense' } })
    refusedAs(t, bad, 401, 'AUTH_INVALID_TOKEN', 'the cookie is not used instead')
    t.equal(bad.headers['set-cookie'], undefined)
  })

  t.test('the refresh cookie is enough to refresh and to log out, whatever happened to the access cookie', async t => {
    for (const state of ['absent', 'run out', 'garbage'] as const) {
      const ready = async () => {
        const mine = await openPage(app)
        const second = await app.login(mine.email)
        if (state === 'run out') app.clock.advance(901_000)
        const cookie = () =>
          cookieHeader({
            ...state === 'absent' ? {} : { [access]: state === 'garbage' ? 'lk_%zz' : tokenIn(mine, access) },
            [refresh]: tokenIn(mine, refresh)
          })
        return { mine, cookie, second: second.json<{ accessToken: string }>().accessToken }
      }
      const one = await ready()
      if (state !== 'absent') refusedAs(t, await one.mine.call('GET', '/v1/me', { cookie: one.cookie() }), 401, 'AUTH_INVALID_TOKEN', state)
      const renewed = await one.mine.call('POST', '/v1/refresh', { cookie: one.cookie() })
      t.equal(renewed.statusCode, 200, `refresh, ${state}`)
      t.equal((await one.mine.call('GET', '/v1/me')).statusCode, 200)

      const two = await ready()
      const refreshCookie = cookieHeader({ [refresh]: tokenIn(two.mine, refresh) })
      const out = await two.mine.call('POST', '/v1/logout', { cookie: two.cookie() })
      t.equal(out.statusCode, 204, `logout, ${state}`)
      t.strictSame(cookiesOf(out), clearedBoth)
      t.equal((await two.mine.call('POST', '/v1/refresh', { cookie: refreshCookie })).statusCode, 401)
      t.equal((await app.me(two.second)).statusCode, 200, 'the other session goes on')

      const three = await ready()
      const everywhere = await three.mine.call('POST', '/v1/logout-all', { cookie: three.cookie() })
      t.equal(everywhere.statusCode, 204, `logout-all, ${state}`)
      t.strictSame(cookiesOf(everywhere), clearedBoth)
      t.equal((await app.me(three.second)).statusCode, 401, 'every session ended')
    }
  })

  t.test('the access cookie alone is enough to log out, and both cookies are cleared', async t => {
    for (const url of ['/v1/logout', '/v1/logout-all']) {
      const mine = await openPage(app)
      const kept = tokenIn(mine, refresh)
      const out = await mine.call('POST', url, { cookie: cookieHeader({ [access]: tokenIn(mine, access) }) })
      t.equal(out.statusCode, 204)
      t.strictSame(cookiesOf(out), clearedBoth)
      t.equal((await mine.call('POST', '/v1/refresh', { cookie: cookieHeader({ [refresh]: kept }) })).statusCode, 401)
    }
  })

  t.test('useless cookies are cleared, but not at the request of another site', async t => {
    const mine = await openPage(app)
    const dead = mine.jar.header()
    const halves = [access, refresh].map(name => cookieHeader({ [name]: tokenIn(mine, name) }))
    await mine.call('POST', '/v1/logout')
    for (const url of ['/v1/refresh', '/v1/logout-all']) {
      const reply = await mine.call('POST', url, { cookie: dead })
      refusedAs(t, reply, 401, 'AUTH_INVALID_TOKEN', url)
      t.strictSame(cookiesOf(reply), clearedBoth)
    }
    for (const cookie of [...halves, 'theme=dark']) {
      const reply = await mine.call('POST', '/v1/logout-all', { cookie })
      t.equal(reply.statusCode, 401)
      t.strictSame(cookiesOf(reply), clearedBoth)
    }
    for (const url of ['/v1/refresh', '/v1/logout', '/v1/logout-all']) {
      for (const cookie of [dead, ...halves, `${access}=x; ${access}=y`, 'theme=dark']) {
        const reply = await mine.call('POST', url, { cookie, headers: { origin: 'https://evil.example' } })
        t.equal(reply.headers['set-cookie'], undefined, `${url} ${cookie}`)
      }
      t.equal((await app.call('POST', url, { headers: fromPage })).headers['set-cookie'], undefined, 'nothing to clear')
    }
  })

  t.test('a tab that comes too late is refused, and does not touch what another tab has renewed', async t => {
    const mine = await openPage(app)
    const late = mine.jar.header()
    await mine.call('POST', '/v1/refresh')
    const later = mine.jar.header()
    await mine.call('POST', '/v1/refresh')
    const stale = mine.jar.header()
    t.equal(
      (await mine.call('PUT', '/v1/password', { body: { currentPassword: password, newPassword: 'another long password' } })).statusCode,
      200
    )
    for (const cookie of [late, later, stale]) {
      const reply = await mine.call('POST', '/v1/refresh', { cookie })
      refusedAs(t, reply, 401, 'AUTH_INVALID_TOKEN', 'replaced')
      t.equal(reply.headers['set-cookie'], undefined)
    }
    const current = await openPage(app)
    const first = current.jar.header()
    await current.call('POST', '/v1/refresh')
    await current.call('POST', '/v1/refresh')
    const reply = await current.call('POST', '/v1/refresh', { cookie: first })
    refusedAs(t, reply, 401, 'AUTH_INVALID_TOKEN', 'its successor has been used')
    t.equal(reply.headers['set-cookie'], undefined)
    for (const { call } of [mine, current]) t.equal((await call('POST', '/v1/refresh')).statusCode, 200, 'the session goes on')
  })

  t.test('a refresh cookie used twice past the grace period ends the session and is cleared', async t => {
    const mine = await openPage(app)
    const old = mine.jar.header()
    await mine.call('POST', '/v1/refresh')
    const current = mine.jar.header()
    app.clock.advance(31_000)
    const reply = await mine.call('POST', '/v1/refresh', { cookie: old })
    refusedAs(t, reply, 401, 'AUTH_TOKEN_REUSED', 'reuse')
    t.strictSame(cookiesOf(reply), clearedBoth)
    t.equal((await mine.call('GET', '/v1/me', { cookie: current })).statusCode, 401)
  })

  t.test('when two cookies share a name, neither counts (cookie tossing)', async t => {
    const mine = await openPage(app)
    const thief = await openPage(app)
    for (const [name, good, evil] of [access, refresh].map(name => [name, tokenIn(mine, name), tokenIn(thief, name)] as const)) {
      for (const cookie of [
        `${name}=${evil}; ${name}=${good}`,
        `${name}=${good}; ${name}=${evil}`,
        `${name} =${evil}; ${name}=${good}`,
        `${name}=;${name}=${good}`,
        `\t${name}=${evil};${name}=${good}`,
        `${name}=${good}; ${name}=${good}`
      ]) {
        refusedAs(t, await mine.call('GET', '/v1/me', { cookie }), 401, 'AUTH_MISSING_TOKEN', `GET ${cookie}`)
        refusedAs(t, await mine.call('POST', '/v1/refresh', { cookie }), 401, 'AUTH_MISSING_TOKEN', `refresh ${cookie}`)
        const out = await mine.call('POST', '/v1/logout', { cookie })
        refusedAs(t, out, 401, 'AUTH_MISSING_TOKEN', `logout ${cookie}`)
        t.strictSame(cookiesOf(out), clearedBoth, 'so that the page can start over')
      }
    }
    for (const { email } of [mine, thief]) t.equal((await app.login(email)).statusCode, 200)
  })

  t.test('malformed cookies are refused like any other bad token', async t => {
    const mine = await openPage(app)
    for (const value of [
      '%',
      '%E0%A4%A',
      '%zz',
      '%00',
      '',
      '""',
      'lk_',
      '=',
      'lk_'.repeat(2000),
      `${tokenIn(mine, access)}%`,
      '\xff\xfe',
      'null',
      '[object Object]',
      '__proto__'
    ]) {
      for (const [method, url] of [['GET', '/v1/me'], ['DELETE', '/v1/sessions'], ['POST', '/v1/logout']] as const) {
        t.equal((await mine.call(method, url, { cookie: `${access}=${value}` })).statusCode, 401, `${method} ${value.slice(0, 20)}`)
      }
      t.equal((await mine.call('POST', '/v1/refresh', { cookie: `${refresh}=${value}` })).statusCode, 401, `refresh ${value.slice(0, 20)}`)
    }
    for (const cookie of [
      ';',
      '=',
      ';;=;',
      '__proto__=x',
      'a'
    ]) t.equal((await mine.call('GET', '/v1/me', { cookie })).statusCode, 401, cookie)
  })

  t.test('cookies with other names are ignored and do no harm', async t => {
    const mine = await openPage(app)
    const value = tokenIn(mine, access)
    for (const name of [
      'latchkey',
      '__host-latchkey',
      '__HOST-LATCHKEY',
      '__Secure-latchkey',
      'x__Host-latchkey',
      '__Host-latchkey.sid',
      '__Host-latchkey-refresh',
      'session',
      'token',
      'access_token'
    ]) {
      const reply = await mine.call('GET', '/v1/me', { cookie: cookieHeader({ [name]: value }) })
      refusedAs(t, reply, 401, 'AUTH_MISSING_TOKEN', name)
      t.equal(reply.headers['www-authenticate'], 'Bearer realm="latchkey"')
    }
    const crowd = `theme=%; latchkey=lk_other; ${access}=${value}; __host-latchkey=x; _ga=GA1.1=2; latchkey-refresh="`
    t.equal((await mine.call('GET', '/v1/me', { cookie: crowd })).statusCode, 200)
  })

  t.test('each cookie accepts only its own kind of token, and neither accepts a personal token', async t => {
    const mine = await openPage(app)
    const { accessToken: personal } = (await mine.call(
      'POST',
      '/v1/tokens',
      { body: { name: 'a script' } }
    )).json<{ accessToken: string }>()
    t.equal((await app.me(personal)).statusCode, 200, 'it works in a header')

    for (const value of [tokenIn(mine, refresh), personal]) {
      const cookie = cookieHeader({ [access]: value })
      refusedAs(t, await mine.call('GET', '/v1/me', { cookie }), 401, 'AUTH_INVALID_TOKEN', value.slice(0, 4))
      for (const [method, url, body] of unsafe.filter(([, url]) => url !== '/v1/refresh')) refusedAs(
        t,
        await mine.call(method, url, { body, cookie }),
        401,
        'AUTH_INVALID_TOKEN',
        `${method} ${url} ${value.slice(0, 4)}`
      )
    }
    for (const value of [tokenIn(await openPage(app), access), personal]) {
      for (const url of ['/v1/refresh', '/v1/logout', '/v1/logout-all']) {
        refusedAs(
          t,
          await mine.call('POST', url, { cookie: cookieHeader({ [refresh]: value }) }),
          401,
          'AUTH_INVALID_TOKEN',
          `${url} ${value.slice(0, 4)}`
        )
      }
    }
    t.equal((await app.me(personal)).statusCode, 200, 'and it still works')
  })

  t.test('the refresh cookie still logs out when the access cookie holds a personal token', async t => {
    const mine = await openPage(app)
    const { accessToken: personal } = (await mine.call(
      'POST',
      '/v1/tokens',
      { body: { name: 'a script' } }
    )).json<{ accessToken: string }>()
    const out = await mine.call('POST', '/v1/logout', { cookie: cookieHeader({ [access]: personal, [refresh]: tokenIn(mine, refresh) }) })
    t.equal(out.statusCode, 204, out.body)
    t.equal((await app.me(personal)).statusCode, 200)
  })

  t.test('a password change by cookie returns new cookies and no token in the body', async t => {
    for (const [options, names] of [[{ refresh: true }, [access, refresh]], [{}, [access]]] as const) {
      const mine = await openPage(app, options)
      const old = mine.jar.header()
      const oldRefresh = mine.jar.held.get(refresh)
      const reply = await mine.call('PUT', '/v1/password', { body: { currentPassword: password, newPassword: 'another long password' } })
      t.equal(reply.statusCode, 200, reply.body)
      t.notMatch(reply.body, /lkr?_/)
      t.equal(reply.json<{ session: { id: string } }>().session.id, mine.sessionId)
      t.strictSame([...mine.jar.held.keys()], names)
      t.match(reply.cookies, [{ httpOnly: true, secure: true, sameSite: 'Strict' }, { httpOnly: true, secure: true, sameSite: 'Strict' }])
      t.equal((await mine.call('GET', '/v1/me')).statusCode, 200)
      t.equal((await mine.call('GET', '/v1/me', { cookie: old })).statusCode, 401)
      if (oldRefresh === undefined) continue
      t.equal((await app.call('POST', '/v1/refresh', { body: { refreshToken: oldRefresh } })).statusCode, 401)
      t.equal((await mine.call('POST', '/v1/refresh')).statusCode, 200)
    }
  })

  t.test('ending the current session in the list clears the cookies, but ending another does not', async t => {
    const mine = await openPage(app)
    const other = (await app.login(mine.email)).json<{ session: { id: string } }>().session.id
    t.equal((await mine.call('DELETE', `/v1/sessions/${other}`)).headers['set-cookie'], undefined)
    t.equal((await mine.call('DELETE', '/v1/sessions')).headers['set-cookie'], undefined)
    const reply = await mine.call('DELETE', `/v1/sessions/${mine.sessionId.toUpperCase()}`)
    t.equal(reply.statusCode, 204)
    t.strictSame(cookiesOf(reply), clearedBoth)
  })

  t.test('no cookie is in the log', async t => {
    const mine = await openPage(app)
    await mine.call('GET', '/v1/me')
    await mine.call('POST', '/v1/refresh')
    await mine.call('POST', '/v1/logout', { headers: {} })
    t.notMatch(app.log.join(''), /lk[rp]?_[0-9A-Za-z]{50}/)
  })
})

t.test('with COOKIE_SECURE=false names have no prefix, cookies have no Secure, and everything else is the same', async t => {
  const plain = await startApp(
    t,
    await embeddedGround(),
    { env: { COOKIE_SECURE: 'false', PUBLIC_URL: 'http://localhost:3000', CORS_ORIGINS: 'http://localhost:5173' } }
  )
  const headers = { origin: 'http://localhost:5173' }
  const email = newEmail()
  const reply = await plain.call('POST', '/v1/register', { headers, body: { email, password, cookies: true, refresh: true } })
  t.strictSame(attributesOf(reply), [
    { name: 'latchkey', maxAge: 900, path: '/', httpOnly: true, sameSite: 'Strict' },
    { name: 'latchkey-refresh', maxAge: 604_800, path: '/', httpOnly: true, sameSite: 'Strict' }
  ])
  const [first, second] = reply.cookies.map(({ value }) => value) as [string, string]
  const cookie = cookieHeader({ latchkey: first, 'latchkey-refresh': second })
  t.equal((await plain.call('GET', '/v1/me', { headers: { cookie } })).statusCode, 200)
  t.equal(
    (await plain.call('GET', '/v1/me', { headers: { cookie: cookieHeader({ [access]: first }) } })).statusCode,
    401,
    'the prefixed name is not read'
  )
  t.equal((await plain.call('POST', '/v1/logout', { headers: { cookie, origin: 'http://localhost:4000' } })).statusCode, 403)
  const out = await plain.call('POST', '/v1/logout', { headers: { ...headers, cookie } })
  t.match(out.cookies, [{ name: 'latchkey', value: '', maxAge: 0 }, { name: 'latchkey-refresh', value: '', maxAge: 0 }])
})

t.test('without PUBLIC_URL and CORS_ORIGINS only pages of the same origin get cookies', async t => {
  const bare = await startApp(t, await embeddedGround())
  const body = { email: newEmail(), password, cookies: true }
  t.equal(
    (await bare.call('POST', '/v1/register', { headers: { origin: 'http://localhost:3000', host: 'localhost:3000' }, body })).statusCode,
    403,
    'the client controls the Host header'
  )
  t.equal((await bare.call('POST', '/v1/register', { headers: { 'sec-fetch-site': 'same-origin' }, body })).statusCode, 201)
})

t.test('a page that cannot keep the cookies of its login is named in the log, with the cure', async t => {
  const localPage = 'http://127.0.0.1:5173'
  const plainPage = 'http://app.example.com'
  const app = await startApp(t, await embeddedGround(), { env: { CORS_ORIGINS: [page, localPage, plainPage, 'capacitor://localhost'].join(',') } })
  const { email } = await app.account()
  const said = async (act: () => Promise<Response>) => {
    const before = app.log.length
    const { statusCode } = await act()
    const lines = app.log.slice(before).map(line => JSON.parse(line) as { msg: string, level: number, reqId?: string })
    return { statusCode, lines: lines.filter(({ msg }) => msg.startsWith('a page at ')) }
  }
  const login = (headers: Record<string, string>, body: object = {}) => said(() =>
    app.call('POST', '/v1/login', { headers, body: { email, password, cookies: true, ...body } }))
  const preflight = (origin: string, url = '/v1/login') => said(() =>
    app.app.inject({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': 'POST' } }))

  t.match(await login({ origin: localPage, 'sec-fetch-site': 'cross-site' }), {
    statusCode: 200,
    lines: [{ level: 40, origin: localPage, reqId: String, msg: /^a page at http:\/\/127\.0\.0\.1:5173 cannot .* another site.* pass \/v1 on .*localhost/ }]
  })
  t.match(await login({ origin: plainPage }), { statusCode: 200, lines: [{ level: 40, msg: /no Secure ones.*COOKIE_SECURE=false/ }] })
  t.match(await login({ origin: 'http://localhost:8080', 'sec-fetch-site': 'same-site' }), {
    statusCode: 403,
    lines: [{ level: 30, msg: /^a page at http:\/\/localhost:8080 cannot .* not in CORS_ORIGINS; add it there, or .* pass \/v1 on/ }]
  })
  t.match(await login({ origin: 'null' }), { statusCode: 403, lines: [{ msg: /from a file/ }] })
  t.match(await login({ origin: 'capacitor://localhost' }), { statusCode: 403, lines: [{ msg: /an app.*bearer/ }] })
  t.match(await preflight('http://localhost:8081', '/v1/register'), { lines: [{ level: 30, msg: /not in CORS_ORIGINS/ }] }, 'all that ever arrives')

  app.clock.advance(60_000)
  for (const headers of [
    { origin: page }, { origin: page, 'sec-fetch-site': 'same-site' }, { 'sec-fetch-site': 'same-origin', origin: 'https://this.example.com' }
  ]) t.strictSame(await login(headers), { statusCode: 200, lines: [] }, JSON.stringify(headers))
  t.match((await login({ origin: 'http://localhost:8080' }, { cookies: false })).lines, [], 'without cookies nothing is amiss')
  t.strictSame((await preflight(page)).lines, [])
  t.strictSame((await preflight('http://localhost:8080', '/v1/me')).lines, [])
  for (const origin of ['https://a b', 'x'.repeat(300), `https://${'x'.repeat(300)}.example`, '']) {
    t.strictSame((await login({ origin })).lines, [], 'no browser sends that')
  }

  let lines = 0
  for (let round = 0; round < 40; round++) lines += (await preflight(`https://page-${round % 20}.example`)).lines.length
  t.equal(lines, 10, 'each once, and no more than ten in a minute')
  app.clock.advance(60_000)
  t.equal((await preflight('https://page-0.example')).lines.length, 1)
})
