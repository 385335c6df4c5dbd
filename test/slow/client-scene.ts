import type { AddressInfo } from 'node:net'
import { build } from 'esbuild'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import type { AuthEvent, Client } from '../../clients/js/src/index.js'
import { type Ground, newEmail, startApp } from '../fixtures/app.js'
import { servePage, serveProxy } from '../fixtures/browser.js'
import { root } from '../fixtures/programs.js'

/** What pages of a scene have as globals. */
declare global {
  var client: Client
  var events: Array<[event: AuthEvent, email: string | undefined]>
}

const installed = `${root}test/slow/node_modules/`

/**
 * A module and all that it imports, as one script for a page; latchkey-client is the one in this repository, React that of the slow tests.
 */
export async function bundle (source: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root, loader: 'tsx' },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: {
      'latchkey-client': `${root}clients/js/src/index.ts`,
      'latchkey-client/react': `${root}clients/js/src/react.ts`,
      react: `${installed}react`,
      'react-dom': `${installed}react-dom`
    }
  })
  return outputFiles[0]?.text ?? ''
}

/** A page that runs `script` as a module. */
export const pageOf = (script: string): string =>
  `<!doctype html><title>page</title><link rel="icon" href="data:,"><div id="root"></div><script type="module">${script.replaceAll(
    '</script',
    '<\\/script'
  )}</script>`

/** What most pages do: a client, and what its listener is told. */
const plain = `
  client.onAuthStateChange((event, session) => { events.push([event, session?.user.email]) })`

/**
 * Latchkey behind a proxy that counts, and a page with a client: on another port of one site in cookie mode, on another site in bearer
 * mode. `source` is its script.
 */
export async function openScene (
  t: Test,
  ground: Ground,
  browser: BrowserContext,
  { mode, env = {}, source = plain }: { mode: 'cookie' | 'bearer', env?: Record<string, string>, source?: string }
) {
  // Ports don't part them.
  await browser.clearCookies()
  const proxy = await serveProxy(t, null)
  const api = `http://localhost:${proxy.port}`
  const script = await bundle(`
    import { createClient, createLocalStorage } from 'latchkey-client'
    globalThis.events = []
    globalThis.client = createClient({ url: '${api}', mode: '${mode}', storage: createLocalStorage() })
    ${source}`)
  const port = await servePage(t, pageOf(script), null)
  const page = `http://${mode === 'cookie' ? 'localhost' : '127.0.0.1'}:${port}`
  const one = await startApp(
    t,
    ground,
    { env: { PUBLIC_URL: api, CORS_ORIGINS: page, COOKIE_SECURE: 'false', SESSION_LIMIT: '0', ...env } }
  )
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  proxy.target = (one.app.server.address() as AddressInfo).port
  const email = newEmail()
  await one.register(email)

  return {
    one, proxy, api, page, email,
    /** A tab with the page, and what its console shows as an error. */
    async open (url = page): Promise<Page & { complaints: string[] }> {
      const tab = Object.assign(await browser.newPage(), { complaints: [] as string[] })
      tab.on('console', message => { if (message.type() === 'error') tab.complaints.push(message.text()) })
      tab.on('pageerror', error => { tab.complaints.push(String(error)) })
      await tab.goto(url)
      return tab
    },
    count: (url: string) => proxy.seen.filter(seen => seen.url === url && seen.method !== 'OPTIONS').length,
    statuses: (url: string) => proxy.seen.filter(seen => seen.url === url && seen.method !== 'OPTIONS').map(({ status }) => status)
  }
}
