import t, { type Test } from 'tap'
import { becomesTrue, password, patienceMs, serverGround, skipMissing } from '../fixtures/app.js'
import { openBrowser } from '../fixtures/browser.js'
import { openScene } from './client-scene.js'

/** latchkey-client in pages of a real browser, over PostgreSQL and Redis. */

const seconds = Number(process.env.TEST_CLIENT_SECONDS ?? 12)

async function inScene (
  t: Test,
  mode: 'cookie' | 'bearer',
  env: Record<string, string>,
  body: (scene: Awaited<ReturnType<typeof openScene>>) => Promise<void>
): Promise<void> {
  const ground = await serverGround(t)
  const browser = await openBrowser(t, { backForwardCache: true })
  if (browser === null) skipMissing(
    t,
    'needs Chromium and playwright-core: apt-get install chromium, or set TEST_CHROMIUM to its path, and npm ci'
  )
  else if (ground !== null) await body(await openScene(t, ground, browser, { mode, env }))
}

const signIn = (email: string) => `client.signInWithPassword({ email: '${email}', password: '${password}' }).then(({ error }) => error)`

const whoAmI = 'client.getSession().then(({ data }) => data?.user.email ?? null)'
const statusOfMe = "client.fetch('/v1/me').then(({ status }) => status)"
const isSignedIn = "events.at(-1)?.[1] !== undefined"

for (const mode of ['cookie', 'bearer'] as const) {
  t.test(`${mode} mode: three tabs refresh once a period between them`, { timeout: (seconds + 120) * 1000 }, async t => {
    await inScene(t, mode, { ACCESS_TOKEN_TTL: '2s' }, async ({ open, email, statuses, proxy }) => {
      const tabs = [await open(), await open(), await open()]
      t.equal(await tabs[0]?.evaluate(signIn(email)), null)
      for (const tab of tabs) {
        await tab.waitForFunction(isSignedIn)
        await tab.evaluate(() => {
          client.startAutoRefresh()
          const answers: number[] = []
          Object.assign(
            globalThis,
            { answers, asking: setInterval(() => void client.fetch('/v1/me').then(({ status }) => answers.push(status)), 300) }
          )
        })
      }
      await tabs[0]?.waitForTimeout(2_000)
      const startedAt = performance.now()
      proxy.seen.splice(0)
      await new Promise(resolve => setTimeout(resolve, seconds * 1000))
      const took = (performance.now() - startedAt) / 1000
      const refreshes = statuses('/v1/refresh')
      t.comment(`${refreshes.length} refreshes in ${took.toFixed(1)} s`)
      t.ok(refreshes.every(status => status === 200))
      t.ok(
        refreshes.length >= Math.floor(took / 2) - 1 && refreshes.length <= Math.ceil(took / 1.7) + 1,
        `${refreshes.length} refreshes in ${took} s`
      )
      for (const tab of tabs) {
        t.ok((await tab.evaluate<number>('answers.length')) > seconds, 'each tab goes on')
        t.strictSame(await tab.evaluate<number[]>('[...new Set(answers)]'), [200], 'and no answer is a refusal')
      }
    })
  })
}

for (const mode of ['cookie', 'bearer'] as const) {
  t.test(`${mode} mode: a tab that was frozen for longer than the grace goes on with what the others have got since`, { timeout: 120_000 }, async t => {
    await inScene(t, mode, { ACCESS_TOKEN_TTL: '2s', REFRESH_GRACE: '1s' }, async ({ open, one, email, statuses }) => {
      const [awake, frozen] = [await open(), await open()]
      await awake.evaluate(signIn(email))
      await frozen.waitForFunction(isSignedIn)
      await frozen.evaluate('client.startAutoRefresh()')
      const devtools = await frozen.context().newCDPSession(frozen)
      await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
      const before = one.counters.refreshes.succeeded
      const answers = new Set<unknown>()
      t.ok(await becomesTrue(async () => {
        answers.add(await awake.evaluate(statusOfMe))
        return one.counters.refreshes.succeeded >= before + 3
      }, patienceMs), 'the other tab refreshes three times')
      t.strictSame([...answers], [200])
      await devtools.send('Page.setWebLifecycleState', { state: 'active' })
      t.strictSame(await Promise.all([frozen, awake].map(tab => tab.evaluate(statusOfMe))), [200, 200])
      t.ok(statuses('/v1/refresh').every(status => status === 200), 'no old token was replayed')
      t.equal(one.counters.refreshes.reused, 0)
      t.strictSame(await Promise.all([frozen, awake].map(tab => tab.evaluate(whoAmI))), [email, email])
      t.strictSame(await frozen.evaluate("events.filter(([event]) => event === 'SIGNED_OUT')"), [])
    })
  })

  t.test(`${mode} mode: signing in and out counts in every tab, and in a page that comes back out of the cache`, { timeout: 120_000 }, async t => {
    await inScene(t, mode, {}, async ({ open, email, page, count }) => {
      const [first, second, cached] = [await open(), await open(), await open()]
      t.strictSame(await Promise.all([first, second, cached].map(tab => tab.evaluate(whoAmI))), [null, null, null])
      t.equal(count('/v1/session'), mode === 'cookie' ? 3 : 0)
      await first.evaluate(signIn(email))
      for (const tab of [first, second, cached]) await tab.waitForFunction('events.length === 2')
      t.strictSame(await cached.evaluate('events'), [['INITIAL_SESSION', undefined], ['SIGNED_IN', email]])

      const leave = async () => {
        await cached.evaluate('globalThis.mark = 1')
        await cached.goto(page.replace(/:\d+$/, url => `${url}/elsewhere`))
      }
      const comeBack = async () => {
        const devtools = await cached.context().newCDPSession(cached)
        const { currentIndex, entries } = await devtools.send('Page.getNavigationHistory')
        await devtools.send('Page.navigateToHistoryEntry', { entryId: entries[currentIndex - 1]?.id as number })
        await cached.waitForFunction('globalThis.mark === 1')
        await devtools.detach()
      }
      await leave()
      await comeBack()
      t.equal(await cached.evaluate(whoAmI), email, 'nothing has happened meanwhile')
      t.equal(await cached.evaluate('events.length'), 2)

      await leave()
      await second.evaluate('client.signOut()')
      await first.waitForFunction("events.at(-1)[0] === 'SIGNED_OUT'")
      await comeBack()
      await cached.waitForFunction("events.at(-1)[0] === 'SIGNED_OUT'")
      t.equal(await cached.evaluate(whoAmI), null)
      t.equal(await cached.evaluate('events.length'), 3)
      t.strictSame([first, second, cached].flatMap(({ complaints }) => complaints), [], 'no red line in a console')
    })
  })

  t.test(`${mode} mode: data of the site that is cleared, by a header or a script, signs out where it took the session away`, { timeout: 120_000 }, async t => {
    await inScene(t, mode, {}, async ({ open, email }) => {
      const [first, second] = [await open(), await open()]
      await first.evaluate(signIn(email))
      await second.waitForFunction(isSignedIn)
      await first.evaluate('localStorage.clear()')
      if (mode === 'bearer') {
        await second.waitForFunction("events.at(-1)[0] === 'SIGNED_OUT'")
        t.equal(await second.evaluate(whoAmI), null)
      } else {
        await second.waitForTimeout(500)
        t.equal(await second.evaluate(whoAmI), email, 'the cookies are still there')
        t.strictSame(await second.evaluate('events.map(([event]) => event)'), ['INITIAL_SESSION', 'SIGNED_IN'])
      }
    })
  })
}
