import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import { languages, type MailLanguage } from '../../src/mail/language.js'
import { type MailKind, mailTokenUses } from '../../src/mail/messages.js'
import { renderMail } from '../../src/mail/template.js'
import { becomesTrue, embeddedGround, newEmail, onEachGround, password, patienceMs, startApp, type TestApp } from '../fixtures/app.js'
import { createPostbox, startSmtp } from '../fixtures/mail.js'

/** Mails in the language of who reads them. */

const kinds = Object.keys(mailTokenUses) as MailKind[]
const tags = Object.keys(languages) as MailLanguage[]
const app = { name: 'Acme', appUrl: 'https://app.example.com/account', publicUrl: 'https://api.example.com', hasPages: true }
const event = { at: new Date('2026-11-03T07:31:00Z'), address: '198.51.100.7', userAgent: 'Phone/17.3' }
const tokenOf = (kind: MailKind) => mailTokenUses[kind] === null ? null : `lkm_${'x'.repeat(43)}`
const render = (kind: MailKind, language: MailLanguage, more: Partial<typeof app | { appUrl: null, publicUrl: null }> = {}) =>
  renderMail(kind, language, { ...app, ...more }, { token: tokenOf(kind), event })
/** The html as it is read. */
const readHtml = (html: string) => html.replace(/&#(\d+);/g, (_whole, code: string) => String.fromCodePoint(Number(code)))

t.test('every mail is written in every language, names the app, and has no placeholder left', async t => {
  for (const language of tags) {
    const { direction } = languages[language]
    const subjects = new Set(kinds.map(kind => render(kind, language).subject))
    t.equal(subjects.size, kinds.length, `${language}: no two mails look alike in a list`)
    for (const kind of kinds) {
      const name = `${kind} in ${language}`
      const { subject, text, html } = render(kind, language)
      for (const part of [subject, text, html]) {
        t.match(part, 'Acme', name)
        t.notMatch(part, /[{}]|undefined|null|NaN/, name)
      }
      t.notMatch(subject, /[\n\r\u2066-\u2069]/, name)
      t.match(html, `<html lang="${language}" dir="${direction}">`)
      t.match(html, /^[\x20-\x7e\n]*$/, `${name}: no mail server on the way has to know a character set`)
      t.equal(/<a href=/.test(html), mailTokenUses[kind] !== null, `${name}: a link where there is a token`)
      const letters = direction === 'rtl' ? /[\u0600-\u06ff]/ : /[a-z]/
      for (const paragraph of [subject, ...text.trim().split('\n\n')]) {
        if (!paragraph.startsWith('https:')) t.match(paragraph, letters, `${name}: ${paragraph}`)
      }
      for (const paragraph of text.trim().split('\n\n')) {
        for (const line of paragraph.split('\n')) if (!line.startsWith('https:')) t.match(readHtml(html), line, `${name}: the same in html`)
      }
      if (language === 'en') t.match(subject + text, /^[\x20-\x7e\n]*$/, `${name}: nothing needs encoding`)
      else t.not(text, render(kind, 'en').text, name)
    }
  }
})

t.test('durations, numbers and times are written as the language writes them', async t => {
  for (const [language, hour, day, moment, count] of [
    ['en', '1 hour', '1 day', 'November 3, 2026', '100'],
    ['de', '1 Stunde', '1 Tag', '3. November 2026', '100'],
    ['ar', 'ساعة', 'يوم', 'نوفمبر', new Intl.NumberFormat('ar').format(100)]
  ] as const) {
    t.match(render('reset_password', language).text, hour)
    for (const kind of ['verify_email', 'confirm_registration', 'confirm_email_change'] as const) t.match(render(kind, language).text, day)
    const { text } = render('new_device', language)
    t.match(text, moment)
    t.match(text, '07:31 UTC')
    t.match(render('login_blocked', language).text, count)
  }
})

t.test('from right to left, what is written from left to right keeps its order', async t => {
  const { text, html } = render('new_device', 'ar')
  for (const part of [text, readHtml(html)]) for (const value of ['Acme', '198.51.100.7', 'Phone/17.3', app.appUrl]) t.match(part, `\u2068${value}\u2069`)
  const bare = render('reset_password', 'ar', { appUrl: null, publicUrl: null })
  t.match(bare.text, /\u2068POST \/v1\/password\/reset \{"token": "\.\.\.", "password": "\.\.\."\}\u2069/)
  t.match(bare.html, `<code dir="ltr">${tokenOf('reset_password')}</code>`)
  t.notMatch(render('new_device', 'de').text, /[\u2066-\u2069]/)
})

t.test('the name of the app is text, whatever it looks like', async t => {
  for (const name of ['<b>{site}</b> $& {duration}', '"><script>', 'Our „Tools“', 'x'.repeat(64)]) {
    for (const kind of kinds) {
      const { subject, text, html } = render(kind, 'de', { name })
      for (const part of [subject, text, readHtml(html)]) t.match(part, name, kind)
      t.notMatch(html, /<(b|script)>/, kind)
    }
  }
})

t.test('a subject in another alphabet arrives as it is written, and so does the text', async t => {
  const { received, port } = await startSmtp(t)
  const one = await startApp(t, await embeddedGround(), {
    env: { SMTP_URL: `smtp://127.0.0.1:${port}`, APP_URL: app.appUrl, APP_NAME: 'متجر' }
  })
  const email = newEmail()
  await ask(one, '/v1/register', 'ar', { email, password })
  t.ok(await becomesTrue(() => received.length === 1, patienceMs))
  const raw = received[0]?.raw ?? ''
  const [head = ''] = raw.split('\r\n\r\n', 1)
  t.match(head, /^[\x20-\x7e\r\n\t]*$/)
  const words = [...head.replace(/\r\n[ \t]+/g, ' ').matchAll(/=\?UTF-8\?([BQ])\?([^?]*)\?=/gi)]
  const subject = words.map(([, how, word = '']) => how === 'B' ? Buffer.from(word, 'base64') : decodeQuoted(word.replaceAll('_', ' ')))
  t.match(Buffer.concat(subject).toString(), 'تأكيد بريدك الإلكتروني في متجر')
  const [, encoding, encoded = ''] = /text\/plain.*?Content-Transfer-Encoding: (\S+)\r\n\r\n(.*?)\r\n--/s.exec(raw) ?? []
  const text = (encoding === 'base64' ? Buffer.from(encoded, 'base64') : decodeQuoted(encoded.replace(/=\r\n/g, ''))).toString()
  t.match(text, 'هذا العنوان')
  t.match(text, /^https:\/\/app\.example\.com\/account#token=lkmv_\w{43}\r?$/m)
})

const ask = (one: TestApp, url: string, language: string | null, body: object, headers: Record<string, string> = {}) =>
  one.call('POST', url, { body, headers: { ...headers, ...language === null ? {} : { 'accept-language': language } } })

const decodeQuoted = (text: string) => Buffer.from(text.replace(/=([0-9A-F]{2})/gi, (_whole, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1')

onEachGround(t, async (t, ground) => {
  const postbox = createPostbox()
  const start = (env: Record<string, string> = {}) =>
    startApp(t, ground, { env: { SESSION_LIMIT: '0', APP_URL: app.appUrl, ...env }, mailer: postbox.mailer })
  const one = await start()
  const login = (email: string, language: string | null, headers: Record<string, string> = {}) => ask(one, '/v1/login', language, { email, password }, headers)
  async function account (language: string | null) {
    const email = newEmail()
    const { user } = (await ask(one, '/v1/register', language, { email, password })).json<{ user: { id: string } }>()
    return { email, userId: user.id }
  }
  // There is always another administrator.
  await one.admin.create(operator, { email: newEmail(), role: 'admin' })
  const arrives = async (t: Test, email: string, kind: MailKind, language: MailLanguage, count = 1) =>
    t.equal((await postbox.wait(email, kind, count)).subject, render(kind, language, { name: 'Latchkey' }).subject)

  t.test('what somebody asks for comes in the language of the request, else in that of the account', async t => {
    const { email } = await account('de-AT,de;q=0.9,en;q=0.5')
    await arrives(t, email, 'verify_email', 'de')
    for (const [i, [header, language]] of ([['ar', 'ar'], ['*', 'de'], ['fr', 'de'], [null, 'de'], ['en-GB', 'en']] as const).entries()) {
      t.equal((await ask(one, '/v1/password/forgot', header, { email })).statusCode, 202)
      await arrives(t, email, 'reset_password', language, i + 1)
    }
    const { email: other } = await account(null)
    await arrives(t, other, 'verify_email', 'en')
  })

  t.test('what somebody else causes comes in the language of the last sign-in', async t => {
    const { email, userId } = await account('de')
    await one.admin.setRole(operator, userId, 'admin')
    await arrives(t, email, 'role_changed', 'de')
    await login(email, 'ar')
    await login(email, null)
    await login(email, 'fr')
    await one.admin.setRole(operator, userId, 'user')
    await arrives(t, email, 'role_changed', 'ar', 2)
    await one.admin.disable(operator, userId)
    await arrives(t, email, 'account_disabled', 'ar')
    await one.admin.enable(operator, userId)
    await one.admin.remove(operator, userId)
    await arrives(t, email, 'account_deleted', 'ar')
  })

  t.test('a login from a new device does not choose the language of what the owner is told', async t => {
    const { email, userId } = await account('de')
    const thief = { 'user-agent': 'Thief' }
    await login(email, 'ar', thief)
    await arrives(t, email, 'new_device', 'de')
    await one.admin.setRole(operator, userId, 'admin')
    await arrives(t, email, 'role_changed', 'de')
    await login(email, 'ar', thief)
    await one.admin.setRole(operator, userId, 'user')
    await arrives(t, email, 'role_changed', 'ar', 2)
  })

  t.test('a registration is confirmed in its own language, and an owner is told in theirs', async t => {
    const confirming = await start({ REGISTRATION: 'confirm' })
    const email = newEmail()
    await ask(confirming, '/v1/register', 'ar', { email, password })
    await arrives(t, email, 'confirm_registration', 'ar')
    const taken = newEmail()
    await confirming.admin.create(operator, { email: taken, password, role: 'user' })
    t.equal((await ask(confirming, '/v1/login', 'de', { email: taken, password })).statusCode, 200)
    await ask(confirming, '/v1/register', 'ar', { email: taken, password })
    await arrives(t, taken, 'account_exists', 'de')
  })

  t.test('a language of a later version is none here', async t => {
    const { email, userId } = await account('de')
    await one.database.prepared("update users set language = 'tlh' where id = $1", [userId])
    await one.admin.setRole(operator, userId, 'admin')
    await arrives(t, email, 'role_changed', 'en')
    await ask(one, '/v1/password/forgot', null, { email })
    await arrives(t, email, 'reset_password', 'en')
  })
})
