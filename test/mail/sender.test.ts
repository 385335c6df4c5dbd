import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/config.js'
import type { Mailer, OutgoingMail } from '../../src/mail/mailer.js'
import { createSmtpMailer } from '../../src/mail/transport.js'
import {
  becomesTrue,
  embeddedGround,
  type Ground,
  newEmail,
  onEachGround,
  patienceMs,
  serverGround,
  startApp,
  type TestApp
} from '../fixtures/app.js'
import { holdUser } from '../fixtures/locks.js'
import { createPostbox, startSmtp, tokenIn } from '../fixtures/mail.js'
import { freePort } from '../fixtures/servers.js'

const mail: OutgoingMail = {
  id: '6a1b9d36-7c0e-4a51-8a0c-0f4b0d6a8d10',
  kind: 'reset_password',
  to: 'ada@example.com',
  subject: 'Reset your password',
  text: 'Hello\n\n.dots\n',
  html: '<p>Hello</p>\n'
}
const never = new AbortController().signal
const send = (url: string, given = mail, ca?: string, from = 'Our Service <auth@example.com>') =>
  createSmtpMailer(loadConfig({ SMTP_URL: url }).smtp ?? t.fail('no SMTP_URL') as never, from, { ca }).send(given, never)
const outbox = (one: TestApp) =>
  one.database.prepared<{ id: string, kind: string, attempts: number, wait: number }>(
    'select id, kind, attempts, extract(epoch from next_attempt_at - now())::float8 as wait from mails order by created_at',
    []
  )
const due = (one: TestApp) => one.database.prepared('update mails set next_attempt_at = now()', [])

t.test('SMTP', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-mail-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-keyout',
      join(dir, 'key.pem'),
      '-out',
      join(dir, 'cert.pem')
    ],
    { stdio: 'ignore' }
  )
  const [key, cert] = [readFileSync(join(dir, 'key.pem'), 'utf8'), readFileSync(join(dir, 'cert.pem'), 'utf8')]

  t.test('mail is sent by STARTTLS, with user and password', async t => {
    const { received, port } = await startSmtp(t, { key, cert, disabledCommands: [], authOptional: false })
    const url = `smtp://ada:p%40ss%20word@localhost:${port}?tls=required`
    t.same(await send(url, mail, cert), { outcome: 'sent' })
    t.match(received, [{ to: ['ada@example.com'], from: 'auth@example.com', secure: true, user: 'ada' }])
    t.match(await send(url), { outcome: 'unreachable' }, 'this certificate is not trusted')
    const wrong = await send(url.replace('word', 'SENTINEL'), mail, cert)
    t.match(wrong, { outcome: 'unreachable', failure: 'Error EAUTH', status: 535 })
    t.notMatch(JSON.stringify(wrong), /SENTINEL/, 'what the server repeats is left out')
    t.equal(received.length, 1)
  })

  t.test('EHLO gives the name that SMTP_NAME sets, and a relay that refuses a name is reported as such', async t => {
    const names: unknown[] = []
    const { port } = await startSmtp(t, {
      onRcptTo (_to, session, done) {
        const name = (session as { hostNameAppearsAs?: string }).hostNameAppearsAs
        names.push(name)
        const refusal = '5.5.2 <ada@example.com>: Helo command rejected: need fully-qualified hostname'
        done(name === 'mail.example.com' ? undefined : Object.assign(new Error(refusal), { responseCode: 504 }))
      }
    })
    const { smtp, smtpName } = loadConfig({ SMTP_URL: `smtp://127.0.0.1:${port}`, SMTP_NAME: 'mail.example.com' })
    if (smtp === null) throw new Error('no SMTP_URL')
    const refused = await createSmtpMailer(smtp, 'a@example.com', { name: '[127.0.0.1]' }).send(mail, never)
    t.match(refused, { outcome: 'unreachable', failure: /EHLO refused.*SMTP_NAME/, status: 504 }, 'and the mail is not given up')
    t.notMatch(JSON.stringify(refused), /ada|fully-qualified/)
    t.same(await createSmtpMailer(smtp, 'a@example.com', { name: smtpName }).send(mail, never), { outcome: 'sent' })
    t.same(names, ['[127.0.0.1]', 'mail.example.com'])
    t.throws(() => loadConfig({ SMTP_NAME: 'two words' }), /SMTP_NAME/)
  })

  t.test('mail is sent by TLS from the first byte', async t => {
    const { received, port } = await startSmtp(t, { key, cert, secure: true })
    t.same(await send(`smtps://localhost:${port}`, mail, cert), { outcome: 'sent' })
    t.match(received, [{ secure: true }])
    t.match(await send(`smtps://localhost:${port}`), { outcome: 'unreachable' })
  })

  t.test('a server that offers no TLS gets neither password nor mail, unless it is on loopback', async t => {
    let asked = 0
    const { received, port } = await startSmtp(t, { onAuth: (_auth, _session, done) => { asked++; done(null, { user: 'x' }) } })
    t.match(await send(`smtp://ada:word@localhost:${port}?tls=required`), { outcome: 'unreachable', failure: 'Error ETLS' })
    t.equal(asked + received.length, 0)
    t.same(await send(`smtp://127.0.0.1:${port}`), { outcome: 'sent' })
    t.match(received, [{ secure: false }])
  })

  t.test('a mail stays one mail, to one mailbox, whatever it contains', async t => {
    const { received, port } = await startSmtp(t)
    const url = `smtp://127.0.0.1:${port}`
    const names = [
      'a,b@example.com',
      'a;b@example.com',
      '"a"@example.com',
      'a(b)@example.com',
      "o'hara+x@example.com",
      'group:a@example.com'
    ]
    for (const to of names) t.same(await send(url, { ...mail, to }), { outcome: 'sent' }, to)
    const unquoted = (to: string) => to.replace(/^"(.*)"@/, '$1@')
    t.same(received.map(({ to }) => to.map(unquoted)), names.map(to => [unquoted(to)]))
    for (const { raw } of received) {
      const [head = '', body = ''] = raw.split(/\r\n\r\n(.*)/s)
      t.same(
        head.match(/^[A-Za-z-]+(?=:)/gm)?.map(name => name.toLowerCase()).sort(),
        ['auto-submitted', 'content-type', 'date', 'from', 'message-id', 'mime-version', 'subject', 'to', 'x-auto-response-suppress'],
        'these headers and no others'
      )
      t.match(head, /^From: Our Service <auth@example\.com>\r$/m)
      t.match(head, `Message-ID: <${mail.id}@example.com>\r\n`)
      t.match(body, /Content-Type: text\/plain.*Content-Type: text\/html/s)
      t.match(body, '\r\n.dots\r\n')
    }
    for (const to of [
      'a>@example.com',
      'a\r\nRCPT TO:<b@example.com',
      'a\nBcc: b@example.com',
      '<a@example.com'
    ]) t.match(await send(url, { ...mail, to }), { outcome: 'refused', failure: 'not a mailbox' }, JSON.stringify(to))
    t.same(await send(url, { ...mail, subject: 'Hello\r\nBcc: b@example.com', text: 'ä'.repeat(2_000) }), { outcome: 'sent' })
    t.notMatch(received.at(-1)?.raw, /^Bcc/m)
    t.equal(received.length, names.length + 1)
  })

  t.test('the answer of a server decides whether a mail is tried again', async t => {
    const answer = (status: number) => Object.assign(new Error('no such thing as ada@example.com'), { responseCode: status })
    const outcomes: Record<string, unknown> = {}
    for (const [name, options] of Object.entries({
      'no such mailbox': { onRcptTo: (_to: unknown, _session: unknown, done: (error: Error) => void) => done(answer(550)) },
      'mailbox busy': { onRcptTo: (_to: unknown, _session: unknown, done: (error: Error) => void) => done(answer(450)) },
      'sender refused': { onMailFrom: (_from: unknown, _session: unknown, done: (error: Error) => void) => done(answer(553)) },
      'content refused': {
        onData: (
          stream: NodeJS.ReadableStream,
          _session: unknown,
          done: (error: Error) => void
        ) => { stream.resume().on('end', () => done(answer(554))) }
      },
      'server busy': { onConnect: (_session: unknown, done: (error: Error) => void) => done(answer(421)) }
    })) {
      const { port } = await startSmtp(t, options)
      const result = await send(`smtp://127.0.0.1:${port}`)
      t.notMatch(JSON.stringify(result), /ada|no such thing/)
      outcomes[name] = result.outcome
    }
    outcomes.nobody = (await send(`smtp://127.0.0.1:${await freePort()}`)).outcome
    t.same(
      outcomes,
      {
        'no such mailbox': 'refused',
        'mailbox busy': 'failed',
        'sender refused': 'failed',
        'content refused': 'failed',
        'server busy': 'unreachable',
        nobody: 'unreachable'
      }
    )
    t.match(
      await createSmtpMailer({ host: '127.0.0.1', port: await freePort(), tls: 'off', user: null, password: null }, 'a@example.com').send(
        mail,
        AbortSignal.abort()
      ),
      { outcome: 'unreachable' }
    )
  })
})

onEachGround(t, async (t, ground) => {
  t.test('a mail server that is down costs no reply and loses no mail', async t => {
    const port = await freePort()
    const one = await startApp(
      t,
      ground,
      { env: { SMTP_URL: `smtp://ada:SENTINEL@127.0.0.1:${port}`, APP_URL: 'https://app.example.com' } }
    )
    const { email } = await one.account()
    const others = [await one.account(), await one.account()]
    t.ok(await becomesTrue(() => one.log.some(line => line.includes('"failure":"Error ESOCKET"')), patienceMs), 'sending was tried')
    t.equal((await outbox(one)).length, 3)
    t.equal((await one.call('POST', '/v1/password/forgot', { body: { email } })).statusCode, 202)
    const smtp = await startSmtp(t, { authOptional: false, onAuth: (_auth, _session, done) => done(null, { user: 'ada' }) }, port)
    const arrived = async () => {
      // Every time, because a mail that was tried before may not be postponed yet.
      await due(one)
      return smtp.received.length === 4
    }
    t.ok(await becomesTrue(arrived, 2 * patienceMs), `${smtp.received.length} arrived`)
    t.ok(await becomesTrue(async () => (await outbox(one)).length === 0, patienceMs), 'the outbox is empty')
    t.same(smtp.received.flatMap(({ to }) => to).sort(), [email, email, ...others.map(other => other.email)].sort())
    const mail = smtp.received.find(({ raw }) => /lkmr_/.test(raw))
    t.match(mail?.raw, /^https:\/\/app\.example\.com#token=lkmr_\w{43}\r$/m, 'the link is not split across lines')
    t.equal(
      (await one.call(
        'POST',
        '/v1/password/reset',
        { body: { token: tokenIn({ text: mail?.raw ?? '' }), password: 'a new battery staple' } }
      )).statusCode,
      204
    )
    const log = one.log.join('')
    t.match(log, /"kind":"verify_email","attempt":1,"failure":"Error ESOCKET"/)
    t.notMatch(log, /SENTINEL|lkm[rv]_|@example\.com/, 'the log has no password, no token and no address')
  })

  t.test('mails that fail are postponed, and finally given up', async t => {
    const answers: Array<Awaited<ReturnType<Mailer['send']>>> = []
    const mailer: Mailer = { send: async () => answers.shift() ?? { outcome: 'failed', failure: 'Error EMESSAGE', status: 451 } }
    const one = await startApp(t, await alone(ground), { mailer })
    await one.account()
    const poke = async () => one.call('POST', '/v1/password/forgot', { body: { email: newEmail() } })
    for (const [i, gap] of [10, 30, 90, 270, 810, 2430, 3600, 3600].entries()) {
      if (i > 0) await due(one)
      await poke()
      const postponed = async () => (await outbox(one)).some(({ attempts, wait }) => attempts === i + 1 && wait > gap - 9 && wait <= gap)
      t.ok(await becomesTrue(postponed, patienceMs), `${gap} s after attempt ${i + 1}`)
    }
    await one.database.prepared("update mails set created_at = now() - interval '25 hours', next_attempt_at = now()", [])
    await poke()
    t.ok(await becomesTrue(async () => (await outbox(one)).length === 0, patienceMs))
    t.match(one.log.join(''), 'mail given up after a day')
    answers.push({ outcome: 'refused', failure: 'Error EENVELOPE', status: 550 })
    await one.account()
    t.ok(await becomesTrue(() => one.log.some(line => line.includes('mail refused for good')), patienceMs))
    t.ok(await becomesTrue(async () => (await outbox(one)).length === 0, patienceMs))
  })

  t.test('a mail that is voided before it is sent is not sent', async t => {
    const own = await alone(ground)
    const postbox = createPostbox()
    const one = await startApp(t, own, { mailer: null })
    const { token, userId } = await one.account()
    t.equal((await one.call('PATCH', '/v1/me', { token, body: { email: newEmail() } })).statusCode, 200)
    await one.call('POST', '/v1/password/forgot', { body: { email: newEmail() } })
    t.same(
      (await outbox(one)).map(({ kind }) => kind).sort(),
      ['confirm_email_change', 'email_change_requested', 'reset_password', 'verify_email']
    )
    await one.call(
      'PUT',
      '/v1/password',
      { token, body: { currentPassword: 'correct horse battery staple', newPassword: 'a new battery staple' } }
    )
    t.same(
      (await outbox(one)).map(({ kind }) => kind).sort(),
      ['email_change_requested', 'password_changed', 'reset_password', 'verify_email']
    )
    await one.database.prepared('update users set disabled_at = now() where id = $1', [userId])
    const other = await startApp(t, { ...own, database: async () => shareOf(one) }, { mailer: postbox.mailer })
    t.ok(await becomesTrue(async () => (await outbox(other)).length === 0, patienceMs))
    t.same(postbox.letters, [], 'and nothing is sent for a disabled account')
  })
})

t.test('a full outbox survives restarts, and two instances send each mail once', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const first = await startApp(t, ground, { mailer: null })
  const emails = Array.from({ length: 60 }, newEmail)
  for (const email of emails) await first.register(email)
  await first.close()

  const hung: OutgoingMail[] = []
  const dying = await startApp(t, ground, { mailer: { send: async mail => { hung.push(mail); return await new Promise(() => {}) } } })
  t.ok(await becomesTrue(() => hung.length === 5, patienceMs), 'it sends five at once, and no more')
  const closedAt = performance.now()
  await dying.close()
  t.ok(performance.now() - closedAt < 20_000, 'mails in progress do not delay the shutdown for long')

  // One instance alone sends at most five at once: with the sixth, both take part.
  let waiting = 0
  let open = () => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  const smtp = await startSmtp(t, {
    onRcptTo: (_to, _session, done) => {
      if (++waiting === 6) open()
      void opened.then(() => done())
    }
  })
  const env = { SMTP_URL: `smtp://127.0.0.1:${smtp.port}` }
  const instances = await Promise.all([startApp(t, ground, { env }), startApp(t, ground, { env })])
  const [one, two] = instances
  t.ok(await becomesTrue(async () => (await outbox(one)).length === 5, patienceMs))
  t.equal(smtp.received.length, 55, 'the five that were in progress wait until nobody can still be sending them')
  t.ok((await outbox(one)).every(({ wait }) => wait > 60 && wait <= 120))
  await due(one)
  await Promise.all(instances.map(each => each.call('POST', '/v1/password/forgot', { body: { email: newEmail() } })))
  t.ok(await becomesTrue(async () => (await outbox(one)).length === 0, patienceMs))
  t.same(smtp.received.flatMap(({ to }) => to).sort(), emails.sort(), 'each once')
  const sent = instances.map(({ log }) => log.filter(line => line.includes('"mail sent"')).length)
  t.ok(sent.every(count => count > 0), `both took part: ${sent.join(' and ')}`)
  t.equal((await two.database.prepared('select from mail_tokens', [])).length, 65, 'the five have a token that nobody got, and a new one')
})

t.test('a mail that is voided while a sender handles it brings no token', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const postbox = createPostbox()
  const one = await startApp(t, ground, { mailer: null })
  const { email, token, userId } = await one.account()
  const next = newEmail()
  await one.call('PATCH', '/v1/me', { token, body: { email: next } })
  await one.database.prepared("update mails set next_attempt_at = now() + interval '1 hour'", [])
  const two = await startApp(t, ground, { mailer: postbox.mailer })
  const owner = await holdUser(t, ground, userId)
  await due(one)
  // Wakes the sender.
  await two.call('POST', '/v1/password/forgot', { body: { email: newEmail() } })
  await owner.waiters(3)
  await one.database.prepared("delete from mails where kind = 'confirm_email_change'", [])
  await owner.release()
  await postbox.wait(email, 'verify_email')
  await postbox.wait(email, 'email_change_requested')
  t.ok(await becomesTrue(async () => (await outbox(one)).length === 0, patienceMs))
  t.equal(postbox.of(next, 'confirm_email_change').length, 0)
  t.same(await one.database.prepared("select 1 from mail_tokens where kind = 'email_change'", []), [])
})

t.test('without SMTP_URL mails are written to files that nobody else can read', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-mail-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const one = await startApp(
    t,
    await embeddedGround(),
    { env: { DATA_DIR: join(dir, 'data'), APP_URL: 'https://app.example.com/account?from=mail' } }
  )
  const { email } = await one.account()
  await one.call('POST', '/v1/password/forgot', { body: { email } })
  const folder = join(dir, 'data/mail')
  const files = () => { try { return readdirSync(folder).filter(name => name.endsWith('.eml')) } catch { return [] } }
  t.ok(await becomesTrue(() => files().length === 2, patienceMs))
  t.equal(statSync(folder).mode & 0o777, 0o700)
  for (const file of files()) t.equal(statSync(join(folder, file)).mode & 0o777, 0o600)
  t.equal(readdirSync(folder).length, 2, 'no unfinished file is left')
  const text = readFileSync(join(folder, files().find(name => name.includes('reset_password')) ?? ''), 'utf8')
  t.match(text, `To: ${email}\n`)
  t.match(text, /^From: latchkey@app\.example\.com$/m)
  t.match(text, /^https:\/\/app\.example\.com\/account\?from=mail#token=lkmr_\w{43}$/m)
  t.notMatch(text, '\r')
  t.equal(
    (await one.call('POST', '/v1/password/reset', { body: { token: tokenIn({ text }), password: 'a new battery staple' } })).statusCode,
    204
  )
  t.notMatch(one.log.join(''), /lkm[rv]_|@example\.com/)
})

t.test('without APP_URL links lead to the pages below PUBLIC_URL', async t => {
  const postbox = createPostbox()
  const one = await startApp(t, await embeddedGround(), { env: { PUBLIC_URL: 'https://api.example.com/auth/' }, mailer: postbox.mailer })
  const { email } = await one.account()
  await one.call('POST', '/v1/password/forgot', { body: { email } })
  for (const [kind, page] of [['verify_email', 'verify'], ['reset_password', 'reset']] as const) {
    const letter = await postbox.wait(email, kind)
    const link = `https://api.example.com/auth/account/${page}#token=${tokenIn(letter)}`
    t.match(letter.text, `\n\n${link}\n\n`)
    t.match(letter.html, `<a href="${link}">`)
    t.notMatch(letter.text, 'POST')
  }
})

t.test('without APP_URL and pages a mail shows the token and where to send it', async t => {
  const postbox = createPostbox()
  const env = { PUBLIC_URL: 'https://api.example.com/', PAGES: 'false' }
  const one = await startApp(t, await embeddedGround(), { env, mailer: postbox.mailer })
  const { email } = await one.account()
  const { text, html } = await postbox.wait(email, 'verify_email')
  t.match(text, `\n\n${tokenIn({ text })}\n\n`)
  t.match(text, 'POST https://api.example.com/v1/email/verify {"token": "..."}')
  t.match(text + html, /^[\x20-\x7e\n]*$/, 'in ASCII: nothing needs encoding, so a token is never split across lines')
  t.match(html, `<code dir="ltr">${tokenIn({ text })}</code>`)
  t.notMatch(html, /<a /)
})

/** A separate database, with an outbox of its own. */
async function alone (ground: Ground): Promise<Ground> {
  if (ground.databaseUrl === null) return await embeddedGround()
  const own = await serverGround(t as Test)
  if (own === null) throw new Error('the servers are gone')
  return own
}

/** The database of `one`, which stays open when the other instance is closed. */
function shareOf (one: TestApp) {
  return { ...one.database, close: async () => {} }
}
