import t from 'tap'
import type { UseSession } from '../../clients/js/src/react.js'
import { embeddedGround, password, skipMissing } from '../fixtures/app.js'
import { openBrowser } from '../fixtures/browser.js'
import { openScene } from './client-scene.js'

/** `useSession` with React 19, in pages of a real browser. */

declare global {
  var shown: UseSession | undefined
  var unmount: () => void
}

const component = `
  import { StrictMode } from 'react'
  import { createRoot, hydrateRoot } from 'react-dom/client'
  import { renderToString } from 'react-dom/server.browser'
  import { AuthProvider, useSession } from 'latchkey-client/react'
  const element = document.getElementById('root')
  function Greeting () {
    const session = globalThis.shown = useSession()
    if (session.isPending) return <p>One moment</p>
    return <p>{session.data === null ? 'Nobody' : session.data.user.email}{session.error !== null && ' ' + session.error.code}</p>
  }
  const page = initialSession => <StrictMode><AuthProvider client={client} initialSession={initialSession}><Greeting /><Greeting /></AuthProvider></StrictMode>`

const mounted = `${component}
  globalThis.mount = () => {
    const tree = createRoot(element)
    tree.render(page())
    globalThis.unmount = () => tree.unmount()
  }
  mount()`

/** What a server would have sent, which React then takes over. */
const hydrated = `${component}
  const initial = { user: { email: 'from-the-server' }, session: {} }
  element.innerHTML = renderToString(page(initial))
  globalThis.before = element.innerText
  const tree = hydrateRoot(element, page(initial))`

const text = "document.getElementById('root').innerText"

t.test('useSession under StrictMode of React 19', { timeout: 120_000 }, async t => {
  const browser = await openBrowser(t)
  if (browser === null) return skipMissing(
    t,
    'needs Chromium and playwright-core: apt-get install chromium, or set TEST_CHROMIUM to its path, and npm ci'
  )

  t.test('shows who is signed in, whichever tab it happened in', async t => {
    const { open, email, count } = await openScene(t, await embeddedGround(), browser, { mode: 'cookie', source: mounted })
    const [first, second] = [await open(), await open()]
    for (const tab of [first, second]) await tab.waitForFunction(`${text} === 'Nobody\\n\\nNobody'`)
    t.equal(count('/v1/session'), 2, 'one request a page')
    await first.evaluate(`client.signInWithPassword({ email: '${email}', password: '${password}' })`)
    for (const tab of [first, second]) await tab.waitForFunction(`${text}.startsWith('${email}')`)

    await first.evaluate('unmount()')
    await second.evaluate('client.signOut()')
    await second.waitForFunction(`${text}.startsWith('Nobody')`)
    await first.evaluate('mount()')
    await first.waitForFunction(`${text}.startsWith('Nobody')`)
    t.strictSame([...first.complaints, ...second.complaints], [])
  })

  t.test('tells an outage apart from nobody, and goes on by itself', async t => {
    const { open, email, proxy } = await openScene(t, await embeddedGround(), browser, { mode: 'cookie', source: mounted })
    const { target } = proxy
    const first = await open()
    await first.evaluate(`client.signInWithPassword({ email: '${email}', password: '${password}' })`)
    proxy.target = 1
    const second = await open()
    await second.waitForFunction(`${text}.includes('NETWORK')`)
    t.equal(await first.evaluate(text), `${email}\n\n${email}`)
    proxy.target = target
    await second.waitForFunction(`${text} === '${email}\\n\\n${email}'`)
  })

  t.test('takes over what a server has rendered, then says what is true', async t => {
    const { open } = await openScene(t, await embeddedGround(), browser, { mode: 'cookie', source: hydrated })
    const tab = await open()
    t.equal(await tab.evaluate('before'), 'from-the-server\n\nfrom-the-server')
    await tab.waitForFunction(`${text} === 'Nobody\\n\\nNobody'`)
    t.strictSame(tab.complaints, [], 'nothing was rendered otherwise than on the server')
  })
})
