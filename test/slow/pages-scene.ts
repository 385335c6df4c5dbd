import type { AddressInfo } from 'node:net'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import { type Ground, newEmail, password, serverGround, skipMissing, startApp } from '../fixtures/app.js'
import { openBrowser, serveProxy } from '../fixtures/browser.js'
import { createPostbox } from '../fixtures/mail.js'
import { findPostgres, findRedis } from '../fixtures/servers.js'

/** A tab, and what its console shows as an error. */
export type Tab = Page & { complaints: string[] }

export type Scene = Awaited<ReturnType<typeof openPages>>

/** What the tests of a file share: a browser, and for each environment an instance on a ground of its own, for mails are sent by any. */
export interface Stage { browser: BrowserContext, instances: Map<string, ReturnType<typeof startInstance>>, t: Test }

/** Null if something is missing. */
export async function openStage (t: Test): Promise<Stage | null> {
  const scripts = await import(new URL('../../scripts/pages.js', import.meta.url).href) as { buildPages (): Promise<void> }
  await scripts.buildPages()
  const [server, redis] = [await findPostgres(), await findRedis()]
  const browser = await openBrowser(t, { backForwardCache: true })
  if (browser === null) skipMissing(t, 'needs Chromium and playwright-core: apt-get install chromium, or set TEST_CHROMIUM to its path, and npm ci')
  browser?.setDefaultTimeout(20_000)
  if (server === null || redis === null) skipMissing(t, 'needs PostgreSQL and Redis: install and start them, or set TEST_DATABASE_URL and TEST_REDIS_URL')
  return server === null || redis === null || browser === null ? null : { browser, instances: new Map(), t }
}

/** Latchkey with its pages behind a proxy that counts; mails are collected. */
async function startInstance ({ t }: Stage, env: Record<string, string>) {
  const ground = await serverGround(t) as Ground
  const proxy = await serveProxy(t, null)
  const url = `http://localhost:${proxy.port}`
  const postbox = createPostbox()
  const settings = { PUBLIC_URL: url, COOKIE_SECURE: 'false', SESSION_LIMIT: '0', ...env }
  const one = await startApp(t, ground, { env: settings, mailer: postbox.mailer })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  return { proxy, url, postbox, one, target: (one.app.server.address() as AddressInfo).port }
}

/** Latchkey and a browser in which nobody is signed in; its tabs are closed with the test. */
export async function openPages (t: Test, stage: Stage, env: Record<string, string> = {}) {
  const { browser, instances } = stage
  // Ports don't part them.
  await browser.clearCookies()
  const key = JSON.stringify(env)
  const starting = instances.get(key) ?? startInstance(stage, env)
  instances.set(key, starting)
  const { proxy, url, postbox, one, target } = await starting
  proxy.target = target
  proxy.seen.splice(0)
  const tabs: Tab[] = []
  t.teardown(() => Promise.all(tabs.map(tab => tab.close())))

  /** A tab at `path` of the pages, or at another address. */
  async function open (path = '/account'): Promise<Tab> {
    const tab = Object.assign(await browser.newPage(), { complaints: [] as string[] })
    tabs.push(tab)
    tab.on('console', message => { if (message.type() === 'error') tab.complaints.push(message.text()) })
    tab.on('pageerror', error => { tab.complaints.push(String(error)) })
    await tab.goto(new URL(path, url).href)
    return tab
  }

  return {
    one, proxy, url, postbox, open,
    /** From here on nothing answers, until it is `up` again. */
    down () { proxy.target = 1 },
    up () { proxy.target = target },
    /** How often `path` was asked for by that method. */
    count: (method: string, path: string) => proxy.seen.filter(seen => seen.method === method && seen.url === path).length,
    /** An account, and a tab in which its user is signed in. */
    async signedIn (path = '/account', { email = newEmail(), name = 'Ada' } = {}): Promise<{ tab: Tab, email: string, userId: string }> {
      const { user } = (await one.register(email, { name })).json<{ user: { id: string } }>()
      const tab = await open(path)
      await signIn(tab, email)
      return { tab, email, userId: user.id }
    }
  }
}

/** Fills in the sign-in that is shown, and sends it; waits until somebody is signed in. */
export async function signIn (tab: Page, email: string, secret = password): Promise<void> {
  await sendPassword(tab, email, secret)
  await signedIn(tab)
}

/** Fills in the sign-in that is shown, and sends it. */
export async function sendPassword (tab: Page, email: string, secret = password): Promise<void> {
  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByLabel('Password', { exact: true }).fill(secret)
  await tab.getByRole('button', { name: 'Sign in' }).click()
}

/** Fills in the second step of the sign-in, and sends it; waits until somebody is signed in. */
export async function answerCode (tab: Page, code: string): Promise<void> {
  await tab.getByLabel('Code from your app').fill(code)
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await signedIn(tab)
}

async function signedIn (tab: Page): Promise<void> {
  await tab.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor({ state: 'detached' })
}

/** Waits for the page with that heading. */
export async function heading (tab: Page, name: string): Promise<void> {
  await tab.getByRole('heading', { level: 1, name, exact: true }).waitFor()
}

/** The link in a mail. */
export function linkIn ({ text }: { text: string }): string {
  const [link] = /^http\S+#token=\S+$/m.exec(text) ?? []
  if (link === undefined) throw new Error(`no link in ${text}`)
  return link
}
