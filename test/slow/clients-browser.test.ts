import type { AddressInfo } from 'node:net'
import t from 'tap'
import { embeddedGround, newEmail, password, skipMissing, startApp } from '../fixtures/app.js'
import { createCertificate, openBrowser, servePage, serveProxy } from '../fixtures/browser.js'
import { readBlocks } from '../fixtures/document.js'

/** session.js of docs/CLIENTS.md, as it stands there, in a page of a real browser. */

const shown = readBlocks('docs/CLIENTS.md').find(({ info, text }) => info === 'js' && text.startsWith('// session.js\n'))?.text ?? ''

t.test('session.js keeps a user logged in across tabs, and shows no script a token', { timeout: 120_000 }, async t => {
  const browser = await openBrowser(t)
  const tls = createCertificate(t)
  if (browser === null || tls === null) return skipMissing(t, 'needs Chromium, playwright-core and openssl: apt-get install chromium openssl, and npm ci')
  const proxy = await serveProxy(t, tls)
  const api = `https://auth.latchkey.localhost:${proxy.port}`
  const html = `<!doctype html><link rel="icon" href="data:,"><script type="module">${shown.replaceAll('https://auth.example.com', api).replaceAll('export ', '')}
    Object.assign(window, { call, logIn, logOut, whoAmI })</script>`
  const page = `https://app.latchkey.localhost:${await servePage(t, html, tls)}`
  const one = await startApp(t, await embeddedGround(), { env: { PUBLIC_URL: api, CORS_ORIGINS: page } })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  proxy.target = (one.app.server.address() as AddressInfo).port
  const email = newEmail()
  await one.register(email)

  const [first, second] = [await browser.newPage(), await browser.newPage()]
  for (const tab of [first, second]) await tab.goto(page)
  const whoAmI = 'whoAmI().then(user => user && user.email)'
  t.equal(await first.evaluate(whoAmI), null)
  t.equal(await first.evaluate(`logIn(${JSON.stringify(email)}, ${JSON.stringify(password)}).then(reply => reply.status)`), 200)
  t.equal(await second.evaluate(whoAmI), email, 'the other tab is logged in too')
  t.equal(await first.evaluate('document.cookie'), '')

  await one.pass(16 * 60_000)
  t.strictSame(await Promise.all([first, second, first].map(tab => tab.evaluate(whoAmI))), [email, email, email], 'both refresh, and go on')
  t.ok(proxy.seen.some(({ url, status }) => url === '/v1/refresh' && status === 200))

  t.equal(await first.evaluate('logOut().then(reply => reply.status)'), 204)
  t.strictSame(await Promise.all([first, second].map(tab => tab.evaluate(whoAmI))), [null, null])
})
