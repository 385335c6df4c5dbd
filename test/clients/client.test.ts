import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { type AuthEvent, type ClientOptions, createClient, } from '../../clients/js/src/index.js'
import { becomesTrue, embeddedGround, newEmail, password, patienceMs, startApp } from '../fixtures/app.js'
import { createBrowserFetch } from '../fixtures/browser-fetch.js'

const page = 'https://app.example.com'

async function startServer (t: Test, env: Record<string, string> = {}) {
  const one = await startApp(t, await embeddedGround(), { env: { PUBLIC_URL: 'https://auth.example.com', CORS_ORIGINS: page, SESSION_LIMIT: '0', ...env } })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const url = `http://127.0.0.1:${(one.app.server.address() as AddressInfo).port}`

  /** A client, what it sends, and what its listener was told. */
  const open = (options: Partial<ClientOptions> = {}, browser = createBrowserFetch(page)) => {
    const client = createClient({ url, mode: 'bearer', fetch: browser.fetch, ...options })
    t.teardown(() => client.dispose())
    const events: Array<[AuthEvent, string | undefined]> = []
    const follow = () => client.onAuthStateChange((event, session) => { events.push([event, session?.user.email]) })
    return { client, browser, events, follow }
  }
  return { one, url, open }
}

for (const mode of ['bearer'] as Array<'bearer' | 'cookie'>) {
  t.test(`${mode} mode`, async t => {
    const { one, open } = await startServer(t)
    t.test('signs in, is somebody, and signs out', async t => {
      const { client, browser, events, follow } = open({ mode })
      follow()
      t.strictSame(await client.getSession(), { data: null, error: null })
      t.strictSame(browser.sent.map(({ path, status }) => [path, status]), mode === 'cookie' ? [['/v1/session', 200]] : [], 'what a stranger costs')
      const email = newEmail()
      t.match(await client.signUp({ email, password, deviceName: 'laptop' }), { data: { user: { email }, session: { deviceName: 'laptop' } }, error: null })
      t.match(await client.getUser(), { data: { user: { email } }, error: null })
      t.match(await client.sessions.list(), { data: { sessions: [{ current: true }] } })
      t.strictSame(await client.signOut(), { data: null, error: null })
      t.strictSame(await client.getSession(), { data: null, error: null })
      t.match(await client.signInWithPassword({ email, password: 'wrong' }), { data: null, error: { code: 'AUTH_INVALID_CREDENTIALS', status: 401 } })
      t.match(await client.signInWithPassword({ email, password }), { data: { user: { email } } })
      await one.pass(16 * 60_000)
      browser.sent.splice(0)
      t.strictSame(await Promise.all([1, 2, 3].map(async () => (await client.fetch('/v1/me')).status)), [200, 200, 200])
      t.equal(browser.count('/v1/refresh'), 1)
      t.match(await client.refreshSession(), { data: { user: { email } }, error: null })
      t.ok(await becomesTrue(() => events.length >= 6, patienceMs))
      t.strictSame(events, [['INITIAL_SESSION', undefined], ['SIGNED_IN', email], ['SIGNED_OUT', undefined], ['SIGNED_IN', email], ['TOKEN_REFRESHED', email], ['TOKEN_REFRESHED', email]])
    })
  })
}
