import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { becomesTrue, embeddedGround, newEmail, password, patienceMs, startApp } from '../fixtures/app.js'
import { openShell, pattern, readBlocks } from '../fixtures/document.js'
import { compile, startCompiled } from '../fixtures/programs.js'

/** docs/CLIENTS.md, as it stands there. caller.js is run by test/oauth/oauth.test.ts, and session.js in a browser by test/slow/clients-browser.test.ts. */

t.setTimeout(240_000)

const address = 'https://auth.example.com'
const blocks = readBlocks('docs/CLIENTS.md')
const page = 'https://app.example.com'

interface Session { call (method: string, path: string, body?: object): Promise<Response>, logIn (email: string, password: string, device?: string): Promise<Response>, changePassword (current: string, next: string): Promise<Response>, logOut (everywhere?: boolean): Promise<void> }
interface Store { load (): Promise<string | null>, save (text: string): Promise<void>, clear (): Promise<void> }

t.test('every example is run by some test', async t => {
  t.strictSame(blocks.filter(({ info }) => info === 'js').map(({ text }) => text.split('\n', 1)[0]), ['// session.js', '// memory.js', '// tokens.js', '// caller.js'])
  t.strictSame([...new Set(blocks.map(({ info }) => info))].sort(), ['js', 'sh', 'text'])
})

t.test('each shell command prints what the document shows below it', async t => {
  await compile()
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-clients-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const { base } = await startCompiled(t, { DATA_DIR: dir, SESSION_LIMIT: '0' })
  const type = openShell(t, { env: { HOME: dir, DATA_DIR: dir } })
  for (const [i, { info, line, text, given }] of blocks.entries()) {
    if (info !== 'sh') continue
    if (given.includes('a caller')) {
      const reply = await fetch(`${base}/v1/register`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email: newEmail(), password }) })
      await type([`TOKEN=${(await reply.json() as { accessToken: string }).accessToken}`])
    }
    const { printed, exitCode } = await type(text.replaceAll(address, base).trimEnd().split('\n'))
    t.equal(exitCode, 0, `line ${line} ends well`, { printed })
    t.match(printed.join('\n').trimEnd(), pattern((blocks[i + 1]?.text ?? '').trimEnd()), `line ${line} prints what the document shows`)
  }
})

t.test('session.js, the browser app on the same site', async t => {
  const { one, base } = await startListening(t, { PUBLIC_URL: 'https://auth.example.com', CORS_ORIGINS: page })
  const browser = createBrowser()
  const { call, logIn, logOut, whoAmI } = await load<Session & { whoAmI (): Promise<{ email: string } | null> }>('session.js', base, browser.fetch)
  const email = newEmail()
  await one.register(email)

  t.equal(await whoAmI(), null, 'a stranger')
  t.equal((await logIn(email, 'a wrong password')).status, 401)
  t.equal(browser.count('/v1/refresh'), 1, 'a wrong password triggers no refresh')
  const login = await logIn(email, password)
  t.notMatch(await login.text(), /lkr?_/)
  t.equal((await whoAmI())?.email, email)

  await one.pass(16 * 60_000)
  browser.forget()
  t.strictSame(await Promise.all([1, 2, 3].map(async () => (await call('GET', '/v1/me')).status)), [200, 200, 200], 'all go on')
  t.equal(browser.count('/v1/refresh'), 1, 'by one refresh')

  browser.drop('__Host-latchkey')
  t.equal((await whoAmI())?.email, email, 'also after the browser has discarded the cookie')

  browser.drop('__Host-latchkey')
  browser.answer('/v1/refresh', 503)
  await t.rejects(whoAmI(), /503/, 'nobody is logged out because nobody can say')
  t.equal((await whoAmI())?.email, email)

  await logOut()
  t.equal(await whoAmI(), null)
  t.strictSame([...browser.cookies.keys()], [])
})

t.test('tokens.js, the mobile app, and memory.js, a browser app on another site', async t => {
  const { one, base } = await startListening(t, { CORS_ORIGINS: page, SESSION_LIMIT: '0' })
  const { createMemory } = await load<{ createMemory (): Store }>('memory.js', base, fetch)
  const browser = createBrowser()
  const { createSession } = await load<{ createSession (api: string, store: Store): Session }>('tokens.js', base, browser.fetch)
  const email = newEmail()
  await one.register(email)
  const expire = async () => {
    await one.pass(16 * 60_000)
    browser.forget()
  }

  t.test('logs in, lists its sessions by name, and refreshes once for parallel callers', async t => {
    const store = createMemory()
    const app = createSession(base, store)
    t.equal((await app.call('GET', '/v1/me')).status, 401)
    t.equal((await app.logIn(email, 'a wrong password', 'phone')).status, 401)
    t.equal((await app.logIn(email, password, "Ada's phone")).status, 200)
    const { sessions } = await (await app.call('GET', '/v1/sessions')).json() as { sessions: Array<{ deviceName: string | null, current: boolean }> }
    t.ok(sessions.some(({ deviceName, current }) => deviceName === "Ada's phone" && current))
    await expire()
    t.strictSame(await Promise.all([1, 2, 3].map(async () => (await app.call('GET', '/v1/me')).status)), [200, 200, 200])
    t.equal(browser.count('/v1/refresh'), 1)
  })

  t.test('starts again from what it has saved', async t => {
    const store = createMemory()
    await createSession(base, store).logIn(email, password, 'phone')
    const awake = createSession(base, store)
    t.equal((await awake.call('GET', '/v1/me')).status, 200)
  })

  t.test('after a lost reply it retries with the same token, and the session continues', async t => {
    const store = createMemory()
    const app = createSession(base, store)
    await app.logIn(email, password, 'phone')
    const before = await store.load()
    await expire()
    browser.lose('/v1/refresh')
    t.equal((await app.call('GET', '/v1/me')).status, 200)
    t.equal(browser.count('/v1/refresh'), 2)
    t.not(await store.load(), before)
    await expire()
    t.equal((await app.call('GET', '/v1/me')).status, 200, 'with the successor, too')
  })

  t.test('keeps its tokens while the server is unreachable, and drops them when the session is over', async t => {
    const store = createMemory()
    const app = createSession(base, store)
    await app.logIn(email, password, 'phone')
    await expire()
    browser.answer('/v1/refresh', 503)
    await t.rejects(app.call('GET', '/v1/me'), /503/)
    t.equal((await app.call('GET', '/v1/me')).status, 200)
    const { token } = await one.login(email).then(reply => ({ token: reply.json<{ accessToken: string }>().accessToken }))
    await one.call('POST', '/v1/logout-all', { token })
    t.equal((await app.call('GET', '/v1/me')).status, 401)
    t.equal(await store.load(), null)
  })

  t.test('changes the password and stays logged in, while other sessions end', async t => {
    const [mine, other] = [createMemory(), createMemory()]
    const [app, elsewhere] = [createSession(base, mine), createSession(base, other)]
    await app.logIn(email, password, 'phone')
    await elsewhere.logIn(email, password, 'laptop')
    t.equal((await app.changePassword('not the password', 'a quite different battery staple')).status, 403)
    t.equal((await app.changePassword(password, 'a quite different battery staple')).status, 200)
    t.equal((await elsewhere.call('GET', '/v1/me')).status, 401)
    await expire()
    t.equal((await app.call('GET', '/v1/me')).status, 200, 'with the new refresh token')
    t.equal((await app.changePassword('a quite different battery staple', password)).status, 200)
  })

  t.test('logs out with an expired access token, from one session or from all', async t => {
    for (const everywhere of [false, true]) {
      const [mine, other] = [createMemory(), createMemory()]
      const app = createSession(base, mine)
      const elsewhere = createSession(base, other)
      await app.logIn(email, password, 'phone')
      await elsewhere.logIn(email, password, 'laptop')
      const refreshToken = await mine.load()
      await expire()
      await app.logOut(everywhere)
      t.equal(await mine.load(), null)
      t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken } })).statusCode, 401)
      t.equal((await elsewhere.call('GET', '/v1/me')).status, everywhere ? 401 : 200)
    }
  })
})

async function startListening (t: Test, env: Record<string, string>) {
  const one = await startApp(t, await embeddedGround(), { env })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = one.app.server.address() as AddressInfo
  t.ok(await becomesTrue(() => one.epoch.state() === 'trusted', patienceMs))
  return { one, base: `http://127.0.0.1:${port}` }
}

let loads = 0

/** The example of that name as a module, with `fetch` as its own and the server's address in place of the document's. */
async function load<T> (name: string, base: string, fetch: typeof globalThis.fetch): Promise<T> {
  const shown = blocks.find(({ info, text }) => info === 'js' && text.startsWith(`// ${name}\n`))?.text ?? ''
  const key = `fetch${loads++}`
  Object.assign(globalThis, { [key]: fetch })
  return await import(`data:text/javascript,${encodeURIComponent(`const fetch = globalThis.${key}\n${shown.replaceAll(address, base)}`)}`) as T
}

/** A page's `fetch`: it keeps and sends cookies and sets Origin. Replies can be lost, or replaced by a proxy's. */
function createBrowser () {
  const cookies = new Map<string, string>()
  const asked: string[] = []
  const losses: string[] = []
  const answers = new Map<string, number>()

  async function browse (url: string | URL, init: RequestInit): Promise<Response> {
    const { pathname } = new URL(url)
    asked.push(pathname)
    const answer = answers.get(pathname)
    if (answers.delete(pathname)) return new Response('{"code":"AUTH_UNAVAILABLE"}', { status: answer as number })
    const sends = init.credentials === 'include' ? { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') } : {}
    const reply = await fetch(url, { ...init, headers: { origin: page, ...init.headers as Record<string, string>, ...sends } })
    for (const cookie of reply.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (/max-age=0/i.test(cookie)) cookies.delete(name)
      else cookies.set(name, value)
    }
    if (losses.includes(pathname)) {
      losses.splice(losses.indexOf(pathname), 1)
      throw new TypeError('fetch failed')
    }
    return reply
  }

  return {
    fetch: browse as typeof fetch,
    cookies,
    count: (path: string) => asked.filter(each => each === path).length,
    forget () { asked.length = 0 },
    drop: (name: string) => cookies.delete(name),
    lose: (path: string) => losses.push(path),
    answer: (path: string, status: number) => answers.set(path, status)
  }
}
