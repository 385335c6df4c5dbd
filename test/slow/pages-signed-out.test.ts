import t, { type Test } from 'tap'
import { newEmail, password } from '../fixtures/app.js'
import { servePage } from '../fixtures/browser.js'
import { heading, linkIn, openPages, openStage, type Scene, signIn } from './pages-scene.js'

/** The pages of somebody who isn't signed in, in a real browser over PostgreSQL and Redis. */

const stage = await openStage(t)

function inScene (title: string, env: Record<string, string>, body: (t: Test, scene: Scene) => Promise<void>): void {
  t.test(title, { timeout: 120_000, skip: stage === null }, async t => {
    if (stage !== null) await body(t, await openPages(t, stage, env))
  })
}

const fresh = 'a quite different battery staple'

inScene('signing in asks for what is missing, says what is wrong and keeps what was typed', {}, async (t, { one, open, count }) => {
  const { email } = await one.account()
  const tab = await open()
  await heading(tab, 'Sign in')
  t.equal(await tab.title(), 'Sign in · Latchkey')
  t.strictSame(tab.complaints, [], 'somebody unknown leaves no red line')
  await tab.getByRole('button', { name: 'Sign in' }).click()
  t.equal(await tab.getByText('Please fill in this field.').count(), 2)
  t.equal(await tab.evaluate("document.activeElement.getAttribute('name')"), 'email', 'the first one has the focus')
  await tab.getByLabel('Email', { exact: true }).fill('ada')
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await tab.getByText('Please enter an email address.').waitFor()
  t.equal(count('POST', '/v1/login'), 0, 'and nothing was sent')

  await tab.getByLabel('Email', { exact: true }).fill(`  ${email} `)
  await tab.getByLabel('Password', { exact: true }).fill('a wrong one')
  await tab.getByRole('button', { name: 'Sign in' }).dblclick()
  await tab.getByRole('alert').getByText('The email or the password is wrong.').waitFor()
  t.equal(count('POST', '/v1/login'), 1, 'a double click is one')
  t.match(await tab.getByLabel('Email', { exact: true }).inputValue(), email)
  await tab.getByRole('button', { name: 'Show' }).click()
  t.equal(await tab.getByLabel('Password', { exact: true }).getAttribute('type'), 'text')
  await tab.getByLabel('Password', { exact: true }).fill(password)
  await tab.keyboard.press('Enter')
  await heading(tab, 'Profile')
  await tab.getByText(email).first().waitFor()
  t.match(tab.url(), /\/account$/)
})

inScene('an account is made, and a taken address or a bad password is named at its field', {}, async (t, { one, open }) => {
  const [taken, email] = [(await one.account()).email, newEmail()]
  const tab = await open()
  await tab.getByRole('link', { name: 'Create an account' }).dblclick()
  await heading(tab, 'Create an account')
  t.match(tab.url(), /\/account\/register$/, 'and the second click hit nothing else')
  await tab.getByLabel('Name (optional)').fill('Ada Lovelace')
  await tab.getByLabel('Email', { exact: true }).fill(taken)
  await tab.getByLabel('Password', { exact: true }).fill('short')
  await tab.getByRole('button', { name: 'Create account' }).click()
  await tab.getByText('Please use at least 8 characters.').waitFor()
  await tab.getByLabel('Password', { exact: true }).fill('password1')
  await tab.getByRole('button', { name: 'Create account' }).click()
  await tab.locator('[name=password][aria-invalid=true]').waitFor()
  await tab.getByLabel('Password', { exact: true }).fill(password)
  await tab.getByRole('button', { name: 'Create account' }).click()
  await tab.getByText('There is an account with this email already.').waitFor()
  t.equal(await tab.getByLabel('Email', { exact: true }).getAttribute('aria-invalid'), 'true')
  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByRole('button', { name: 'Create account' }).click()
  await heading(tab, 'Profile')
  t.equal((await one.login(email)).json().user.name, 'Ada Lovelace')
})

inScene('where registration is closed, the page says so and offers none', { REGISTRATION: 'closed' }, async (t, { open }) => {
  const tab = await open()
  await heading(tab, 'Sign in')
  t.equal(await tab.getByRole('link', { name: 'Create an account' }).count(), 0)
  await tab.goto(tab.url().replace('/account', '/account/register'))
  await tab.getByText('Nobody can register here.', { exact: false }).waitFor()
  t.equal(await tab.getByRole('button').count(), 0)
})

inScene('a registration is confirmed by a click and the password, not by opening the link', { REGISTRATION: 'confirm' }, async (t, scene) => {
  const { one, open, postbox, count } = scene
  const email = newEmail()
  const tab = await open('/account/register')
  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByLabel('Password', { exact: true }).fill(password)
  await tab.getByRole('button', { name: 'Create account' }).click()
  await heading(tab, 'Check your mail')
  const link = linkIn(await postbox.wait(email, 'confirm_registration'))
  for (const scanner of [await open(link), await open(link)]) await heading(scanner, 'Confirm your email')
  t.equal(count('POST', '/v1/email/verify'), 0, 'opening it does nothing')

  await tab.goto(link)
  await tab.getByLabel('Password', { exact: true }).fill('another one')
  await tab.getByRole('button', { name: 'Confirm' }).click()
  await tab.getByRole('alert').getByText('The code or the password is wrong', { exact: false }).waitFor()
  await tab.getByLabel('Password', { exact: true }).fill(password)
  await tab.getByRole('button', { name: 'Confirm' }).click()
  await heading(tab, 'Your email is confirmed')
  t.notMatch(tab.url(), 'token', 'a used token is nowhere in the history')
  await tab.getByRole('link', { name: 'Go to your account' }).click()
  await signIn(tab, email)
  await heading(tab, 'Profile')
  t.ok((await one.login(email)).json().user.emailVerifiedAt)
})

inScene('a forgotten password is replaced by the link of a mail, once', {}, async (t, { one, open, postbox, count }) => {
  const { email } = await one.account()
  const tab = await open('/account')
  await tab.getByRole('link', { name: 'Forgotten your password?' }).click()
  await heading(tab, 'Forgotten your password?')
  t.equal(await tab.evaluate('document.activeElement.tagName'), 'H1', 'the heading of the new page has the focus')
  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByRole('button', { name: 'Send the mail' }).dblclick()
  await heading(tab, 'Check your mail')
  t.equal(count('POST', '/v1/password/forgot'), 1)
  const link = linkIn(await postbox.wait(email, 'reset_password'))
  t.match(link, /\/account\/reset#token=lkmr_/)

  await tab.goto(link)
  await heading(tab, 'Choose a new password')
  await tab.getByLabel('New password', { exact: true }).fill(fresh)
  await tab.getByRole('button', { name: 'Change the password' }).click()
  await heading(tab, 'Your password is changed')
  await tab.getByRole('link', { name: 'Go to the sign-in' }).click()
  await signIn(tab, email, fresh)
  await heading(tab, 'Profile')

  const late = await open(link)
  await late.getByLabel('New password', { exact: true }).fill(fresh)
  await late.getByRole('button', { name: 'Change the password' }).click()
  await heading(late, 'This link doesn’t work any more')
  await late.getByRole('link', { name: 'Ask for another mail' }).waitFor()
})

inScene('an address is confirmed by a click; a token without a link can be typed', {}, async (t, { one, open, postbox }) => {
  const { email, token } = await one.account()
  const link = linkIn(await postbox.wait(email, 'verify_email'))
  const tab = await open(link)
  await heading(tab, 'Confirm your email')
  t.equal((await one.me(token)).json().user.emailVerifiedAt, null)
  t.equal(await tab.getByLabel('Password', { exact: true }).count(), 0)
  await tab.goto(link.replace(/#.*/, ''))
  await tab.getByLabel('Code from the mail').fill(link.replace(/.*#token=/, ''))
  await tab.getByRole('button', { name: 'Confirm' }).click()
  await heading(tab, 'Your email is confirmed')
  t.ok((await one.me(token)).json().user.emailVerifiedAt)
  await tab.goto(link)
  await tab.getByRole('button', { name: 'Confirm' }).click()
  await heading(tab, 'This link doesn’t work any more')
})

inScene('a mail comes in the language that was chosen on the page', {}, async (t, { one, open, postbox }) => {
  const { email } = await one.account()
  const tab = await open('/account/forgotten')
  await tab.getByLabel('Language', { exact: true }).selectOption('ar')
  await heading(tab, 'هل نسيت كلمة المرور؟')
  await tab.getByLabel('البريد الإلكتروني', { exact: true }).fill(email)
  await tab.keyboard.press('Enter')
  const letter = await postbox.wait(email, 'reset_password')
  t.equal(letter.subject, 'إعادة تعيين كلمة مرورك في Latchkey')
  t.match(letter.html, '<html lang="ar" dir="rtl">')
  await tab.goto(linkIn(letter))
  await heading(tab, 'اختيار كلمة مرور جديدة')
  await tab.evaluate('localStorage.clear()')
})

inScene('a password manager knows every field, and what it fills in is sent, though no key was pressed', {}, async (t, { one, open, url }) => {
  const { email } = await one.account()
  const tab = await open()
  const fields = () => tab.evaluate("[...document.querySelectorAll('main input')].map(({ name, autocomplete, type }) => [name, autocomplete, type].join(' '))")
  await heading(tab, 'Sign in')
  t.strictSame(await fields(), ['email username text', 'password current-password password'])
  await tab.evaluate(`for (const [name, value] of Object.entries(${JSON.stringify({ email, password })})) document.querySelector('[name=' + name + ']').value = value`)
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await heading(tab, 'Profile')
  const known = { '/account/password': 'Password', '/account/delete': 'Delete account' }
  for (const [path, title] of Object.entries(known)) {
    await tab.goto(url + path)
    await heading(tab, title)
    t.equal(await tab.evaluate("document.querySelector('[autocomplete=username]').value"), email, `${path} says whose password it is`)
  }
  t.strictSame(await fields(), ['username username text', 'password current-password password'])
  await tab.goto(`${url}/account/password`)
  await heading(tab, 'Password')
  t.match(await fields(), ['username username text', 'currentPassword current-password password', 'newPassword new-password password'])
  await tab.context().clearCookies()
  await tab.goto(`${url}/account/register`)
  await heading(tab, 'Create an account')
  t.strictSame(await fields(), ['name name text', 'email username text', 'password new-password password'])
  await tab.goto(`${url}/account/reset#token=lkmr_${'x'.repeat(43)}`)
  await heading(tab, 'Choose a new password')
  t.match(await fields(), ['password new-password password'])
})

t.test('after the sign-in it goes back to where it came from, to addresses of ours alone', { timeout: 120_000, skip: stage === null }, async t => {
  if (stage === null) return
  const page = '<title>app</title><h1>App</h1>'
  const [ours, other] = [await servePage(t, page, null), await servePage(t, page, null)]
  const { one, open, url } = await openPages(t, stage, { CORS_ORIGINS: `http://localhost:${ours}` })
  const { email } = await one.account()
  const there = `http://localhost:${ours}/orders?id=1#last`
  const at = (to: string) => `/account?return_to=${encodeURIComponent(to)}`

  const tab = await open(at(`http://localhost:${other}/`))
  await signIn(tab, email)
  for (const bad of ['javascript:alert(1)', `//localhost:${other}`, 'data:text/html,x', `http://localhost:${ours}@localhost:${other}/`, 'http://', '\\\\x']) {
    await heading(tab, 'Profile')
    t.ok(tab.url().startsWith(url), tab.url())
    await tab.goto(url + at(bad))
  }
  await heading(tab, 'Profile')
  t.ok(tab.url().startsWith(url), tab.url())
  await tab.context().clearCookies()

  await tab.goto(url + at(there))
  await tab.getByRole('link', { name: 'Create an account' }).click()
  await tab.getByRole('link', { name: 'I have an account: sign in' }).click()
  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByLabel('Password', { exact: true }).fill(password)
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await tab.waitForURL(there)
  await tab.goto(url + at(there))
  await heading(tab, 'You are signed in')
  t.ok(tab.url().startsWith(url), 'an application that does not see the session makes no endless loop')
  await tab.getByRole('link', { name: 'Go to your account' }).click()
  await heading(tab, 'Profile')
  const later = await open(at(there))
  await later.waitForURL(there)
})

inScene('without JavaScript a sentence says what is missing, in the language asked for', {}, async (t, { open, url }) => {
  const tab = await open()
  const devtools = await tab.context().newCDPSession(tab)
  await devtools.send('Emulation.setScriptExecutionDisabled', { value: true })
  await tab.setExtraHTTPHeaders({ 'accept-language': 'de-AT' })
  await tab.goto(`${url}/account`)
  const sentence = tab.locator('.no-script')
  await sentence.waitFor()
  t.match(await sentence.innerText(), 'Diese Seite braucht JavaScript')
  t.equal(await tab.getByRole('textbox').count(), 0)
})

inScene('while the server cannot be reached a sentence says so, and the page goes on by itself', {}, async (_t, scene) => {
  const { one, open, down, up } = scene
  const { email } = await one.account()
  const tab = await open()
  await heading(tab, 'Sign in')
  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByLabel('Password', { exact: true }).fill(password)
  down()
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await tab.getByRole('alert').getByText('The server can’t be reached.', { exact: false }).waitFor()
  up()
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await heading(tab, 'Profile')

  await tab.route('**/v1/session', route => route.abort())
  await tab.reload()
  await tab.getByRole('status').getByText('This page tries again by itself.', { exact: false }).waitFor()
  await tab.unroute('**/v1/session')
  await heading(tab, 'Profile')
})
