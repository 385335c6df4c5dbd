import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createMemoryStorage } from '../../clients/js/src/index.js'
import { operator } from '../../src/admin/service.js'
import { newEmail, password } from '../fixtures/app.js'
import { createBrowserFetch } from '../fixtures/browser-fetch.js'
import { modes, page, startScene } from './scene.js'

/** An application's own API: records what it was sent, and answers 401 or 200. */
async function startOwnApi (t: Test) {
  const api = { url: '', status: 200, requests: [] as Array<IncomingMessage['headers']> }
  const server = createServer(({ headers }, response) => {
    api.requests.push(headers)
    response.writeHead(api.status, { 'content-type': 'application/json' }).end('{"orders":[]}')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return api
}

t.test('fetch', async t => {
  const { one, url, open, enter, expire } = await startScene(t)
  const own = await startOwnApi(t)
  t.beforeEach(() => {
    own.requests.splice(0)
    own.status = 200
  })

  t.test('sends the token to Latchkey and to the named origins, and to no others', async t => {
    const storage = createMemoryStorage()
    const { client, browser } = await enter({ storage })
    t.equal((await client.fetch(`${own.url}/orders`)).status, 200)
    const named = open({ origins: [own.url], storage }, browser)
    t.equal((await named.client.fetch(new URL('/orders', own.url))).status, 200)
    t.equal(
      (await named.client.fetch(
        new Request(`${own.url}/orders`, { headers: { accept: 'text/plain' } }),
        { headers: { 'x-page': '1' } }
      )).status,
      200
    )
    t.match(own.requests, [{ authorization: undefined }, { authorization: /^Bearer lk_/ }, { authorization: /^Bearer lk_/, 'x-page': '1' }])
    t.equal(
      (await client.fetch('v1/me', { headers: { authorization: 'Basic x' } })).status,
      401,
      "a request with credentials of its own is nobody's business"
    )
    t.equal(browser.count('/v1/refresh'), 0)
  })

  t.test("refreshes once for another server's 401, and not for each later one", async t => {
    const { client, browser } = await enter({ origins: [own.url] })
    own.status = 401
    for (let i = 0; i < 3; i++) t.equal((await client.fetch(`${own.url}/orders`)).status, 401)
    t.equal(browser.count('/v1/refresh'), 1)
    t.match(await client.getSession(), { data: {}, error: null })
    await expire()
    t.equal((await client.fetch('v1/me')).status, 200)
    own.status = 200
    t.equal((await client.fetch(`${own.url}/orders`)).status, 200)
  })

  t.test('sends a body again, unless it is a stream', async t => {
    const { client } = await enter()
    await expire()
    const body = JSON.stringify({ name: 'Ada' })
    const headers = { 'content-type': 'application/json' }
    t.equal((await client.fetch(new Request(`${url}/v1/me`, { method: 'PATCH', headers, body }))).status, 200)
    await expire()
    t.equal((await client.fetch('v1/me', { method: 'PATCH', headers, body })).status, 200)
    await expire()
    const stream = new Blob([body]).stream()
    t.equal((await client.fetch('v1/me', { method: 'PATCH', headers, body: stream, duplex: 'half' } as RequestInit)).status, 401)
    t.equal(
      (await client.fetch('v1/me', { method: 'PATCH', headers, body: new Blob([body]).stream(), duplex: 'half' } as RequestInit)).status,
      401,
      'nor is it refreshed for'
    )
    t.equal((await client.fetch('v1/me')).status, 200)
  })

  t.test('rejects like fetch: without a connection, and when it is aborted', async t => {
    const { client, browser } = await enter()
    browser.meet('/v1/me', 'unreachable')
    await t.rejects(client.fetch('v1/me'), TypeError)
    await t.rejects(client.fetch('v1/me', { signal: AbortSignal.abort() }), { name: 'AbortError' })
    await expire()
    for (let i = 0; i < 3; i++) browser.meet('/v1/refresh', 'unreachable')
    await t.rejects(client.fetch('v1/me'), TypeError)
    t.match(await client.getSession(), { data: {} })
  })

  t.test('works like plain fetch while nobody is signed in', async t => {
    const { client, browser } = open()
    t.equal((await client.fetch('v1/me')).status, 401)
    t.match(browser.sent, [{ path: '/v1/me', authorization: null }])
  })

  t.test('reports a wrong server when a page answers in its place', async t => {
    const { client, browser } = open()
    browser.meet('/v1/login', { status: 200, body: '<!doctype html>' })
    t.match(
      await client.signInWithPassword({ email: newEmail(), password }),
      { data: null, error: { code: 'UNEXPECTED_REPLY', status: 200 } }
    )
    browser.meet('/v1/login', { status: 404, body: 'not here' })
    t.match(
      await client.signInWithPassword({ email: newEmail(), password }),
      { data: null, error: { code: 'UNEXPECTED_REPLY', status: 404 } }
    )
  })

  t.test('passes on the other fields of a refusal', async t => {
    const { client, browser } = open()
    const headers = { 'content-type': 'application/json' }
    browser.meet(
      '/v1/login',
      {
        status: 403,
        headers,
        body: JSON.stringify({
          code: 'AUTH_SECOND_FACTOR_REQUIRED',
          message: 'a second factor',
          challenge: 'lkc_1',
          factors: ['totp'],
          expiresIn: 300
        })
      }
    )
    t.strictSame(
      (await client.signInWithPassword({ email: newEmail(), password })).error,
      { code: 'AUTH_SECOND_FACTOR_REQUIRED', status: 403, message: 'a second factor', challenge: 'lkc_1', factors: ['totp'] }
    )
    browser.meet(
      '/v1/register',
      {
        status: 400,
        headers,
        body: JSON.stringify({ code: 'AUTH_PASSWORD_REJECTED', message: 'The password is common', field: 'password', reason: 'common' })
      }
    )
    t.strictSame(
      (await client.signUp({ email: newEmail(), password: 'password' })).error,
      { code: 'AUTH_PASSWORD_REJECTED', status: 400, message: 'The password is common', field: 'password', reason: 'common' }
    )
    browser.meet('/v1/register', { status: 202, headers, body: '{}' })
    t.strictSame(await client.signUp({ email: newEmail(), password }), { data: null, error: null }, 'it must be confirmed by mail')
  })

  t.test('does not depend on a clock that can be set', async t => {
    const { client, browser } = await enter()
    const real = Date.now
    t.teardown(() => { Date.now = real })
    for (const days of [-3, 3]) {
      Date.now = () => real() + days * 86_400_000
      t.equal((await client.fetch('v1/me')).status, 200)
    }
    t.equal(browser.count('/v1/refresh'), 0)
  })

  t.test('releases everything when it is disposed of', async t => {
    const { client, browser, told } = await enter()
    client.startAutoRefresh()
    client.dispose()
    await one.pass(1)
    t.strictSame(browser.sent, [])
    await client.signOut()
    t.strictSame(told, [])
  })
})

for (const mode of modes) {
  t.test(`${mode} mode: what needs the password again`, async t => {
    const { one, enter, expire } = await startScene(t)
    const { client, email, browser } = await enter({ mode })
    await expire()
    const create = () => client.tokens.create({ name: 'script' })

    t.test('is refused when no listener answers', async t => {
      t.match(await create(), { data: null, error: { code: 'AUTH_REAUTHENTICATE', status: 403 } })
    })

    t.test('is sent again with what a listener returns, and the listener is asked again while that is wrong', async t => {
      const asked: unknown[] = []
      const answers = [{ password: 'wrong' }, { password }]
      const { unsubscribe } = client.onAuthStateChange(async (event, session, error) => {
        if (event !== 'REAUTHENTICATION_REQUIRED') return null
        asked.push([session?.user.email, error?.code])
        t.match(await client.getUser(), { data: { user: { email } } }, 'it is allowed to call the client')
        return answers.shift()
      })
      t.match(await create(), { data: { accessToken: /^lkp_/ }, error: null })
      t.strictSame(asked, [[email, 'AUTH_REAUTHENTICATE'], [email, 'AUTH_WRONG_PASSWORD']])
      unsubscribe()
    })

    t.test("works for the application's own requests, and is given up when the form is closed", async t => {
      const answers = [{ password }, null]
      const { unsubscribe } = client.onAuthStateChange(event => event === 'REAUTHENTICATION_REQUIRED' ? answers.shift() : null)
      t.equal((await client.fetch('/v1/me', { method: 'DELETE', headers: { 'x-try': '1' } })).status, 204)
      unsubscribe()
      t.strictSame(await client.getUser(), { data: null, error: null })
      browser.sent.splice(0)
      await client.signUp({ email, password })
      await expire()
      const { unsubscribe: stop } = client.onAuthStateChange(event => event === 'REAUTHENTICATION_REQUIRED' ? answers.shift() : null)
      t.match(await create(), { error: { code: 'AUTH_REAUTHENTICATE' } })
      stop()
    })

    t.test('puts the password where the route wants it, which is not where that of a new account stands', async t => {
      const { data } = await client.getUser()
      await one.admin.setRole(operator, data?.user.id as string, 'admin')
      await expire()
      const answers = [{ password: 'wrong' }, { password }]
      const { unsubscribe } = client.onAuthStateChange(event => event === 'REAUTHENTICATION_REQUIRED' ? answers.shift() : null)
      const [other, chosen] = [newEmail(), 'chosen by another']
      const reply = await client.fetch('/v1/admin/users', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email: other, password: chosen, role: 'admin' })
      })
      unsubscribe()
      t.equal(reply.status, 201, await reply.text())
      t.equal(answers.length, 0)
      t.equal((await one.login(other, { password: chosen })).statusCode, 200)
      t.equal((await one.login(other)).statusCode, 401, 'the password of whoever made it opens nothing')
    })

    t.test('is sent again after a new sign-in', async t => {
      const { unsubscribe } = client.onAuthStateChange(async event => {
        if (event === 'REAUTHENTICATION_REQUIRED') await client.signInWithPassword({ email, password })
      })
      t.match(await create(), { data: { accessToken: /^lkp_/ }, error: null })
      unsubscribe()
    })
  })
}

t.test('a listener that throws is reported, and the others are still called', async t => {
  const { open } = await startScene(t)
  const { client, events } = open({}, createBrowserFetch(page))
  const reported: unknown[] = []
  const listeners = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.once('unhandledRejection', error => { reported.push(error) })
  client.onAuthStateChange(() => { throw new Error('of the application') })
  await client.getSession()
  await new Promise(resolve => setImmediate(resolve))
  for (const listener of listeners) process.on('unhandledRejection', listener)
  t.match(reported, [{ message: 'of the application' }])
  t.strictSame(events(), ['INITIAL_SESSION'])
})
