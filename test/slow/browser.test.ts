import type { AddressInfo } from 'node:net'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { becomesTrue, embeddedGround, newEmail, password, skipMissing, startApp } from '../fixtures/app.js'
import { type Certificate, createCertificate, openBrowser, type Seen, servePage, serveProxy } from '../fixtures/browser.js'

/** Functions available on every page of these tests. */
const html = `<!doctype html><link rel="icon" href="data:,"><body><script>
async function call (method, url, body, more) {
  const init = { method, credentials: 'include', ...more }
  if (body !== undefined) Object.assign(init, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const reply = await fetch(url, init)
  return { status: reply.status, text: await reply.text() }
}
async function read (work) {
  try { return await work() } catch { return 'nothing' }
}
function blind (url, body) {
  return read(async () => (await fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body })).text())
}
function submit (url, enctype, target, fields) {
  const form = Object.assign(document.createElement('form'), { action: url, method: 'POST', enctype, target })
  for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }))
  document.body.append(form)
  form.submit()
}
function embed (tag, url) {
  return new Promise(resolve => {
    const element = Object.assign(document.createElement(tag), { onload: () => resolve('loaded'), onerror: () => resolve('nothing') })
    element[tag === 'link' ? 'href' : tag === 'object' ? 'data' : 'src'] = url
    if (tag === 'link') element.rel = 'stylesheet'
    document.body.append(element)
  })
}
</script>`

interface Reply { status: number, text: string }

/** Three hosts of one site and one of another site; the same four for http and https. */
interface Scene { scheme: 'http' | 'https', page: string, api: string, neighbour: string, names: [string, string] }

const plain: Scene = {
  scheme: 'http',
  page: 'localhost',
  api: 'localhost',
  neighbour: 'localhost',
  names: ['latchkey', 'latchkey-refresh']
}
const secure: Scene = {
  scheme: 'https',
  page: 'app.latchkey.localhost',
  api: 'api.latchkey.localhost',
  neighbour: 'evil.latchkey.localhost',
  names: ['__Host-latchkey', '__Host-latchkey-refresh']
}

/** The API, our own page in a real browser, and two hostile pages. */
async function openScene (t: Test, scene: Scene, browser: BrowserContext, tls: Certificate | null) {
  const { scheme } = scene
  const ours = `${scheme}://${scene.page}:${await servePage(t, html, tls)}`
  const neighbour = `${scheme}://${scene.neighbour}:${await servePage(t, html, tls)}`
  const stranger = `${scheme}://127.0.0.1:${await servePage(t, html, tls)}`
  const proxy = await serveProxy(t, tls)
  const api = `${scheme}://${scene.api}:${proxy.port}`
  const service = await startApp(
    t,
    await embeddedGround(),
    { env: { CORS_ORIGINS: ours, PUBLIC_URL: api, COOKIE_SECURE: String(scheme === 'https') } }
  )
  await service.app.listen({ host: '127.0.0.1', port: 0 })
  proxy.target = (service.app.server.address() as AddressInfo).port

  const spa = await browser.newPage()
  await spa.goto(ours)
  return {
    service, browser, api, ours, neighbour, stranger, spa, names: scene.names,
    call: (
      method: string,
      url: string,
      body?: object
    ) => run<Reply>(spa, `call(${JSON.stringify(method)}, ${JSON.stringify(api + url)}, ${JSON.stringify(body)})`),
    /** Latchkey's cookies in the browser, by name. */
    async cookies () {
      const all = await browser.cookies()
      return Object.fromEntries(all.filter(({ name }) => name.includes('latchkey')).map(cookie => [cookie.name, cookie]))
    },
    /** Runs an attempt with `mark` in its URL and returns the request that arrived. */
    async attempt (page: Page, mark: string, script: string): Promise<{ result: unknown, request: Seen }> {
      const result = await run<unknown>(page, script)
      const arrived = () => proxy.seen.findLast(({ url }) => url.endsWith(`?${mark}`))
      await becomesTrue(() => arrived() !== undefined, 60_000)
      const request = arrived()
      if (request === undefined) throw new Error(`${mark} never arrived`)
      return { result, request }
    }
  }
}

function run<T> (page: Page, script: string): Promise<T> {
  return page.evaluate<T>(script)
}

async function inBrowser (t: Test, body: (browser: BrowserContext) => Promise<void>): Promise<void> {
  const browser = await openBrowser(t)
  if (browser === null) skipMissing(
    t,
    'needs Chromium and playwright-core: apt-get install chromium, or set TEST_CHROMIUM to its path, and npm ci'
  )
  else await body(browser)
}

/** Our own page logs in, makes calls, refreshes and logs out; hostile pages attack in between. */
async function play (t: Test, scene: Scene, browser: BrowserContext, tls: Certificate | null): Promise<void> {
  const stage = await openScene(t, scene, browser, tls)
  const { api, call, cookies, spa, names: [access, refresh] } = stage
  const email = newEmail()
  const credentials = { email, password, cookies: true, refresh: true }
  const isLoggedIn = async () => (await call('GET', '/v1/me')).status === 200

  await t.test('our own page logs in, makes calls and refreshes, and no script sees a token', async t => {
    t.equal((await call('POST', '/v1/register', credentials)).status, 201)
    const login = await call('POST', '/v1/login', credentials)
    t.equal(login.status, 200, login.text)
    t.notMatch(login.text, /lkr?_/)
    const kept = await cookies()
    t.strictSame(Object.keys(kept).sort(), [access, refresh])
    for (const cookie of Object.values(kept)) t.match(
      cookie,
      { domain: scene.api, path: '/', httpOnly: true, secure: tls !== null, sameSite: 'Strict' }
    )
    t.match(JSON.parse((await call('GET', '/v1/me')).text), { user: { email } })

    const renewed = await call('POST', '/v1/refresh')
    t.equal(renewed.status, 200, renewed.text)
    t.notMatch(renewed.text, /lkr?_/)
    for (const name of [access, refresh]) t.not((await cookies())[name]?.value, kept[name]?.value)
    t.ok(await isLoggedIn())
    t.equal(await run(spa, 'document.cookie'), '')
    t.match(
      await call('PUT', '/v1/password', { currentPassword: 'wrong', newPassword: password }),
      { status: 403, text: /AUTH_WRONG_PASSWORD/ },
      'it may read errors too'
    )
  })

  const attacker = newEmail()
  await stage.service.register(attacker)
  for (const [who, origin, sameSite] of [
    ['a page on the same site', stage.neighbour, true],
    ['a page on another site', stage.stranger, false]
  ] as const) {
    await t.test(`${who} gets nothing and changes nothing`, async t => {
      const before = await cookies()
      const hostile = await browser.newPage()
      await hostile.goto(origin)
      t.equal(await run(hostile, 'document.cookie'), '')

      const login = JSON.stringify({ email: attacker, password, cookies: true })
      const json = JSON.stringify(login)
      // One frame per form: a reply still loading into a frame would cancel the next form's navigation.
      const frame = "(made => { document.body.append(made); return made.name })(Object.assign(document.createElement('iframe'), { name: 'frame-' + Math.random() }))"
      const posts: Array<[string, (url: string) => string]> = [
        ['text', url => `blind('${url}', ${json})`],
        ['untyped', url => `blind('${url}', new Blob([${json}]))`],
        ['bytes', url => `blind('${url}', new TextEncoder().encode(${json}))`],
        ['urlencoded', url => `blind('${url}', new URLSearchParams({ email: 'x' }))`],
        ['multipart', url => `blind('${url}', new FormData())`],
        ['empty', url => `blind('${url}')`],
        ['beacon', url => `navigator.sendBeacon('${url}', ${json}) && 'nothing'`],
        ['form', url => `submit('${url}', 'application/x-www-form-urlencoded', ${frame}, { email: 'x' })`],
        ['form-multipart', url => `submit('${url}', 'multipart/form-data', ${frame}, { email: 'x' })`],
        ['form-text', url => `submit('${url}', 'text/plain', ${frame}, { ${JSON.stringify(login.slice(0, -1))}: '}' })`],
        ['form-top', url => `submit('${url}', 'application/x-www-form-urlencoded', '_blank', {})`]
      ]
      for (const route of ['/v1/logout', '/v1/logout-all', '/v1/refresh', '/v1/login']) {
        for (const [how, script] of posts) {
          const mark = `${how}-${route.slice(4)}-${sameSite}`
          const { result, request } = await stage.attempt(hostile, mark, script(`${api}${route}?${mark}`))
          t.ok([undefined, '', 'nothing'].includes(result as undefined), `${mark} read ${String(result)}`)
          t.ok((route === '/v1/login' ? [400, 403, 415] : [401, 403, 415]).includes(request.status), `${mark} got ${request.status}`)
          t.notOk(request.sets, `${mark} sets no cookie`)
          t.equal(request.cookies.includes(access), sameSite, `SameSite=Strict ${sameSite ? 'does not help' : 'helps'}: ${mark}`)
          if (sameSite &&
            route !== '/v1/login') t.ok([403, 415].includes(request.status), `${mark} is refused though the cookie came along`)
        }
      }

      for (const [method, route, body] of [
        ['POST', '/v1/logout', {}],
        ['POST', '/v1/login', JSON.parse(login)],
        ['DELETE', '/v1/sessions'],
        ['PUT', '/v1/password', { currentPassword: password, newPassword: 'taken over by now' }],
        ['GET', '/v1/me']
      ] as const) {
        const mark = `cors-${method}-${route.slice(4)}-${sameSite}`
        const { result, request } = await stage.attempt(
          hostile,
          mark,
          `read(() => call('${method}', '${api}${route}?${mark}', ${JSON.stringify(body)}))`
        )
        t.equal(result, 'nothing', mark)
        t.equal(request.method, method === 'GET' ? 'GET' : 'OPTIONS', `${mark} gets no further than its preflight`)
      }

      for (const tag of ['img', 'script', 'link', 'object', 'iframe', 'video']) {
        const mark = `${tag}-${sameSite}`
        const { result } = await stage.attempt(hostile, mark, `embed('${tag}', '${api}/v1/me?${mark}')`)
        // A frame reports the browser's error page as loaded; its document cannot be read.
        if (tag !== 'iframe') t.equal(result, 'nothing', mark)
      }
      t.equal(
        await run(hostile, "read(() => [...frames].map(frame => frame.document.body.innerText).join() || 'nothing')"),
        'nothing',
        'no frame can be read'
      )
      const mark = `popup-${sameSite}`
      await stage.attempt(hostile, mark, `void (window.popup = window.open('${api}/v1/me?${mark}'))`)
      t.ok(
        await becomesTrue(async () => await run(hostile, 'read(() => popup.document.body.innerText)') === 'nothing', 60_000),
        'nor a window, once it has left its blank page'
      )

      for (const page of browser.pages()) if (page !== spa) await page.close()
      t.strictSame(await cookies(), before, 'the cookies are as they were')
      t.match(JSON.parse((await call('GET', '/v1/me')).text), { user: { email } })
      t.equal(JSON.parse((await call('GET', '/v1/sessions')).text).sessions.length, 1)
      t.equal((await call('POST', '/v1/refresh')).status, 200)
    })
  }

  await t.test('logging out removes the cookies from the browser, and the refresh cookie alone is enough for it', async t => {
    t.equal((await call('POST', '/v1/logout')).status, 204)
    t.strictSame(await cookies(), {})
    t.notOk(await isLoggedIn())

    t.equal((await call('POST', '/v1/login', credentials)).status, 200)
    await browser.clearCookies({ name: access })
    t.notOk(await isLoggedIn())
    t.equal((await call('POST', '/v1/refresh')).status, 200)
    t.ok(await isLoggedIn(), 'renewed')

    await browser.clearCookies({ name: access })
    t.equal((await call('POST', '/v1/logout')).status, 204)
    t.strictSame(await cookies(), {})
  })

  await t.test('another subdomain cannot put its own session under our page', async t => {
    const { accessToken: planted } = (await stage.service.login(attacker)).json<{ accessToken: string }>()
    const hostile = await browser.newPage()
    await hostile.goto(stage.neighbour)
    t.equal((await call('POST', '/v1/login', credentials)).status, 200)
    for (const attributes of [
      'path=/',
      'path=/v1',
      'path=/v1/me',
      'path=/; domain=latchkey.localhost',
      'path=/v1; domain=latchkey.localhost',
      `path=/; domain=${scene.api}`
    ]) {
      for (const name of [access, 'latchkey', '']) {
        for (const flag of [
          '',
          '; secure'
        ]) await run(hostile, `void (document.cookie = '${name}=${name === '' ? `${access}=` : ''}${planted}; ${attributes}${flag}')`)
      }
    }
    const me = await call('GET', '/v1/me')
    // Without the prefix another subdomain can block a login but not take it over: of two cookies with one name neither counts.
    if (tls === null) t.match(me, { status: 401, text: /AUTH_MISSING_TOKEN/ })
    else t.match(JSON.parse(me.text), { user: { email } })
  })
}

t.test('over http', t => inBrowser(t, browser => play(t, plain, browser, null)))

t.test('over TLS, where the __Host- names are real', t => inBrowser(t, async browser => {
  const tls = createCertificate(t)
  if (tls === null) skipMissing(t, 'needs openssl: apt-get install openssl')
  else await play(t, secure, browser, tls)
}))
