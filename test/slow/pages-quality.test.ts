import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import { newEmail, password } from '../fixtures/app.js'
import { checkLooks, reach, readTexts, watchBytes, watchShifts } from './pages-looks.js'
import { heading, openPages, openStage, type Scene, signIn } from './pages-scene.js'

/**
 * What holds for every page of an account: nothing for axe-core to find, in light and dark and in both directions, nothing wider than 320 px,
 * nothing that moves, and nothing that needs a mouse.
 */

const stage = await openStage(t)

function inScene (title: string, env: Record<string, string>, body: (t: Test, scene: Scene) => Promise<void>): void {
  t.test(title, { timeout: 240_000, skip: stage === null }, async t => {
    if (stage !== null) await body(t, await openPages(t, stage, env))
  })
}

const paths = { profile: '/account', password: '/account/password', devices: '/account/devices', tokens: '/account/tokens', trail: '/account/trail', delete: '/account/delete', nowhere: '/account/nothing' }
const titles: Record<string, string> = { profile: 'Profile', password: 'Password', devices: 'Devices', tokens: 'Personal tokens', trail: 'Activity', delete: 'Delete account', nowhere: 'There is no such page' }

for (const [language, tag] of [['English', 'en'], ['Arabic', 'ar']] as const) {
  inScene(`axe-core finds nothing, and 320 px are enough, in ${language}`, { REGISTRATION: 'confirm' }, async (t, { one, open }) => {
    const text = readTexts(tag)
    const name = (page: string) => tag === 'en' ? page : `${page}-${tag}`
    const tab = await open()
    await tab.setExtraHTTPHeaders({ 'accept-language': tag })
    await tab.setViewportSize({ width: 1000, height: 720 })
    await tab.reload()
    await heading(tab, text('signIn.title'))
    t.equal(await tab.evaluate('document.dir'), tag === 'ar' ? 'rtl' : 'ltr')
    await tab.getByRole('button', { name: text('signIn.submit') }).click()
    await checkLooks(t, tab, name('sign-in'))
    for (const [page, key] of [['register', 'register.title'], ['forgotten', 'forgotten.title'], ['reset', 'reset.title'], ['verify', 'verify.title']] as const) {
      await tab.goto(`${new URL('/account', tab.url()).href}/${page}`)
      await heading(tab, text(key))
      await checkLooks(t, tab, name(page))
    }

    const email = newEmail()
    await one.admin.create(operator, { email, password, name: 'Ada', role: 'user' })
    const { accessToken: token } = (await one.login(email, { deviceName: 'Phone' })).json<{ accessToken: string }>()
    await one.call('POST', '/v1/tokens', { token, body: { name: 'Backup', abilities: ['orders:read'] } })
    await tab.goto(new URL('/account', tab.url()).href)
    await tab.getByLabel(text('field.emailLabel'), { exact: true }).fill(email)
    await tab.getByLabel(text('field.passwordLabel'), { exact: true }).fill(password)
    await tab.keyboard.press('Enter')
    await heading(tab, text('profile.title'))
    for (const [page, path] of Object.entries(paths)) {
      await tab.goto(new URL(path, tab.url()).href)
      await heading(tab, text(page === 'nowhere' ? 'page.nowhere' : `${page}.title`))
      if (['devices', 'tokens', 'trail'].includes(page)) await tab.getByRole('main').getByRole('listitem').first().waitFor()
      await checkLooks(t, tab, name(page))
    }
    await tab.goto(new URL(paths.tokens, tab.url()).href)
    await tab.getByRole('main').getByRole('listitem').getByRole('button').first().click()
    await tab.getByRole('dialog').waitFor()
    await checkLooks(t, tab, name('dialog'))
  })
}

inScene('the sign-in is less than 40 KB over the wire, and nothing moves on any page while it loads', {}, async (t, { one, open, url }) => {
  const tab = await open('/health/live')
  const shifts = await watchShifts(tab)
  const wire = await watchBytes(tab)
  await tab.goto(`${url}/account`)
  await heading(tab, 'Sign in')
  await tab.waitForLoadState('networkidle')
  const bytes = wire()
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 10_000 && bytes < 40 * 1024, `${bytes} bytes`)
  t.strictSame(await shifts(), [])

  const { email } = await one.account()
  for (let i = 0; i < 3; i++) await one.login(email)
  await signIn(tab, email)
  for (const [page, path] of Object.entries(paths)) {
    await tab.goto(url + path)
    await heading(tab, titles[page] ?? '')
    await tab.waitForLoadState('networkidle')
    t.strictSame(await shifts(), [], page)
  }
})

inScene('the keyboard alone does everything, and the focus is always seen', {}, async (t, { one, open }) => {
  const { email } = await one.account()
  const tab = await open()
  await heading(tab, 'Sign in')
  await tab.evaluate('document.body.focus()')

  const type = (text: string) => tab.keyboard.type(text)
  const press = (key: string) => tab.keyboard.press(key)

  await reach(t, tab, 'Skip to the content')
  await press('Enter')
  await reach(t, tab, 'Email')
  await type(email)
  await reach(t, tab, 'Password')
  await type('wrong')
  await reach(t, tab, 'Show')
  await press('Space')
  t.equal(await tab.getByLabel('Password', { exact: true }).getAttribute('type'), 'text')
  await reach(t, tab, 'Password', 'Shift+Tab')
  await press('Control+A')
  await type(password)
  await press('Enter')
  await heading(tab, 'Profile')
  await reach(t, tab, 'Personal tokens', 'Shift+Tab')
  await press('Enter')
  await heading(tab, 'Personal tokens')
  await reach(t, tab, 'Name')
  await type('Backup')
  await reach(t, tab, 'Expires after')
  await press('ArrowDown')
  await reach(t, tab, 'Make the token')
  await press('Enter')
  await tab.getByRole('heading', { name: 'Your new token' }).waitFor()
  t.equal(await tab.evaluate('document.activeElement.labels[0].textContent'), 'Token', 'the token has the focus, ready to be copied')
  await reach(t, tab, 'I have copied it')
  await press('Enter')
  await tab.getByRole('heading', { name: 'Your new token' }).waitFor({ state: 'detached' })
  await reach(t, tab, 'End the token: Backup')
  await press('Enter')
  const dialog = tab.getByRole('dialog')
  await dialog.waitFor()
  await press('Escape')
  await dialog.waitFor({ state: 'detached' })
  t.equal(await tab.evaluate("document.activeElement.getAttribute('aria-label')"), 'End the token: Backup', 'the focus is where it was')
  await press('Enter')
  await dialog.waitFor()
  await reach(t, tab, 'End the token')
  await press('Enter')
  await tab.getByText('Backup has ended.').waitFor()
  await tab.locator('h1:focus').waitFor()
  await reach(t, tab, 'Language', 'Shift+Tab')
  await press('ArrowDown')
  await heading(tab, 'Persönliche Tokens')
  await press('ArrowUp')
  await heading(tab, 'Personal tokens')
  await reach(t, tab, 'Sign out')
  await press('Enter')
  await heading(tab, 'Sign in')
  await tab.evaluate('localStorage.clear()')
})
