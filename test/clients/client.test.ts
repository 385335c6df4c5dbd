import t from 'tap'
import { becomesTrue, newEmail, password, patienceMs } from '../fixtures/app.js'
import { modes, startScene } from './scene.js'

const other = 'a quite different battery staple'

for (const mode of modes) {
  t.test(`${mode} mode`, async t => {
    const { one, open, enter, expire } = await startScene(t)

    t.test('a signed-out visitor costs one request with cookies and none without, and is told once', async t => {
      const { client, browser, told } = open({ mode })
      t.strictSame(
        await Promise.all([client.getSession(), client.getUser(), client.getSession(), client.refreshSession()]),
        Array(4).fill({ data: null, error: null })
      )
      t.match(await client.tokens.list(), { data: null, error: { code: 'AUTH_MISSING_TOKEN', status: 401 } })
      t.strictSame(await client.signOut(), { data: null, error: null })
      t.strictSame(browser.sent.map(({ path, status }) => [path, status]), mode === 'cookie' ? [['/v1/session', 200]] : [])
      t.strictSame(told, [{ event: 'INITIAL_SESSION', email: undefined, error: null }])
    })

    t.test('signs up, signs out and signs in, and reports what changed', async t => {
      const { client, browser, told } = open({ mode })
      const email = newEmail()
      await client.getSession()
      t.match(
        await client.signUp({ email, password, name: 'Ada', deviceName: "Ada's laptop" }),
        { data: { user: { email, name: 'Ada' }, session: { deviceName: "Ada's laptop" } }, error: null }
      )
      t.match(await client.getUser(), { data: { user: { email } }, error: null })
      t.strictSame(await client.signOut(), { data: null, error: null })
      t.match(
        await client.signInWithPassword({ email, password: 'wrong' }),
        { data: null, error: { code: 'AUTH_INVALID_CREDENTIALS', status: 401 } }
      )
      t.equal(browser.count('/v1/refresh'), 0, 'there is nothing to refresh for')
      t.match(await client.signInWithPassword({ email, password }), { data: { user: { email } }, error: null })
      t.match(await client.getSession(), { data: { user: { email }, session: {} }, error: null })
      t.strictSame(
        told.map(({ event, email }) => [event, email]),
        [['INITIAL_SESSION', undefined], ['SIGNED_IN', email], ['SIGNED_OUT', undefined], ['SIGNED_IN', email]]
      )
      t.strictSame([...browser.cookies.keys()].length, mode === 'cookie' ? 2 : 0)
    })

    t.test('refreshes once for all requests with an expired token', async t => {
      const { client, browser, events } = await enter({ mode })
      await expire()
      t.strictSame(await Promise.all([1, 2, 3].map(async () => (await client.fetch('/v1/me')).status)), [200, 200, 200])
      t.equal(browser.count('/v1/refresh'), 1)
      t.strictSame(events(), ['TOKEN_REFRESHED'])
    })

    t.test('reports nothing when nothing has changed', async t => {
      const { client, events } = await enter({ mode })
      await client.getSession()
      await client.getUser()
      await client.fetch('/v1/me')
      await client.updateUser({ name: 'Ada' })
      await client.updateUser({ name: 'Ada' })
      await client.getUser()
      t.match(await client.getSession(), { data: { user: { name: 'Ada' } } })
      t.strictSame(events(), ['USER_UPDATED'])
    })

    t.test('keeps data with the session on the server, which ends with it', async t => {
      const { client } = await enter({ mode })
      t.strictSame(await client.sessionData.get(), { data: { data: {} }, error: null })
      t.strictSame(await client.sessionData.replace({ cart: ['a'], dark: true }), { data: { data: { cart: ['a'], dark: true } }, error: null })
      await expire()
      t.strictSame(await client.sessionData.merge({ dark: null, size: 1 }), { data: { data: { cart: ['a'], size: 1 } }, error: null })
      t.match(await client.sessionData.merge({ cart: 'x'.repeat(17_000) }), { data: null, error: { code: 'AUTH_TOO_LARGE', status: 413 } })
      t.match(await client.sessionData.get<{ cart: string[] }>(), { data: { data: { cart: ['a'], size: 1 } } })
      await client.signOut()
      t.match(await client.sessionData.get(), { data: null, error: { code: 'AUTH_MISSING_TOKEN' } })
    })

    t.test('retries with the same token when a reply was lost, and the session continues', async t => {
      const { client, browser } = await enter({ mode })
      await expire()
      browser.meet('/v1/refresh', 'lost')
      t.equal((await client.fetch('/v1/me')).status, 200)
      t.equal(browser.count('/v1/refresh'), 2)
      await expire()
      t.equal((await client.fetch('/v1/me')).status, 200, 'with its successor too')
    })

    t.test('signs nobody out just because the server cannot answer', async t => {
      const { client, browser, email, events } = await enter({ mode })
      const incidents = [
        { status: 503, code: 'AUTH_UNAVAILABLE', headers: { 'retry-after': '0' } },
        { status: 429, code: 'AUTH_RATE_LIMITED', headers: { 'retry-after': '0' } },
        { status: 502, code: 'AUTH_UNAVAILABLE', body: '<html>', headers: { 'retry-after': '0' } },
        { status: 401, code: 'UNEXPECTED_REPLY', body: 'the proxy wants a password', headers: { 'retry-after': '0' } }
      ]
      for (const { code, ...incident } of incidents) {
        await expire()
        browser.meet('/v1/refresh', incident)
        const reply = await client.fetch('/v1/me')
        t.equal(reply.status, incident.status)
        t.match(await reply.json(), { code })
        t.equal((await client.fetch('/v1/me')).status, 200, 'and it continues')
      }
      await expire()
      for (let i = 0; i < 3; i++) browser.meet('/v1/refresh', 'unreachable')
      t.match(await client.refreshSession(), { data: { user: { email } }, error: { code: 'NETWORK', status: 0 } })
      t.match(await client.getSession(), { data: { user: { email } } }, 'it still knows who is signed in')
      t.strictSame([...new Set(events())], ['TOKEN_REFRESHED'])
    })

    t.test('waits as long as the server asks', async t => {
      const { client, browser, email } = await enter({ mode })
      browser.meet('/v1/refresh', { status: 503, headers: { 'retry-after': '60' } })
      t.match(await client.refreshSession(), { data: { user: { email } }, error: { code: 'AUTH_UNAVAILABLE', retryAfterSeconds: 60 } })
      t.match(await client.refreshSession(), { error: { code: 'AUTH_UNAVAILABLE' } })
      t.equal(browser.count('/v1/refresh'), 1)
      t.equal((await client.fetch('/v1/me')).status, 200, 'the access token is still valid meanwhile')
    })

    t.test('a session ended elsewhere is signed out with the reason, whichever call finds out', async t => {
      for (const find of ['fetch', 'getUser', 'refreshSession'] as const) {
        const { client, email, told } = await enter({ mode })
        const { accessToken } = (await one.login(email)).json<{ accessToken: string }>()
        await one.call('DELETE', '/v1/sessions', { token: accessToken })
        await (find === 'fetch' ? client.fetch('/v1/me') : client[find]())
        t.strictSame(told.map(({ event, error }) => [event, error?.status]), [['SIGNED_OUT', 401]], find)
        t.strictSame(await client.getSession(), { data: null, error: null })
      }
    })

    t.test('changes the password and stays signed in, while other sessions are signed out', async t => {
      const { client, email, events } = await enter({ mode })
      const elsewhere = open({ mode })
      await elsewhere.client.signInWithPassword({ email, password })
      t.match(
        await client.changePassword({ currentPassword: 'wrong', newPassword: other }),
        { data: null, error: { code: 'AUTH_WRONG_PASSWORD', status: 403 } }
      )
      t.match(await client.changePassword({ currentPassword: password, newPassword: other }), { data: { user: { email } }, error: null })
      t.equal((await client.fetch('/v1/me')).status, 200)
      await expire()
      t.equal((await client.fetch('/v1/me')).status, 200, 'with the new refresh token')
      t.strictSame(await elsewhere.client.getUser(), { data: null, error: null } as never)
      t.strictSame(events(), ['TOKEN_REFRESHED', 'TOKEN_REFRESHED'])
    })

    t.test('signs out here, elsewhere or everywhere, even when the access token has expired', async t => {
      for (const [scope, here, there] of [['local', null, {}], ['others', {}, null], ['global', null, null]] as const) {
        const { client, email } = await enter({ mode })
        const elsewhere = open({ mode })
        await elsewhere.client.signInWithPassword({ email, password })
        await expire()
        t.strictSame(await client.signOut({ scope }), { data: null, error: null })
        t.match((await client.getUser()).data, here, `${scope}: here`)
        t.match((await elsewhere.client.getUser()).data, there, `${scope}: there`)
      }
    })

    t.test('ends sessions and makes tokens', async t => {
      const { client, events } = await enter({ mode })
      t.match(
        await client.tokens.create({ name: 'nightly build', abilities: ['orders:read'] }),
        { data: { accessToken: /^lkp_/, token: { name: 'nightly build' } } }
      )
      await client.tokens.create({ name: 'weekly build' })
      const { data: newest } = await client.tokens.list({ limit: 1 })
      const { data: older } = await client.tokens.list({ cursor: newest?.nextCursor })
      t.match([newest?.tokens, older], [[{ name: 'weekly build' }], { tokens: [{ name: 'nightly build' }], nextCursor: null }])
      t.match(await client.tokens.list({ cursor: 'none' }), { data: null, error: { code: 'AUTH_CURSOR_REJECTED', field: 'cursor' } })
      const { data: made } = await client.tokens.list()
      for (const { id } of made?.tokens ?? []) t.strictSame(await client.tokens.end(id), { data: null, error: null })
      t.strictSame((await client.tokens.list()).data, { tokens: [], nextCursor: null })
      t.match(await client.sessions.end('../../v1/me'), { error: { code: 'AUTH_NOT_FOUND', status: 404 } })
      const { data: live } = await client.sessions.list()
      t.match(live, { sessions: [{ current: true }] })
      await client.sessions.end(live?.sessions[0]?.id ?? '')
      t.strictSame(events(), ['SIGNED_OUT'])
    })

    t.test('finds out on its own who is signed in, once the server can answer', async t => {
      const { browser, email } = await enter({ mode })
      if (mode === 'bearer') return
      browser.meet('/v1/session', { status: 503 })
      browser.meet('/v1/session', 'unreachable')
      const { told } = open({ mode }, browser)
      t.ok(await becomesTrue(() => told.length > 0, patienceMs))
      t.strictSame(told, [{ event: 'INITIAL_SESSION', email, error: null }])
    })
  })
}
