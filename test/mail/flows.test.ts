import { createHash } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import type { User } from '../../src/users/user.js'
import { becomesTrue, createTestClock, newEmail, onEachGround, password, patienceMs, startApp, type TestApp } from '../fixtures/app.js'
import { createPostbox, tokenIn } from '../fixtures/mail.js'

const fresh = 'a new and longer battery staple'
const hourMs = 3_600_000

const forgot = (one: TestApp, email: string) => one.call('POST', '/v1/password/forgot', { body: { email } })
const reset = (
  one: TestApp,
  token: string,
  newPassword = fresh,
  more: object = {}
) => one.call('POST', '/v1/password/reset', { body: { token, password: newPassword, ...more } })
const verify = (
  one: TestApp,
  token: string,
  password?: string
) => one.call('POST', '/v1/email/verify', { body: { token, ...password === undefined ? {} : { password } } })
const me = async (one: TestApp, token: string) => (await one.me(token)).json<{ user: User }>().user
const refusedToken = (
  t: Test,
  reply: Response,
  name: string
) => t.match([reply.statusCode, reply.json().code], [400, 'AUTH_MAIL_TOKEN_INVALID'], name)
const count = async (
  one: TestApp,
  table: string
) => Number((await one.database.prepared<{ n: number }>(`select count(*)::int as n from ${table}`, []))[0]?.n)
/** Resolves when every mail has been sent or dropped. */
async function emptied (one: TestApp): Promise<void> {
  if (!await becomesTrue(async () => await count(one, 'mails') === 0, patienceMs)) throw new Error('mails stay in the outbox')
}

onEachGround(t, async (t, ground) => {
  // Instances on one ground share its outbox: any of them may send what another has promised.
  const [postbox, clock] = [createPostbox(), createTestClock()]
  const start = (t: Test, env: Record<string, string> = {}) =>
    startApp(t, ground, { env: { APP_URL: 'https://app.example.com/account', SESSION_LIMIT: '0', ...env }, clock, mailer: postbox.mailer })
  /** An account whose address is verified. */
  async function verified () {
    const account = await one.account()
    const token = tokenIn(await postbox.wait(account.email, 'verify_email'))
    if ((await verify(one, token)).statusCode !== 204) throw new Error('not verified')
    return account
  }

  const one = await start(t)
  const limited = await start(t, { LOGIN_LIMIT: '3/1m' })
  const closed = await start(t, { REGISTRATION: 'confirm' })

  t.test('a forgotten password can be reset by mail once, and every session and personal token ends', async t => {
    const { email, token, userId } = await verified()
    const second = (await one.login(email)).json().accessToken
    const personal = (await one.call('POST', '/v1/tokens', { token, body: { name: 'backup' } })).json().accessToken
    const asked = await forgot(one, email.toUpperCase())
    t.equal(asked.statusCode, 202)
    t.equal(asked.body, '{}')
    const letter = await postbox.wait(email, 'reset_password')
    t.match(letter.text, `https://app.example.com/account#token=${tokenIn(letter)}\n`)
    t.match(letter.html, `<a href="https://app.example.com/account#token=${tokenIn(letter)}">`)

    t.equal((await reset(one, tokenIn(letter), 'short')).json().code, 'AUTH_PASSWORD_REJECTED')
    const done = await reset(one, tokenIn(letter))
    t.equal(done.statusCode, 204)
    t.equal(done.body, '')
    for (const dead of [token, second, personal]) t.equal((await one.me(dead)).statusCode, 401)
    t.equal((await one.login(email)).statusCode, 401, 'the old password no longer works')
    t.equal((await one.login(email, { password: fresh })).statusCode, 200)
    refusedToken(t, await reset(one, tokenIn(letter)), 'again')
    t.match((await postbox.wait(email, 'password_reset')).text, /From: 127\.0\.0\.1\nDevice: lightMyRequest\n/)
    const events = (await one.audit.list({ userId, cursor: undefined, limit: 100 })).events.map(({ type, cause }) =>
      `${type} ${cause ?? ''}`.trim())
    t.same(
      events.filter(event => /reset/.test(event)).sort(),
      [
        'password_reset',
        'password_reset_requested',
        'personal_token_ended password_reset',
        'session_ended password_reset',
        'session_ended password_reset'
      ]
    )
  })

  t.test('a reset can keep the personal tokens made after the address was verified and before the reset was requested', async t => {
    const { email, token } = await one.account()
    const personal = async (name: string) =>
      (await one.call('POST', '/v1/tokens', { token, body: { name } })).json<{ accessToken: string }>().accessToken
    const unproved = await personal('before the address was verified')
    one.clock.advance(60_000)
    await verify(one, tokenIn(await postbox.wait(email, 'verify_email')))
    one.clock.advance(60_000)
    const kept = await personal('in between')
    one.clock.advance(60_000)
    await forgot(one, email)
    const resetting = tokenIn(await postbox.wait(email, 'reset_password'))
    one.clock.advance(60_000)
    const late = await personal('after the reset was asked for')
    t.equal((await reset(one, resetting, fresh, { keepPersonalTokens: true })).statusCode, 204)
    const live = await Promise.all([unproved, kept, late].map(async each => (await one.me(each)).statusCode))
    t.same(live, [401, 200, 401])
  })

  t.test('a reset proves the mailbox: it verifies the address, and ends every personal token even when asked to keep some', async t => {
    const { email, token } = await one.account()
    const personal = (await one.call('POST', '/v1/tokens', { token, body: { name: 'left behind' } })).json().accessToken
    t.equal((await one.me(personal)).statusCode, 200)
    // Waits for this mail first: the reset voids what is not sent yet.
    const verifying = tokenIn(await postbox.wait(email, 'verify_email'))
    await forgot(one, email)
    const resetting = tokenIn(await postbox.wait(email, 'reset_password'))
    t.equal((await reset(one, resetting, fresh, { keepPersonalTokens: true })).statusCode, 204)
    t.equal((await one.me(personal)).statusCode, 401)
    const { user } = (await one.login(email, { password: fresh })).json()
    t.type(user.emailVerifiedAt, 'string')
    refusedToken(t, await verify(one, verifying), 'there is nothing left to verify')
  })

  t.test('whoever asks for a reset learns nothing, and only those with a live account get a mail', async t => {
    const [known, disabled] = [await verified(), await one.account()]
    const unverified = await one.account()
    await one.database.prepared('update users set disabled_at = now() where id = $1', [disabled.userId])
    const asked = { known: known.email, unknown: newEmail(), disabled: disabled.email, unverified: unverified.email }
    const replies = await Promise.all(Object.values(asked).map(email => forgot(one, email)))
    const shown = replies.map(({ statusCode, headers: { date, ...headers }, body }) => ({ statusCode, headers, body }))
    for (const reply of shown) t.same(reply, shown[0])
    t.equal(shown[0]?.statusCode, 202)
    await postbox.wait(known.email, 'reset_password')
    await postbox.wait(unverified.email, 'reset_password')
    await emptied(one)
    t.equal(await count(one, 'mails'), 0, 'those that cannot be sent are gone too')
    t.same([asked.unknown, asked.disabled].flatMap(email => postbox.of(email, 'reset_password')), [])

    const took: Record<string, number[]> = { known: [], unknown: [], disabled: [] }
    for (let i = 0; i < 25; i++) {
      for (const name of ['known', 'unknown', 'disabled'] as const) {
        // Otherwise the sender would still be at work during the next request.
        await emptied(one)
        const startedAt = performance.now()
        await forgot(one, asked[name])
        took[name]?.push(performance.now() - startedAt)
      }
    }
    const typical = Object.values(took).map(times => times.sort((a, b) => a - b)[6] as number)
    t.ok(Math.max(...typical) / Math.min(...typical) < 2, `${typical.map(ms => ms.toFixed(2)).join(', ')} ms`)
  })

  t.test('owners are notified of a personal token, a role, a block, and that the account was disabled or deleted', async t => {
    const { email, token, userId } = await verified()
    await one.call('POST', '/v1/tokens', { token, body: { name: 'backup' } })
    t.match((await postbox.wait(email, 'personal_token_created')).text, /^Device: lightMyRequest$/m)
    await one.admin.setRole(operator, userId, 'admin')
    await postbox.wait(email, 'role_changed')
    const chief = await one.account()
    await one.admin.setRole(operator, chief.userId, 'admin')
    await one.admin.disable(operator, userId)
    await postbox.wait(email, 'account_disabled')
    await one.admin.enable(operator, userId)
    await one.login(email, { password: 'wrong, and counted' })
    await one.database.prepared('update login_failures set failures = 99 where failures < 99', [])
    await one.login(email, { password: 'wrong, and the hundredth' })
    await postbox.wait(email, 'login_blocked')
    await one.admin.remove(operator, userId)
    await postbox.wait(email, 'account_deleted')
    await emptied(one)
    for (const kind of [
      'personal_token_created',
      'role_changed',
      'account_disabled',
      'login_blocked',
      'account_deleted'
    ] as const) t.equal(postbox.of(email, kind).length, 1, kind)

    const last = await verified()
    const recent = (await one.login(last.email)).json().accessToken
    t.equal((await one.call('DELETE', '/v1/me', { token: recent })).statusCode, 204)
    await postbox.wait(last.email, 'account_deleted')
  })

  t.test('tags in addresses do not multiply the mails that a mailbox gets', async t => {
    const [local, domain] = newEmail().split('@')
    const tagged = Array.from({ length: 25 }, (_, i) => `${local}+${i}@${domain}`)
    for (const email of tagged) t.equal((await one.register(email)).statusCode, 201)
    await emptied(one)
    t.equal(tagged.flatMap(email => postbox.of(email, 'verify_email')).length, 20)
  })

  t.test('the limit treats everybody alike, by address and mailbox, and a mailbox is not flooded', async t => {
    const { email } = await limited.account()
    for (const address of [email, newEmail()]) {
      const statuses = []
      for (let i = 0; i < 5; i++) statuses.push(await forgot(limited, i % 2 === 0 ? address : address.toUpperCase()))
      t.same(statuses.map(({ statusCode }) => statusCode), [202, 202, 202, 429, 429])
      t.equal(statuses[4]?.json().code, 'AUTH_RATE_LIMITED')
      t.match(statuses[4]?.headers['retry-after'], /^\d+$/)
    }
    const victim = await one.account()
    await postbox.wait(victim.email, 'verify_email')
    for (let i = 0; i < 20; i++) await forgot(one, victim.email)
    await postbox.wait(victim.email, 'reset_password', 10)
    await emptied(one)
    t.equal(postbox.of(victim.email, 'reset_password').length, 10, 'ten an hour')
    t.equal(
      (await one.call('PUT', '/v1/password', { token: victim.token, body: { currentPassword: password, newPassword: fresh } })).statusCode,
      200
    )
    await postbox.wait(victim.email, 'password_changed')
    t.pass('what strangers ask for does not crowd out what the owner has to know')
  })

  t.test('a token works only for its purpose, for a limited time, and until something voids it', async t => {
    const account = await one.account()
    const verifying = tokenIn(await postbox.wait(account.email, 'verify_email'))
    await forgot(one, account.email)
    const resetting = tokenIn(await postbox.wait(account.email, 'reset_password'))
    const hash = createHash('sha256').update(resetting).digest('hex')
    for (const made of [
      verifying,
      hash,
      account.token,
      `${resetting}x`,
      resetting.slice(0, -1),
      resetting.replace('lkmr_', 'lkmv_'),
      `lkmr_${'x'.repeat(43)}`,
      'x',
      '€'
    ]) refusedToken(t, await reset(one, made), made)
    for (const made of [resetting, account.token, `lkmv_${'x'.repeat(43)}`]) refusedToken(t, await verify(one, made), made)
    for (const presented of [verifying, resetting]) t.equal((await one.me(presented)).statusCode, 401, 'it works nowhere else')

    await forgot(one, account.email)
    const newer = tokenIn(await postbox.wait(account.email, 'reset_password', 2))
    t.not(newer, resetting)
    one.clock.advance(hourMs - 60_000)
    t.equal((await reset(one, resetting)).statusCode, 204, 'somebody else may ask again without taking anything from its owner')
    refusedToken(t, await reset(one, newer), 'but one use voids the others')

    await forgot(one, account.email)
    const old = tokenIn(await postbox.wait(account.email, 'reset_password', 3))
    one.clock.advance(hourMs)
    refusedToken(t, await reset(one, old), 'after an hour')
    await forgot(one, account.email)
    const overtaken = tokenIn(await postbox.wait(account.email, 'reset_password', 4))
    const { accessToken } = (await one.login(account.email, { password: fresh })).json()
    await one.call('PUT', '/v1/password', { token: accessToken, body: { currentPassword: fresh, newPassword: password } })
    refusedToken(t, await reset(one, overtaken), 'after a password change')
    await forgot(one, account.email)
    const disabled = tokenIn(await postbox.wait(account.email, 'reset_password', 5))
    await one.database.prepared('update users set disabled_at = now() where id = $1', [account.userId])
    refusedToken(t, await reset(one, disabled), 'of a disabled account')
    for (const body of [
      {},
      { token: resetting },
      { token: resetting, password: fresh, userId: account.userId },
      { token: [resetting], password: fresh },
      { token: 1, password: fresh }
    ]) t.equal((await one.call('POST', '/v1/password/reset', { body })).statusCode, 400)
  })

  t.test('a verified address shows at once on every token, even cached ones', async t => {
    const { email, token, userId } = await one.account()
    const personal = (await one.call('POST', '/v1/tokens', { token, body: { name: 'backup' } })).json().accessToken
    for (const each of [token, personal]) for (let i = 0; i < 2; i++) t.equal((await me(one, each)).emailVerifiedAt, null)
    const first = tokenIn(await postbox.wait(email, 'verify_email'))

    const again = await one.call('POST', '/v1/email/verify/send', { token })
    t.equal(again.statusCode, 202)
    t.equal(again.body, '{}')
    const second = tokenIn(await postbox.wait(email, 'verify_email', 2))
    t.equal((await verify(one, second)).statusCode, 204)
    for (const each of [token, personal]) t.type((await me(one, each)).emailVerifiedAt, 'string')
    for (const used of [first, second]) refusedToken(t, await verify(one, used), 'neither works again')
    t.ok((await one.audit.list({ userId, cursor: undefined, limit: 9 })).events.some(({ type }) => type === 'email_verified'))

    t.equal((await one.call('POST', '/v1/email/verify/send', { token })).statusCode, 202, 'nothing to do')
    await emptied(one)
    t.equal(postbox.of(email, 'verify_email').length, 2)
    t.equal((await one.call('POST', '/v1/email/verify/send', { token: personal })).json().code, 'AUTH_SESSION_REQUIRED')
    t.equal((await one.call('POST', '/v1/email/verify/send')).json().code, 'AUTH_MISSING_TOKEN')

    const late = await limited.account()
    const statuses = []
    for (let i = 0; i < 4; i++) statuses.push((await limited.call('POST', '/v1/email/verify/send', { token: late.token })).statusCode)
    t.same(statuses, [202, 202, 202, 429])
    const expired = tokenIn(await postbox.wait(late.email, 'verify_email'))
    limited.clock.advance(24 * hourMs)
    refusedToken(t, await verify(limited, expired), 'after a day')
  })

  const change = (token: string, email: string) => one.call('PATCH', '/v1/me', { token, body: { email, password } })

  t.test('an email changes once the new mailbox confirms it, and the old one is notified', async t => {
    const account = await verified()
    const [abandoned, next, stolen] = [newEmail(), newEmail(), newEmail()]
    await forgot(one, account.email)
    const resetting = tokenIn(await postbox.wait(account.email, 'reset_password'))

    t.equal((await change(account.token, abandoned)).statusCode, 200)
    const earlier = tokenIn(await postbox.wait(abandoned, 'confirm_email_change'))
    t.match((await postbox.wait(account.email, 'email_change_requested')).text, /From: 127\.0\.0\.1/)
    t.equal((await change(account.token, next.toUpperCase())).statusCode, 200)
    const letter = await postbox.wait(next, 'confirm_email_change')
    t.match(letter.html, '>Use this address</a>')
    refusedToken(t, await verify(one, earlier), 'the earlier request is void')
    t.equal((await me(one, account.token)).email, account.email, 'not yet')

    t.equal((await verify(one, tokenIn(letter))).statusCode, 204)
    t.match(await me(one, account.token), { email: next, emailVerifiedAt: String })
    t.equal((await one.login(account.email)).statusCode, 401)
    t.equal((await one.login(next)).statusCode, 200)
    await postbox.wait(account.email, 'email_changed')
    refusedToken(t, await reset(one, resetting), 'what was mailed to the old address no longer works')
    refusedToken(t, await verify(one, tokenIn(letter)), 'again')

    t.equal((await change(account.token, stolen)).statusCode, 200)
    const thiefs = tokenIn(await postbox.wait(stolen, 'confirm_email_change'))
    const { accessToken } = (await one.call(
      'PUT',
      '/v1/password',
      { token: account.token, body: { currentPassword: password, newPassword: fresh } }
    )).json()
    refusedToken(t, await verify(one, thiefs), 'a new password voids what a thief has started')
    t.equal((await me(one, accessToken)).email, next)
  })

  t.test('no mail is sent for a deleted account, and what was mailed before no longer works', async t => {
    const account = await verified()
    await forgot(one, account.email)
    const token = tokenIn(await postbox.wait(account.email, 'reset_password'))
    await change(account.token, newEmail())
    t.equal((await one.call('DELETE', '/v1/me', { token: account.token, body: { password } })).statusCode, 204)
    refusedToken(t, await reset(one, token), 'there is nothing to reset')
    const left = await one.database.prepared(
      'select 1 from mails where user_id = $1 union all select 1 from mail_tokens where user_id = $1',
      [account.userId]
    )
    t.same(left, [])
  })

  t.test('an email cannot change to one that somebody has, or takes in the meantime', async t => {
    const [mover, owner] = [await verified(), await one.account()]
    const taken = await change(mover.token, owner.email)
    // Waits for this mail first: the next request voids what is not sent yet.
    t.notMatch((await postbox.wait(owner.email, 'account_exists')).text, /lkm/)
    const free = await change(mover.token, newEmail())
    t.same([free.statusCode, free.body], [200, taken.body], 'the caller is not told')
    const contested = newEmail()
    await change(mover.token, contested)
    const token = tokenIn(await postbox.wait(contested, 'confirm_email_change'))
    await one.register(contested)
    refusedToken(t, await verify(one, token), 'taken in the meantime')
    t.equal((await me(one, mover.token)).email, mover.email)
  })

  t.test('owners are notified of new passwords, new devices and stolen refresh tokens', async t => {
    const { email, token } = await one.account()
    await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: fresh } })
    t.match(
      (await postbox.wait(email, 'password_changed')).text,
      /When: \w+ \d+, \d{4} at \d\d:\d\d UTC\nFrom: 127\.0\.0\.1\nDevice: lightMyRequest\n/
    )
    const login = (
      userAgent: string,
      ip = '127.0.0.1'
    ) =>
      one.app.inject({
        method: 'POST',
        url: '/v1/login',
        payload: { email, password: fresh },
        headers: { 'user-agent': userAgent },
        remoteAddress: ip
      })
    await login('lightMyRequest')
    await login('lightMyRequest/2.0')
    await login('<b>Phone</b>/17.3 see https://evil.example/x now evil.example/path ops@evil.example b\u00fccher\u3002example')
    const letter = await postbox.wait(email, 'new_device')
    t.match(letter.text, 'Device: <b>Phone</b>/17.3 see  now evil example/path ops evil example b')
    t.match(letter.html, 'Device: &#60;b&#62;Phone&#60;/b&#62;/17.3 see  now evil example/path ops evil example b')
    t.notMatch(/^Device: .*$/m.exec(letter.text)?.[0], /[.\u3002@]\p{L}/u, 'nothing that a mail program would turn into a link')
    await login('<b>Phone</b>/18 see https://evil.example/x now evil.example/path ops@evil.example b\u00fccher\u3002example')
    await login('lightMyRequest', '198.51.100.7')
    t.match((await postbox.wait(email, 'new_device', 2)).text, 'From: 198.51.100.7\n')
    await login('lightMyRequest', '198.51.100.7')
    await login('Laptop', '2001:db8::1')
    await login('Laptop', '2001:db8::2')
    await postbox.wait(email, 'new_device', 3)
    await emptied(one)
    t.equal(postbox.of(email, 'new_device').length, 3, 'each once, and nobody is notified of the first device')

    const { refreshToken } = (await one.login(email, { password: fresh, refresh: true })).json()
    await one.call('POST', '/v1/refresh', { body: { refreshToken } })
    one.clock.advance(31_000)
    t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken } })).statusCode, 401)
    await postbox.wait(email, 'refresh_token_reused')
  })

  t.test('with REGISTRATION=confirm an account is made by mail', async t => {
    const one = closed
    const email = newEmail()
    const asked = await one.register(email, { name: 'Ada <b>Lovelace</b>' })
    t.equal(asked.statusCode, 202)
    t.equal(asked.body, '{}')
    t.equal((await one.login(email)).statusCode, 401, 'there is no account yet')
    const letter = await postbox.wait(email, 'confirm_registration')
    t.notMatch(letter.html + letter.text, /Ada|Lovelace/, 'nothing that a stranger may have typed')
    refusedToken(t, await verify(one, tokenIn(letter)), 'without the password that was chosen')
    refusedToken(t, await verify(one, tokenIn(letter), fresh), 'with another password')
    t.equal((await verify(one, tokenIn(letter), password)).statusCode, 204)
    refusedToken(t, await verify(one, tokenIn(letter), password), 'again')
    const { user } = (await one.login(email)).json()
    t.match(user, { email, name: 'Ada <b>Lovelace</b>', emailVerifiedAt: String, role: 'user' })
    t.equal(postbox.of(email, 'verify_email').length, 0)

    const taken = await one.register(email.toUpperCase(), { password: fresh })
    t.same([taken.statusCode, taken.body], [202, '{}'])
    const { headers: { date: _one, ...first } } = asked
    const { headers: { date: _other, ...second } } = taken
    t.same(second, first)
    t.notMatch((await postbox.wait(email, 'account_exists')).text, /lkm/)
    t.equal((await one.login(email, { password: fresh })).statusCode, 401)

    t.equal((await one.register(newEmail(), { password: 'short' })).json().code, 'AUTH_PASSWORD_REJECTED')
    t.equal((await one.register(email, { password: 'short' })).json().code, 'AUTH_PASSWORD_REJECTED')
    t.equal((await one.call('POST', '/v1/register', { body: { email: 'a\u2003b@example.com', password } })).statusCode, 400)

    const late = newEmail()
    await one.register(late)
    const token = tokenIn(await postbox.wait(late, 'confirm_registration'))
    // Otherwise a token made after the jump would not be old enough to be pruned.
    await emptied(one)
    one.clock.advance(24 * hourMs)
    refusedToken(t, await verify(one, token, password), 'after a day')
    one.clock.advance(24 * hourMs)
    const before = [await count(one, 'registrations'), await count(one, 'mail_tokens')]
    t.match(await one.prune({ dryRun: true }), { registrations: before[0], mailTokens: before[1] })
    t.match(await one.prune({ dryRun: false }), { registrations: before[0] })
    t.same([await count(one, 'registrations'), await count(one, 'mail_tokens')], [0, 0])
  })

  t.test('of several registrations for one address, the first to be confirmed wins', async t => {
    const one = closed
    const email = newEmail()
    const passwords = ['the first battery staple', 'the second battery staple', 'the third battery staple']
    for (const password of passwords) await one.register(email, { password })
    await postbox.wait(email, 'confirm_registration', 3)
    const tokens = postbox.of(email, 'confirm_registration').map(tokenIn)
    const replies = await Promise.all(tokens.map((token, i) => verify(one, token, passwords[i])))
    t.same(replies.map(({ statusCode }) => statusCode).sort(), [204, 400, 400])
    const opened = []
    for (const password of passwords) opened.push((await one.login(email, { password })).statusCode)
    t.same(opened.sort(), [200, 401, 401])
    t.equal(await count(one, 'registrations'), 0)
    t.equal(await count(one, 'mail_tokens'), 0)
  })

  t.test('nobody can use up the mails of somebody who registers, or open an account in their name', async t => {
    const one = closed
    const email = newEmail()
    for (let i = 0; i < 10; i++) t.equal((await one.register(email, { password: `a stranger's staple ${i}` })).statusCode, 202)
    await postbox.wait(email, 'confirm_registration', 10)
    await one.register(email)
    await emptied(one)
    const tokens = postbox.of(email, 'confirm_registration').map(tokenIn)
    t.equal(tokens.length, 10, 'there is no mail left for the owner')
    t.equal(await count(one, 'registrations'), 3, 'the oldest registrations were replaced')
    refusedToken(t, await verify(one, tokens[9] as string), 'the owner cannot confirm what is not theirs, without the password')
    refusedToken(t, await verify(one, tokens[0] as string, "a stranger's staple 0"), 'a registration that was replaced')
    t.equal((await verify(one, tokens[0] as string, password)).statusCode, 204, "any of the mails, with the owner's own password")
    t.equal((await one.login(email)).statusCode, 200)
    for (const token of tokens) refusedToken(t, await verify(one, token, "a stranger's staple 9"), 'nothing is left to confirm')
  })

  t.test('whatever ends sessions from outside cancels a change of address and a reset that wait for a mail', async t => {
    const admin = await verified()
    await one.admin.setRole(operator, admin.userId, 'admin')
    const ways: Record<string, (
      victim: { token: string, userId: string, other: { accessToken: string, session: { id: string } } }
    ) => Promise<unknown>> = {
      'admin revoke': ({ userId }) => one.call('POST', `/v1/admin/users/${userId}/revoke`, { token: admin.token, body: {} }),
      'tokens:revoke': ({ userId }) => one.admin.revoke(operator, userId, { personalTokens: true }),
      'logout-all': ({ other }) => one.call('POST', '/v1/logout-all', { token: other.accessToken }),
      'DELETE /v1/sessions': ({ other }) => one.call('DELETE', '/v1/sessions', { token: other.accessToken }),
      'DELETE /v1/sessions/:id': ({ token, other }) => one.call('DELETE', `/v1/sessions/${other.session.id}`, { token }),
      disable: async ({ userId }) => {
        await one.call('POST', `/v1/admin/users/${userId}/disable`, { token: admin.token })
        await one.call('POST', `/v1/admin/users/${userId}/enable`, { token: admin.token })
      }
    }
    for (const [way, end] of Object.entries(ways)) {
      const account = await verified()
      const other = (await one.login(account.email)).json()
      const next = newEmail()
      await change(account.token, next)
      const changing = tokenIn(await postbox.wait(next, 'confirm_email_change'))
      await forgot(one, account.email)
      const resetting = tokenIn(await postbox.wait(account.email, 'reset_password'))
      await end({ ...account, other })
      refusedToken(t, await verify(one, changing), `a change of address after ${way}`)
      refusedToken(t, await reset(one, resetting), `a reset after ${way}`)
      t.equal((await one.login(account.email)).statusCode, 200, `${way}: the account still belongs to its owner`)
    }
    const account = await verified()
    const next = newEmail()
    const other = (await one.login(account.email)).json().accessToken
    await change(account.token, next)
    const changing = tokenIn(await postbox.wait(next, 'confirm_email_change'))
    await one.logout(other)
    t.equal((await verify(one, changing)).statusCode, 204, 'a plain logout cancels nothing')
  })

  t.test('of several requests with one token at the same time, one succeeds', async t => {
    const account = await verified()
    await forgot(one, account.email)
    const token = tokenIn(await postbox.wait(account.email, 'reset_password'))
    const attempts = Array.from({ length: 8 }, (_, i) => `battery staple number ${i}`)
    const [logins, ...replies] = await Promise.all([
      Promise.all(Array.from({ length: 8 }, () => one.login(account.email))),
      ...attempts.map(attempt => reset(one, token, attempt))
    ])
    t.same(replies.map(({ statusCode }) => statusCode).sort(), [204, ...Array(7).fill(400)])
    const opened = []
    for (const attempt of attempts) opened.push((await one.login(account.email, { password: attempt })).statusCode)
    t.same(opened.map(status => status === 200 ? 204 : 400), replies.map(({ statusCode }) => statusCode), 'and its password counts')
    t.equal((await one.login(account.email)).statusCode, 401, 'the old password no longer works')
    for (const login of logins) if (login.statusCode === 200) t.equal(
      (await one.me(login.json().accessToken)).statusCode,
      401,
      'a login with the old password was ended with the others'
    )
  })

  t.test('tokens appear only in mails, neither in the database nor in a log', async t => {
    const tokens = postbox.letters.flatMap(({ text }) => /lkm[rv]_[0-9A-Za-z]{43}/.exec(text) ?? [])
    t.ok(tokens.length > 10)
    const { email } = await one.account()
    const live = tokenIn(await postbox.wait(email, 'verify_email'))
    const dump = JSON.stringify(
      await Promise.all(['mails', 'mail_tokens', 'registrations', 'events'].map(table =>
        one.database.prepared(`select to_jsonb(x)::text as row from ${table} x`, [])))
    )
    t.match(dump, createHash('sha256').update(live).digest('hex'), 'hashed')
    const log = one.log.join('')
    for (const token of [...tokens, live]) {
      t.notMatch(dump, token)
      t.notMatch(log, token)
    }
    t.notMatch(log, email, 'nor an address')
    const asked = await one.call('GET', `/v1/me/${live}`)
    t.equal(asked.statusCode, 404)
    t.notMatch(one.log.join(''), live, 'not even when sent where it does not belong')
  })
})
