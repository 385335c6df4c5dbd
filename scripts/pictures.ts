import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { operator } from '../src/admin/service.js'
import { password } from '../test/fixtures/app.js'
import { root } from '../test/fixtures/programs.js'
import { heading, openPages, openStage, type Scene, signIn, type Tab } from '../test/slow/pages-scene.js'

/** Makes the pictures of the pages that README shows, in docs/pictures: `npm run pictures`. */

const folder = join(root, 'docs/pictures')
const largestBytes = 80_000
const stage = await openStage(t)
mkdirSync(folder, { recursive: true })

/** The tab in light and in dark, as WebP, which the browser itself encodes. */
async function take (tab: Tab, name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await tab.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    // The chart is drawn again in the colours of the scheme.
    await tab.waitForTimeout(500)
    const png = (await tab.screenshot()).toString('base64')
    const encoder = await tab.context().newPage()
    const webp = await encoder.evaluate(`(async () => {
      const image = Object.assign(new Image(), { src: 'data:image/png;base64,${png}' })
      await image.decode()
      const canvas = new OffscreenCanvas(image.width, image.height)
      canvas.getContext('2d').drawImage(image, 0, 0)
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/webp', quality: 0.9 })).arrayBuffer())
      return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''))
    })()`) as string
    await encoder.close()
    const picture = Buffer.from(webp, 'base64')
    t.ok(picture.length > 1_000 && picture.length < largestBytes, `${name}-${colorScheme}: ${picture.length} bytes`)
    writeFileSync(join(folder, `${name}-${colorScheme}.webp`), picture)
  }
}

t.test('the devices of an account', { timeout: 120_000, skip: stage === null }, async t => {
  if (stage === null) return
  const { one, signedIn } = await openPages(t, stage)
  const { tab, email, userId } = await signedIn('/account', { email: 'ada@example.com' })
  await one.login(email, { deviceName: 'Phone' })
  await one.login(email, { deviceName: 'Tablet' })
  await one.database.prepared("delete from tokens where session_id in (select id from sessions where user_agent = 'lightMyRequest' and device_name is null)", [])
  await one.database.prepared("delete from sessions where user_agent = 'lightMyRequest' and device_name is null", [])
  const long = "update sessions set ip = $1, created_at = created_at - $2::interval, last_used_at = last_used_at - $3::interval where user_id = $4 and device_name = $5"
  await one.database.prepared(long, ['198.51.100.7', '9 days', '3 hours', userId, 'Phone'])
  await one.database.prepared(long, ['203.0.113.20', '31 days', '2 days', userId, 'Tablet'])
  await tab.setViewportSize({ width: 1000, height: 840 })
  await tab.goto(new URL('/account/devices', tab.url()).href)
  await tab.getByText('Tablet').waitFor()
  await take(tab, 'account')
})

t.test('the overview of administrators', { timeout: 120_000, skip: stage === null }, async t => {
  if (stage === null) return
  const { one, open } = await openPages(t, stage, { SESSION_LIMIT: '3' })
  await one.admin.create(operator, { email: 'grace@example.com', password, role: 'admin' })
  await addDay(one)
  const tab = await open('/admin')
  await tab.setViewportSize({ width: 1000, height: 840 })
  await signIn(tab, 'grace@example.com')
  await heading(tab, 'Overview')
  await tab.locator('.chart canvas').waitFor()
  await take(tab, 'admin')
})

/** Some users, and a day of sign-ins: few at night, many before noon. */
async function addDay (one: Scene['one']): Promise<void> {
  for (let i = 0; i < 12; i++) await one.account()
  await one.database.prepared(
    `insert into events (id, created_at, type) select gen_random_uuid(), $1::timestamptz - make_interval(hours => hour, mins => 1),
       case when number % 9 = 0 then 'login_failed' else 'login_succeeded' end
     from generate_series(1, 23) hour, generate_series(1, 90) number
     where number <= 34 + 30 * sin(hour / 3.6) + 8 * cos(hour * 2.1)`,
    [new Date(one.clock.now()).toISOString()]
  )
}
