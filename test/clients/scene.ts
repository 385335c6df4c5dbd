import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { type AuthError, type AuthEvent, type ClientOptions, createClient } from '../../clients/js/src/index.js'
import { embeddedGround, newEmail, password, startApp } from '../fixtures/app.js'
import { createBrowserFetch } from '../fixtures/browser-fetch.js'

export type Mode = 'bearer' | 'cookie'
export const modes: Mode[] = ['bearer', 'cookie']
export const page = 'https://app.example.com'
export const quarterMs = 16 * 60_000

/** A server that a page at `page` may use, and its clients. */
export async function startScene (t: Test, env: Record<string, string> = {}) {
  const one = await startApp(
    t,
    await embeddedGround(),
    { env: { PUBLIC_URL: 'https://auth.example.com', CORS_ORIGINS: page, SESSION_LIMIT: '0', ...env } }
  )
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const url = `http://127.0.0.1:${(one.app.server.address() as AddressInfo).port}`

  /** A client, what it sends, and the events its listener gets. Clients with the same `browser` share its cookies. */
  function open (options: Partial<ClientOptions> = {}, browser = createBrowserFetch(page)) {
    const client = createClient({ url, mode: 'bearer', fetch: browser.fetch, ...options })
    t.teardown(() => client.dispose())
    const told: Array<{ event: AuthEvent, email: string | undefined, error: AuthError | null }> = []
    client.onAuthStateChange((event, session, error) => { told.push({ event, email: session?.user.email, error }) })
    return { client, browser, told, events: () => told.map(({ event }) => event) }
  }

  return {
    one, url, open,
    /** The same, with a signed-in account. */
    async enter (options: Partial<ClientOptions> = {}, browser?: ReturnType<typeof createBrowserFetch>) {
      const opened = open(options, browser)
      const email = newEmail()
      const { error } = await opened.client.signUp({ email, password })
      if (error !== null) throw new Error(`signing up was answered ${error.code}`)
      opened.told.splice(0)
      opened.browser.sent.splice(0)
      return { ...opened, email }
    },
    /** Makes every access token expire, as the server sees it. */
    expire: () => one.pass(quarterMs)
  }
}
