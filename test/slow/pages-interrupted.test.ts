import t, { type Test } from 'tap'
import { password } from '../fixtures/app.js'
import { heading, openPages, openStage, type Scene, type Tab } from './pages-scene.js'

/** What comes between a user and the page: a sign-out elsewhere, a session that is ended, the back button, a server that is away. */

const stage = await openStage(t)

function inScene (title: string, body: (t: Test, scene: Scene) => Promise<void>): void {
  t.test(title, { timeout: 120_000, skip: stage === null }, async t => {
    if (stage !== null) await body(t, await openPages(t, stage))
  })
}

const signOut = (tab: Tab) => tab.getByRole('button', { name: 'Sign out', exact: true }).first().dblclick()
const shows = async (tab: Tab, text: string) => (await tab.content()).includes(text)

/** Goes back as the button does; playwright's own goBack waits for ever for a page that comes out of the cache. */
async function goBack (tab: Tab): Promise<void> {
  const devtools = await tab.context().newCDPSession(tab)
  const { currentIndex, entries } = await devtools.send('Page.getNavigationHistory')
  await devtools.send('Page.navigateToHistoryEntry', { entryId: entries[currentIndex - 1]?.id as number })
  await devtools.detach()
}

inScene('after signing out, Back shows nothing private, whether or not the page comes out of the cache', async (t, { signedIn, open, url }) => {
  const { tab, email } = await signedIn('/account/devices')
  await tab.getByRole('link', { name: 'Profile' }).click()
  await heading(tab, 'Profile')
  await signOut(tab)
  await heading(tab, 'Sign in')
  t.notOk(await shows(tab, email))
  await tab.evaluate('history.back()')
  await tab.waitForURL('**/account/devices')
  await heading(tab, 'Sign in')
  t.notOk(await shows(tab, email))

  await tab.getByLabel('Email', { exact: true }).fill(email)
  await tab.getByLabel('Password', { exact: true }).fill(password)
  await tab.keyboard.press('Enter')
  await heading(tab, 'Devices')
  const other = await open('/account')
  await heading(other, 'Profile')
  await tab.goto(`${url}/health/live`)
  await signOut(other)
  await heading(other, 'Sign in')
  await goBack(tab)
  await heading(tab, 'Sign in')
  t.notOk(await shows(tab, email))
})

inScene('a page out of the cache hides itself until it knows, and says so while nobody can say', async (t, { signedIn, down, up }) => {
  const { tab } = await signedIn('/account')
  const visible = () => tab.evaluate("getComputedStyle(document.querySelector('main')).visibility === 'visible'")
  const pass = (event: string) => tab.evaluate(`dispatchEvent(new PageTransitionEvent('${event}', { persisted: true }))`)
  t.equal(await visible(), true)
  down()
  await pass('pagehide')
  t.equal(await visible(), false, 'before it goes into the cache')
  await pass('pageshow')
  await tab.locator('.away').waitFor()
  t.equal(await visible(), false)
  up()
  await tab.locator('.away').waitFor({ state: 'hidden' })
  t.equal(await visible(), true, 'it goes on by itself')
})

inScene('signing out in one tab empties the other', async (t, { signedIn, open }) => {
  const { tab, email } = await signedIn('/account')
  const other = await open('/account/devices')
  await heading(other, 'Devices')
  await tab.evaluate("localStorage.setItem('app', 'of an application on the same origin')")
  await signOut(tab)
  await heading(other, 'Sign in')
  await other.getByText('You are signed out.').waitFor()
  t.notOk(await shows(other, email))
  t.equal(await tab.evaluate("localStorage.getItem('app')"), 'of an application on the same origin', 'and nothing else of the origin is wiped')
  await tab.evaluate('localStorage.clear()')
})

inScene('a session that is ended in mid-form asks for the sign-in over it, and what was typed stays', async (t, scene) => {
  const { one, signedIn } = scene
  const { tab, email } = await signedIn('/account')
  const end = async () => one.call('POST', '/v1/logout-all', { token: (await one.login(email)).json<{ accessToken: string }>().accessToken })
  const name = tab.getByLabel('Name', { exact: true })
  const dialog = tab.getByRole('dialog', { name: 'Your session has ended' })
  await name.fill('Countess of Lovelace')
  await end()
  await tab.getByRole('button', { name: 'Save' }).click()
  await dialog.waitFor()
  t.equal(await name.isVisible(), false, 'the page behind it shows nothing')
  t.equal(await tab.getByRole('navigation', { name: 'Account' }).count(), 0)
  await dialog.getByLabel('Password', { exact: true }).fill('a wrong one')
  await tab.keyboard.press('Enter')
  await dialog.getByText('The email or the password is wrong.').waitFor()
  await dialog.getByLabel('Password', { exact: true }).fill(password)
  await dialog.getByRole('button', { name: 'Sign in' }).dblclick()
  await dialog.waitFor({ state: 'detached' })
  t.equal(await name.inputValue(), 'Countess of Lovelace')
  await tab.getByRole('button', { name: 'Save' }).click()
  await tab.getByText('Saved.').waitFor()
  t.equal((await one.login(email)).json().user.name, 'Countess of Lovelace')

  await name.fill('Typed by Ada')
  await end()
  await tab.getByRole('button', { name: 'Save' }).click()
  await dialog.waitFor()
  const stranger = (await one.account()).email
  await dialog.getByLabel('Email', { exact: true }).fill(stranger)
  await dialog.getByLabel('Password', { exact: true }).fill(password)
  await tab.keyboard.press('Enter')
  await dialog.waitFor({ state: 'detached' })
  t.equal(await tab.getByLabel('Email', { exact: true }).inputValue(), stranger)
  t.equal(await name.inputValue(), '', 'another user finds nothing of it')

  const tokenOfStranger = (await one.login(stranger)).json<{ accessToken: string }>().accessToken
  await one.call('POST', '/v1/logout-all', { token: tokenOfStranger })
  await tab.getByRole('link', { name: 'Devices' }).click()
  await dialog.waitFor()
  await tab.keyboard.press('Escape')
  await heading(tab, 'Sign in')
  t.notOk(await shows(tab, stranger))
})

inScene('while the server is away a list says so, and comes by itself; a sign-out that failed says so too', async (t, scene) => {
  const { signedIn, down, up } = scene
  const { tab } = await signedIn('/account')
  down()
  await tab.getByRole('link', { name: 'Devices' }).click()
  await tab.getByRole('status').getByText('This page tries again by itself.', { exact: false }).waitFor()
  await signOut(tab)
  await tab.getByRole('alert').getByText('The server can’t be reached.', { exact: false }).waitFor()
  up()
  await tab.getByText('This device').waitFor()
  t.equal(await tab.getByRole('status').getByText('This page tries again by itself.', { exact: false }).count(), 0)
  await signOut(tab)
  await heading(tab, 'Sign in')
})
