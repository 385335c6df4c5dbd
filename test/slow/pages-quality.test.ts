import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import { newEmail, password } from '../fixtures/app.js'
import { createPhone } from '../fixtures/phone.js'
import { checkLooks, reach, readTexts, watchBytes, watchShifts } from './pages-looks.js'
import { heading, linkIn, openPages, openStage, type Scene, sendPassword, signIn } from './pages-scene.js'

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

const paths = { profile: '/account', password: '/account/password', factors: '/account/factors', devices: '/account/devices', tokens: '/account/tokens', trail: '/account/trail', delete: '/account/delete', nowhere: '/account/nothing' }
const titles: Record<string, string> = { profile: 'Profile', password: 'Password', factors: 'Second factors', devices: 'Devices', tokens: 'Personal tokens', trail: 'Activity', delete: 'Delete account', nowhere: 'There is no such page' }

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
      if (page === 'factors') await tab.getByRole('button', { name: text('factors.begin') }).waitFor()
      if (['devices', 'tokens', 'trail'].includes(page)) await tab.getByRole('main').getByRole('listitem').first().waitFor()
      await checkLooks(t, tab, name(page))
    }
    await tab.goto(new URL(paths.tokens, tab.url()).href)
    await tab.getByRole('main').getByRole('listitem').getByRole('button').first().click()
    await tab.getByRole('dialog').waitFor()
    await checkLooks(t, tab, name('dialog'))
  })
}

for (const [language, tag] of [['English', 'en'], ['Arabic', 'ar']] as const) {
  inScene(`axe-core finds nothing in what second factors need, and 320 px are enough, in ${language}`, { SESSION_LIMIT: '8' }, async (t, scene) => {
    const { one, open, url, postbox } = scene
    const text = readTexts(tag)
    const name = (page: string) => tag === 'en' ? page : `${page}-${tag}`
    const { email } = await one.account()
    const tab = await open('/health/live')
    await tab.setExtraHTTPHeaders({ 'accept-language': tag })
    await tab.setViewportSize({ width: 1000, height: 720 })
    const signIn = async () => {
      await tab.goto(`${url}/account/factors`)
      await tab.getByLabel(text('field.emailLabel'), { exact: true }).fill(email)
      await tab.getByLabel(text('field.passwordLabel'), { exact: true }).fill(password)
      await tab.keyboard.press('Enter')
    }
    await signIn()
    await heading(tab, text('factors.title'))
    await tab.getByRole('button', { name: text('factors.begin') }).click()
    await tab.locator('.qr path[d^="M"]').waitFor({ state: 'attached' })
    await checkLooks(t, tab, name('factors-enrol'))
    const phone = createPhone(`otpauth://totp/x?secret=${await tab.getByLabel(text('enrol.secret'), { exact: true }).inputValue()}`, one)
    await tab.getByLabel(text('code.totp')).fill(phone.code())
    await tab.keyboard.press('Enter')
    await tab.getByRole('heading', { name: text('recovery.madeTitle') }).waitFor()
    await checkLooks(t, tab, name('factors-codes'))
    await tab.getByRole('button', { name: text('recovery.close') }).click()
    await checkLooks(t, tab, name('factors-set-up'))
    await one.pass(16 * 60_000)
    await tab.getByRole('button', { name: text('factors.remove') }).click()
    await tab.getByRole('dialog').getByRole('button', { name: text('factors.remove') }).click()
    await tab.getByRole('dialog', { name: text('stepUp.title') }).waitFor()
    await checkLooks(t, tab, name('factors-step-up'))

    await tab.context().clearCookies()
    await signIn()
    await tab.getByLabel(text('code.totp')).fill(phone.wrongCode())
    await tab.keyboard.press('Enter')
    await tab.getByText(text('error.AUTH_SECOND_FACTOR_INVALID')).waitFor()
    await checkLooks(t, tab, name('second-step'))
    await tab.getByRole('button', { name: text('code.useRecovery') }).click()
    await checkLooks(t, tab, name('second-step-recovery'))
    await one.call('POST', '/v1/password/forgot', { body: { email } })
    await tab.goto(linkIn(await postbox.wait(email, 'reset_password')))
    await tab.getByLabel(text('field.newPasswordLabel'), { exact: true }).fill('a quite different battery staple')
    await tab.keyboard.press('Enter')
    await tab.getByLabel(text('code.totp')).waitFor()
    await checkLooks(t, tab, name('reset-code'))
  })
}

inScene('the keyboard alone sets up an app and signs in by its code', { SESSION_LIMIT: '9' }, async (t, { one, open }) => {
  const { email } = await one.account()
  const tab = await open('/account/factors')
  await signIn(tab, email)
  await heading(tab, 'Second factors')
  await reach(t, tab, 'Set up an app')
  await tab.keyboard.press('Enter')
  await reach(t, tab, 'Key')
  const phone = createPhone(`otpauth://totp/x?secret=${await tab.evaluate<string>('document.activeElement.value')}`, one)
  await reach(t, tab, 'Code from your app')
  await tab.keyboard.type(phone.code())
  await tab.keyboard.press('Enter')
  await tab.locator('h2:focus', { hasText: 'Your recovery codes' }).waitFor()
  await reach(t, tab, 'Save as a file')
  await reach(t, tab, 'I have kept them')
  await tab.keyboard.press('Enter')
  await tab.locator('h1:focus').waitFor()
  await reach(t, tab, 'Sign out', 'Shift+Tab')
  await tab.keyboard.press('Enter')
  await heading(tab, 'Sign in')
  await sendPassword(tab, email)
  await tab.locator('[name=totp]:focus').waitFor()
  await reach(t, tab, 'Use a recovery code')
  await tab.keyboard.press('Space')
  await tab.locator('[name=recoveryCode]:focus').waitFor()
  await reach(t, tab, 'Use a code from the app')
  await tab.keyboard.press('Space')
  await tab.locator('[name=totp]:focus').waitFor()
  await tab.keyboard.type(await phone.nextCode())
  await tab.keyboard.press('Enter')
  await heading(tab, 'Second factors')
})

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
