import t, { type Test } from 'tap'
import { embeddedGround, newEmail, skipMissing, startApp } from '../fixtures/app.js'
import { openBrowser } from '../fixtures/browser.js'
import { freePort } from '../fixtures/servers.js'
import { heading, signIn } from './pages-scene.js'
import { findProxy, host, type ProxyName, startApplication, startProxy } from './proxies-scene.js'

/** What docs/PROXIES.md promises people: real Chromium at an application behind real nginx and real Caddy. */

t.setTimeout(300_000)

for (const name of ['nginx', 'caddy'] as const) {
  t.test(`behind ${name} a browser is sent to the sign-in page, comes back signed in, and is sent there again after a logout`, async t => {
    if (findProxy(name) === null) return skipMissing(t, `needs ${name}: apt-get install ${name === 'nginx' ? 'nginx-light' : 'caddy'}`)
    await behind(t, name)
  })
}

async function behind (t: Test, name: ProxyName): Promise<void> {
  const scripts = await import(new URL('../../scripts/pages.js', import.meta.url).href) as { buildPages (): Promise<void> }
  await scripts.buildPages()
  const browser = await openBrowser(t, { loopback: [host] })
  if (browser === null) return skipMissing(t, 'needs Chromium and playwright-core: apt-get install chromium, or set TEST_CHROMIUM to its path, and npm ci')
  browser.setDefaultTimeout(60_000)
  const { port: app, seen } = await startApplication(t)
  const latchkey = await freePort()
  const proxy = await startProxy(t, name, { latchkey, app })
  const site = `https://${host}:${proxy.port}`
  const one = await startApp(t, await embeddedGround(), { env: { PUBLIC_URL: site, TRUST_PROXY: '127.0.0.1', SESSION_LIMIT: '0' } })
  await one.app.listen({ host: '127.0.0.1', port: latchkey })
  const email = newEmail()
  const { user } = (await one.register(email)).json<{ user: { id: string } }>()
  const ofOrders = () => seen.filter(({ url }) => url.startsWith('/orders'))

  const tab = await browser.newPage()
  const orders = `${site}/orders?page=2&q=a%26b`
  await tab.goto(orders)
  await heading(tab, 'Sign in')
  t.equal(new URL(tab.url()).pathname, '/account')
  t.equal(ofOrders().length, 0, 'the application has not been asked')

  await signIn(tab, email)
  await tab.waitForURL(orders)
  await tab.getByText('the application').waitFor()
  const headers = Object.fromEntries(ofOrders().at(-1)?.headers ?? [])
  t.match(headers, { 'x-auth-user': user.id, 'x-auth-abilities': '*' })
  t.equal(ofOrders().at(-1)?.url, '/orders?page=2&q=a%26b')

  const ask = (path: string, method = 'GET') => tab.evaluate(`fetch('${path}', { method: '${method}' }).then(reply => reply.status)`)
  t.equal(await ask('/api/orders'), 200)
  t.equal(await ask('/api/orders', 'POST'), 200, 'from a page of this very site')
  t.equal(await ask('/v1/logout', 'POST'), 204)
  t.equal(await ask('/api/orders'), 401, 'what no navigation is gets no page')
  const before = ofOrders().length
  await tab.goto(orders)
  await heading(tab, 'Sign in')
  t.equal(ofOrders().length, before, 'signed out there, signed out here')
}
