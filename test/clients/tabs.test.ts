import t from 'tap'
import { createLocalStorage, createMemoryStorage, createSecureStorage, type TokenStorage } from '../../clients/js/src/index.js'
import { becomesTrue, password, patienceMs } from '../fixtures/app.js'
import { createBrowserFetch } from '../fixtures/browser-fetch.js'
import { modes, page, startScene } from './scene.js'

/** Storages, and several clients that share a session, as tabs do. test/slow/client-browser.test.ts does the same in real tabs. */

const area = new Map<string, string>()
const localStorage = {
  getItem: (key: string) => area.get(key) ?? null,
  setItem: (key: string, text: string) => { area.set(key, text) },
  removeItem: (key: string) => { area.delete(key) }
}
Object.assign(globalThis, { location: { href: `${page}/`, origin: page, hostname: '127.0.0.1' }, localStorage })
t.beforeEach(() => area.clear())

/** localStorage for a tab that gets no messages from the others. */
function deafStorage (): TokenStorage {
  const { shared: _shared, ...storage } = createLocalStorage()
  return storage
}

for (const mode of modes) {
  t.test(`${mode} mode, several tabs`, async t => {
    const { one, url, open, enter, expire } = await startScene(t)
    const refreshes = () => one.counters.refreshes.succeeded + one.counters.refreshes.repeated

    t.test('refresh once between them, and are all notified', async t => {
      const first = await enter({ mode, storage: createLocalStorage() })
      const others = [1, 2].map(() => open({ mode, storage: createLocalStorage() }, first.browser))
      for (const { client } of others) t.match(await client.getSession(), { data: { user: { email: first.email } } })
      await expire()
      const before = refreshes()
      t.strictSame(
        await Promise.all([first, ...others].map(async ({ client }) => (await client.fetch(`${url}/v1/me`)).status)),
        [200, 200, 200]
      )
      t.equal(refreshes() - before, 1)
      for (const { events } of [first, ...others]) t.ok(await becomesTrue(() => events().at(-1) === 'TOKEN_REFRESHED', patienceMs))

      await others[0]?.client.updateUser({ name: 'Ada' })
      for (const { events } of [first, ...others]) t.ok(await becomesTrue(() => events().at(-1) === 'USER_UPDATED', patienceMs))
      await others[1]?.client.signOut()
      for (const { events } of [first, ...others]) t.ok(await becomesTrue(() => events().at(-1) === 'SIGNED_OUT', patienceMs))
      t.strictSame(first.events(), ['TOKEN_REFRESHED', 'USER_UPDATED', 'SIGNED_OUT'])
    })

    t.test('refresh once between them after a pause that was longer than their window', async t => {
      const first = await enter({ mode, storage: createLocalStorage() })
      const second = open({ mode, storage: createLocalStorage() }, first.browser)
      await second.client.getSession()
      await expire()
      first.browser.sent.splice(0)
      const { postMessage } = BroadcastChannel.prototype
      t.teardown(() => Object.assign(BroadcastChannel.prototype, { postMessage }))
      let asked = 0
      // Both have asked, and nothing is delivered before their timers have run out.
      Object.assign(BroadcastChannel.prototype, {
        postMessage (this: object, message: unknown) {
          Reflect.apply(postMessage, this, [message])
          if (++asked === 2) process.nextTick(() => { for (const until = Date.now() + 100; Date.now() < until;); })
        }
      })
      for (const { error } of await Promise.all([first, second].map(({ client }) => client.refreshSession()))) t.equal(error, null)
      t.equal(first.browser.count('/v1/refresh'), 1)
    })

    t.test('share the reason why a refresh failed', async t => {
      const first = await enter({ mode, storage: createLocalStorage() })
      const second = open({ mode, storage: createLocalStorage() }, first.browser)
      await second.client.getSession()
      await expire()
      first.browser.sent.splice(0)
      first.browser.meet('/v1/refresh', { status: 503, headers: { 'retry-after': '30' } })
      const [one, other] = await Promise.all([first, second].map(({ client }) => client.refreshSession()))
      t.match(
        [one, other],
        Array(2).fill({ data: { user: { email: first.email } }, error: { code: 'AUTH_UNAVAILABLE', retryAfterSeconds: 30 } })
      )
      t.equal(first.browser.count('/v1/refresh'), 1)
    })

    t.test('continue when the tab that was about to refresh is gone', { skip: mode === 'cookie' && 'as with tokens' }, async t => {
      const { client, browser } = await enter({ mode, storage: createLocalStorage() })
      const channel = new BroadcastChannel(`latchkey/1 ${mode === 'cookie' ? url : 'latchkey'}`)
      t.teardown(() => channel.close())
      channel.postMessage({ from: 'frozen', claim: { firm: true } })
      await new Promise(resolve => setTimeout(resolve, 50))
      const refreshed = client.refreshSession()
      t.notOk(await becomesTrue(() => browser.count('/v1/refresh') > 0, 200), 'the client waits for it')
      t.match(await refreshed, { data: {}, error: null })
      t.equal(browser.count('/v1/refresh'), 1)
    })

    t.test('a reply that arrives after signing out does not restore the session', async t => {
      const { client, browser, events } = await enter({ mode, storage: createLocalStorage() })
      const release = browser.hold('/v1/refresh')
      const refreshed = client.refreshSession()
      t.ok(await becomesTrue(() => browser.count('/v1/refresh') === 1, patienceMs))
      await client.signOut()
      release()
      t.strictSame(await refreshed, { data: null, error: null })
      t.equal(area.get('latchkey'), undefined)
      t.strictSame(events(), ['SIGNED_OUT'])
    })
  })
}

t.test('a storage', async t => {
  const { one, url, open, enter, expire } = await startScene(t, { REFRESH_GRACE: '1s' })
  const reused = () => one.counters.refreshes.reused

  t.test('is read before a token is refused, used or replaced: a tab that was asleep takes over what others received', async t => {
    const first = await enter({ storage: deafStorage() })
    const slept = open({ storage: deafStorage() })
    await slept.client.getSession()
    await expire()
    t.equal((await first.client.fetch(`${url}/v1/me`)).status, 200)
    await one.pass(5_000)
    t.equal((await slept.client.fetch(`${url}/v1/me`)).status, 200, 'after a refusal')
    await first.client.refreshSession()
    await one.pass(5_000)
    t.match(await slept.client.refreshSession(), { data: { user: { email: first.email } }, error: null }, 'before a refresh')
    t.equal(slept.browser.count('/v1/refresh'), 0)
    t.strictSame(slept.events(), ['INITIAL_SESSION', 'TOKEN_REFRESHED', 'TOKEN_REFRESHED'])
    await first.client.signOut()
    t.strictSame(await slept.client.refreshSession(), { data: null, error: null })
    t.equal(reused(), 0)
  })

  t.test('is never overwritten with anything older', async t => {
    const { client, browser } = await enter({ storage: deafStorage() })
    const old = area.get('latchkey') as string
    await client.refreshSession()
    const newer = area.get('latchkey')
    area.set('latchkey', old)
    await one.pass(5_000)
    t.match(await client.updateUser({ name: 'Ada' }), { error: null })
    t.match(JSON.parse(area.get('latchkey') as string), { user: { name: 'Ada' }, refreshToken: JSON.parse(newer as string).refreshToken })
    t.match(await client.refreshSession(), { data: {}, error: null })
    t.equal(browser.count('/v1/refresh'), 2)
    t.equal(reused(), 0)
  })

  t.test('that is slow gets one text after another', async t => {
    const memory = createMemoryStorage()
    const slowly = async <T>(work: () => Promise<T>) => {
      await new Promise(resolve => setTimeout(resolve, 50))
      return await work()
    }
    const { client } = await enter({
      storage: { load: () => slowly(memory.load), save: text => slowly(() => memory.save(text)), clear: memory.clear }
    })
    await Promise.all([client.refreshSession(), new Promise(resolve => setTimeout(resolve, 60)).then(() => client.signOut())])
    t.equal(await memory.load(), null)
    t.strictSame(await client.getSession(), { data: null, error: null })
  })

  t.test('that fails signs nobody out', async t => {
    const memory = createMemoryStorage()
    let works = true
    const attempt = <T>(work: () => Promise<T>) => works ? work() : Promise.reject(new Error('locked'))
    const storage = {
      load: () => attempt(memory.load),
      save: (text: string) => attempt(() => memory.save(text)),
      clear: () => attempt(memory.clear)
    }
    const { client, email } = await enter({ storage })
    works = false
    const stranger = open({ storage })
    t.match(await stranger.client.getSession(), { data: null, error: { code: 'STORAGE', status: 0 } })
    t.match(await client.getSession(), { data: { user: { email } }, error: null })
    t.match(await client.refreshSession(), { data: { user: { email } }, error: { code: 'STORAGE' } })
    works = true
    t.ok(await becomesTrue(() => stranger.told.length > 0, patienceMs))
    t.strictSame(stranger.told.map(({ event, email }) => [event, email]), [['INITIAL_SESSION', email]])

    const full = await enter({ storage: { ...memory, save: () => Promise.reject(new Error('full')) } })
    await expire()
    for (let i = 0; i < 2; i++) t.equal((await full.client.fetch(`${url}/v1/me`)).status, 200)
    t.match(await full.client.refreshSession(), { data: { user: { email: full.email } }, error: null })
  })

  t.test('in a keychain holds only the refresh token, and restores the session when an application starts', async t => {
    const kept = new Map<string, string>()
    const keychain = {
      getItemAsync: async (key: string) => kept.get(key) ?? null,
      setItemAsync: async (key: string, text: string) => { kept.set(key, text) },
      deleteItemAsync: async (key: string) => { kept.delete(key) }
    }
    const { client, browser, email } = await enter({ storage: createSecureStorage(keychain) })
    t.match([...kept], [['latchkey', /^lkr_\w+$/]])
    await client.updateUser({ name: 'ä'.repeat(200) })
    await expire()
    for (let i = 0; i < 3; i++) t.equal((await client.fetch(`${url}/v1/me`)).status, 200)
    t.equal(browser.count('/v1/refresh'), 1)
    t.ok(Buffer.byteLength(kept.get('latchkey') ?? '') < 2_048)

    const awake = open({ storage: createSecureStorage(keychain) })
    t.match(await awake.client.getSession(), { data: { user: { email } }, error: null })
    t.equal((await awake.client.fetch(`${url}/v1/me`)).status, 200)
    t.strictSame(awake.browser.sent.map(({ path, status }) => [path, status]), [['/v1/refresh', 200], ['/v1/me', 200]])
    await awake.client.signOut()
    t.equal(kept.size, 0)

    const asleep = await enter({ storage: createSecureStorage(keychain) })
    const offline = createBrowserFetch(page)
    for (let i = 0; i < 3; i++) offline.meet('/v1/refresh', 'unreachable')
    t.match(await open({ storage: createSecureStorage(keychain) }, offline).client.getSession(), { data: null, error: { code: 'NETWORK' } })
    t.equal(kept.size, 1)
    t.match(await asleep.client.getSession(), { error: null })
  })

  t.test('that is forbidden is replaced by memory', async t => {
    for (const value of [undefined, { ...localStorage, setItem () { throw new Error('full') } }]) {
      Object.assign(globalThis, { localStorage: value })
      t.teardown(() => Object.assign(globalThis, { localStorage }))
      const { client, browser } = await enter({ storage: createLocalStorage() })
      await expire()
      t.equal((await client.fetch(`${url}/v1/me`)).status, 200)
      t.equal(browser.count('/v1/refresh'), 1)
      t.strictSame(await client.signOut(), { data: null, error: null })
      t.strictSame(await client.getSession(), { data: null, error: null })
    }
  })

  t.test('that holds something else counts as empty', async t => {
    for (const text of ['', 'nonsense', 'null', '[]', '{"refreshToken":5}']) {
      const storage = createMemoryStorage()
      await storage.save(text)
      const { client, browser } = open({ storage })
      t.strictSame(await client.getSession(), { data: null, error: null })
      t.strictSame(browser.sent, [])
    }
  })
})

t.test('cookies that the browser drops are reported at sign-in', async t => {
  const { enter, open } = await startScene(t)
  const { email } = await enter()
  const { client, browser, told } = open({ mode: 'cookie' })
  const { location } = globalThis as unknown as { location: { hostname: string } }
  location.hostname = 'localhost'
  t.teardown(() => { location.hostname = '127.0.0.1' })
  t.match(await client.signInWithPassword({ email, password }), { data: { user: { email } } }, 'these were kept')
  await client.signOut()
  told.splice(0)
  browser.cookies.set = () => browser.cookies
  t.match(await client.signInWithPassword({ email, password }), { data: null, error: { code: 'COOKIES_BLOCKED' } })
  t.strictSame(told, [])
})
