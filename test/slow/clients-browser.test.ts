import { createServer, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { embeddedGround, newEmail, password, skipMissing, startApp } from '../fixtures/app.js'
import { openBrowser } from '../fixtures/browser.js'
import { readBlocks } from '../fixtures/document.js'
import { bundle, pageOf } from './client-scene.js'

/**
 * The browser examples of docs/CLIENTS.md and README.md as they stand there, in pages of a real browser, behind the proxy that they
 * recommend.
 */

const blocks = [...readBlocks('docs/CLIENTS.md'), ...readBlocks('README.md')]
const shown = (name: string) => blocks.find(({ text }) => text.startsWith(`// ${name}\n`))?.text ?? ''
const local = (text: string) => text.replaceAll('https://auth.example.com', '/')
const missing = 'needs Chromium and playwright-core: apt-get install chromium, or set TEST_CHROMIUM to its path, and npm ci'

/** A dev server as vite.config.js sets it up: pages of its own, and what its proxy names goes to Latchkey, which is set up by nothing. */
async function startDevServer (t: Test, html: string) {
  const { default: config } = await import(
    `data:text/javascript,${encodeURIComponent(shown('vite.config.js'))}`
  ) as { default: { server: { proxy: Record<string, string> } } }
  t.strictSame(Object.values(config.server.proxy), ['http://localhost:3000'], 'where Latchkey is without PORT')
  const one = await startApp(t, await embeddedGround())
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = one.app.server.address() as AddressInfo
  const server = createServer((request, response) => {
    const { url = '', method, headers } = request
    if (!Object.keys(config.server.proxy).some(path =>
      url.startsWith(path))) return response.setHeader('content-type', 'text/html').end(html)
    return request.pipe(send({ port, path: url, method, headers }, reply => {
      response.writeHead(reply.statusCode ?? 502, reply.headers)
      reply.pipe(response)
    }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const email = newEmail()
  await one.register(email)
  return { one, email, page: `http://localhost:${(server.address() as AddressInfo).port}` }
}

t.test('page.js and app.jsx sign a user in, across tabs, and show no script a token', { timeout: 120_000 }, async t => {
  const browser = await openBrowser(t)
  if (browser === null) return skipMissing(t, missing)
  const script = await bundle(local(`${shown('page.js')}${shown('app.jsx').replace(/import .* from '.\/page.js'\n/, '')}
    import { createRoot } from 'react-dom/client'
    createRoot(document.getElementById('root')).render(<App />)
    Object.assign(globalThis, { client, signIn })`))
  const { one, email, page } = await startDevServer(t, pageOf(script))
  const tabs = [await browser.newPage(), await browser.newPage()] as const
  for (const tab of tabs) {
    await tab.goto(page)
    await tab.waitForFunction("document.title === 'Nobody' && document.body.innerText === 'Sign in'")
  }
  t.equal(await tabs[0].evaluate(`signIn('${email}', '${password}').then(({ error }) => error)`), null)
  for (const tab of tabs) await tab.waitForFunction(`document.title === '${email}' && document.body.innerText === 'Sign out ${email}'`)
  t.equal(await tabs[0].evaluate('document.cookie'), '')
  await one.pass(16 * 60_000)
  t.strictSame(await Promise.all(tabs.map(tab => tab.evaluate("client.fetch('/v1/me').then(({ status }) => status)"))), [200, 200])
  await tabs[1].click('button')
  for (const tab of tabs) await tab.waitForFunction("document.title === 'Nobody' && document.body.innerText === 'Sign in'")
})

t.test("README's sign-in takes ten lines at most, and is one", { timeout: 120_000 }, async t => {
  const browser = await openBrowser(t)
  if (browser === null) return skipMissing(t, missing)
  const lines = shown('main.js').trimEnd().split('\n').slice(1)
  t.ok(lines.length >= 5 && lines.length <= 10, `${lines.length} lines`)
  const { email, page } = await startDevServer(t, pageOf(await bundle(local(shown('main.js')))))
  const tab = await browser.newPage()
  await tab.goto(page)
  await tab.fill('input[name=email]', email)
  await tab.fill('input[name=password]', 'wrong')
  await tab.click('button')
  await tab.waitForFunction("document.body.innerText.includes('The email or the password is wrong')")
  await tab.fill('input[name=password]', password)
  await tab.click('button')
  await tab.waitForFunction(`document.body.innerText.includes('${email}')`)
  await tab.reload()
  await tab.waitForFunction(`document.body.innerText.includes('${email}')`)
})
