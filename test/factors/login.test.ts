import { randomBytes } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import t from 'tap'
import { newRecoveryCodes } from '../../src/factors/recovery-codes.js'
import { describeTotp, totpStep } from '../../src/factors/totp.js'
import { onEachGround, password, startApp } from '../fixtures/app.js'
import { addPhone, answer, challengeOf, enrol, logInWith, refusalIn, type Tokens } from './phone.js'

const invalid = [401, 'AUTH_SECOND_FACTOR_INVALID']

t.test('a secret out of a pooled Buffer gives the codes of its own bytes, not of the pool (RFC 6238 B)', async t => {
  const secret = Buffer.from('12345678901234567890')
  t.not(secret.buffer.byteLength, secret.length, 'pooled')
  t.equal(new TOTP({ secret: Secret.fromBase32(describeTotp(secret, { issuer: 'x', label: 'y' }).secret), digits: 8 })
    .generate({ timestamp: 59_000 }), '94287082')
  t.equal(totpStep(secret, '287082', 59_000), 1)
  t.equal(totpStep(secret, '287 082', 59_000), 1, 'with the space that apps show')
})

t.test('a code counts for its own step, the one before and the one after', async t => {
  const secret = randomBytes(20)
  const phone = new TOTP({ secret: new Secret({ buffer: Uint8Array.from(secret).buffer }) })
  const at = 1_700_000_010_000
  const step = Math.floor(at / 30_000)
  const found = [-2, -1, 0, 1, 2].map(by => totpStep(secret, phone.generate({ timestamp: at + by * 30_000 }), at))
  t.same(found, [null, step - 1, step, step + 1, null])
})

t.test('recovery codes are ten, distinct, and of 120 random bits', async t => {
  const codes = newRecoveryCodes()
  t.equal(new Set(codes).size, 10)
  for (const code of codes) t.match(code, /^([a-z2-7]{6}-){3}[a-z2-7]{6}$/)
})

onEachGround(t, async (t, ground) => {
  const app = await startApp(t, ground)
  const { call, login, me, clock } = app

  t.test('a right password opens no session: it is answered with a challenge, and sets no cookie', async t => {
    const { email } = await enrol(app)
    const headers = { 'sec-fetch-site': 'same-origin' }
    const before = await app.database.prepared('select id from sessions', [])
    const reply = await call('POST', '/v1/login', { body: { email, password, cookies: true }, headers })
    t.same(refusalIn(reply), [403, 'AUTH_SECOND_FACTOR_REQUIRED'])
    const { challenge, factors, expiresIn } = reply.json<{ challenge: string, factors: string[], expiresIn: number }>()
    t.match(challenge, /^lkc_[0-9A-Za-z]{43}$/)
    t.same([factors, expiresIn], [['totp', 'recovery'], 300])
    t.equal(reply.headers['set-cookie'], undefined)
    t.equal(reply.headers['cache-control'], 'no-store')
    t.equal((await app.database.prepared('select id from sessions', [])).length, before.length)
    t.notOk(app.log.join('').includes(challenge), 'nor does the log have the challenge')
    t.same(refusalIn(await me(challenge)), [401, 'AUTH_INVALID_TOKEN'], 'which is no token')
  })

  t.test('a wrong password is answered in the bytes of an unknown address', async t => {
    const { email } = await enrol(app)
    const [wrong, unknown] = [await login(email, { password: 'wrong' }), await login('nobody@example.com')]
    t.same([wrong.statusCode, wrong.body], [unknown.statusCode, unknown.body])
  })

  t.test('a code of the app opens the session that was asked for, and ends those before it', async t => {
    const { email, token, phone } = await enrol(app)
    const { accessToken, refreshToken, endedSessions } = await logInWith(app, email, { totp: phone.code() }, { refresh: true, deviceName: 'phone' })
    t.type(refreshToken, 'string')
    t.equal(endedSessions, 1)
    t.equal((await me(token)).statusCode, 401, 'SESSION_LIMIT is one')
    t.match((await me(accessToken)).json(), { amr: ['pwd', 'otp'], acr: 'aal2', session: { deviceName: 'phone' } })
    const refreshed = await call('POST', '/v1/refresh', { body: { refreshToken } })
    t.match((await me(refreshed.json<Tokens>().accessToken)).json(), { amr: ['pwd', 'otp'], acr: 'aal2' }, 'after a refresh too')
  })

  t.test('in cookie mode the second step sets the cookies, and refuses other sites', async t => {
    const { email, phone } = await enrol(app)
    const challenge = await challengeOf(app, email)
    const body = { challenge, totp: phone.code(), cookies: true }
    t.same(refusalIn(await answer(app, body, { 'sec-fetch-site': 'cross-site' })), [403, 'AUTH_CROSS_SITE'])
    const reply = await answer(app, body, { 'sec-fetch-site': 'same-origin' })
    t.equal(reply.statusCode, 200)
    t.equal(reply.json<Partial<Tokens>>().accessToken, undefined)
    t.match(String(reply.headers['set-cookie']), /__Host-latchkey=lk_/)
  })

  t.test('a wrong code leaves the challenge good for another try; a used challenge is dead', async t => {
    const { email, phone } = await enrol(app)
    const challenge = await challengeOf(app, email)
    t.same(refusalIn(await answer(app, { challenge, totp: wrongCode(phone.code()) })), invalid)
    t.same(refusalIn(await answer(app, { challenge })), invalid, 'and so does none at all')
    t.equal((await answer(app, { challenge, totp: phone.code() })).statusCode, 200)
    t.same(refusalIn(await answer(app, { challenge, totp: phone.code(1) })), invalid)
  })

  t.test('a code that was used, and one of an earlier step, are refused in every place', async t => {
    const { email, phone } = await enrol(app)
    t.same(refusalIn(await answer(app, { challenge: await challengeOf(app, email), totp: phone.code(-1) })), invalid, 'it confirmed the app')
    const { accessToken } = await logInWith(app, email, { totp: phone.code(1) })
    const challenge = await challengeOf(app, email)
    for (const steps of [1, 0]) t.same(refusalIn(await answer(app, { challenge, totp: phone.code(steps) })), invalid)
    t.same(refusalIn(await call('DELETE', '/v1/totp', { token: accessToken, body: { totp: phone.code(1) } })), [403, 'AUTH_SECOND_FACTOR_INVALID'])
    await app.pass(30_000)
    t.equal((await answer(app, { challenge, totp: phone.code(1) })).statusCode, 200, 'the next one is good')
  })

  t.test('a recovery code works once, however it is typed, and a mail is due for it', async t => {
    const { email, recoveryCodes: [first = ''], userId } = await enrol(app)
    const typed = first.toUpperCase().replaceAll('-', ' ')
    const { accessToken } = await logInWith(app, email, { recoveryCode: typed })
    t.match((await call('GET', '/v1/factors', { token: accessToken })).json(), { recoveryCodesLeft: 9 })
    t.same(refusalIn(await answer(app, { challenge: await challengeOf(app, email), recoveryCode: first })), invalid)
    const mails = await app.database.prepared<{ kind: string }>("select kind from mails where user_id = $1 and kind like 'rec%'", [userId])
    t.same(mails, [{ kind: 'recovery_code_used' }])
  })

  t.test("another account's recovery code is none", async t => {
    const { recoveryCodes: [code = ''] } = await enrol(app)
    const { email } = await enrol(app)
    t.same(refusalIn(await answer(app, { challenge: await challengeOf(app, email), recoveryCode: code })), invalid)
  })

  t.test('a challenge lives five minutes', async t => {
    const { email, phone } = await enrol(app)
    const challenge = await challengeOf(app, email)
    await app.pass(299_000)
    t.same(refusalIn(await answer(app, { challenge, totp: wrongCode(phone.code()) })), invalid)
    const late = await challengeOf(app, email)
    await app.pass(2_000)
    t.same(refusalIn(await answer(app, { challenge, totp: phone.code() })), invalid)
    t.equal((await answer(app, { challenge: late, totp: phone.code() })).statusCode, 200)
  })

  t.test('made-up challenges, and challenges of other shapes, are refused alike', async t => {
    for (const challenge of [`lkc_${'x'.repeat(43)}`, 'lkc_', 'x', `lk_${'x'.repeat(50)}`]) {
      t.same(refusalIn(await answer(app, { challenge, totp: '000000' })), invalid, challenge)
    }
  })

  t.test('what changes password or factors, or ends the sessions from outside, makes the challenges before it void', async t => {
    const ways: Array<[string, (token: string, code: string) => Promise<{ statusCode: number }>]> = [
      ['a password change', token =>
        call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: 'seven quiet lanterns at noon' } })],
      ['logout-all', token => call('POST', '/v1/logout-all', { token })],
      ['new recovery codes', (token, totp) => call('POST', '/v1/recovery-codes', { token, body: { totp } })],
      ['no second factor any more', (token, totp) => call('DELETE', '/v1/totp', { token, body: { totp } })]
    ]
    for (const [name, change] of ways) {
      const { email, token, phone, userId } = await enrol(app)
      const challenge = await challengeOf(app, email)
      t.ok((await change(token, phone.code())).statusCode < 300, name)
      t.same(refusalIn(await answer(app, { challenge, totp: phone.code(1) })), invalid, name)
      t.same(await app.database.prepared('select from login_challenges where user_id = $1', [userId]), [], name)
    }
  })

  t.test('a disabled account answers no challenge, and a deleted one leaves nothing', async t => {
    const { email, token, phone, userId } = await enrol(app)
    const challenge = await challengeOf(app, email)
    await app.database.prepared('update users set disabled_at = now() where id = $1', [userId])
    t.same(refusalIn(await answer(app, { challenge, totp: phone.code() })), invalid)
    await app.database.prepared('update users set disabled_at = null where id = $1', [userId])
    t.equal((await call('DELETE', '/v1/me', { token, body: { totp: phone.code() } })).statusCode, 204)
    for (const table of ['totp_factors', 'recovery_codes', 'login_challenges']) {
      t.same(await app.database.prepared(`select from ${table} where user_id = $1`, [userId]), [], table)
    }
  })

  t.test('expired challenges are pruned', async t => {
    const { email } = await enrol(app)
    await challengeOf(app, email)
    clock.advance(301_000)
    const due = await app.prune({ dryRun: true })
    t.ok(due.challenges > 0)
    t.equal((await app.prune({ dryRun: false })).challenges, due.challenges)
    t.same(await app.database.prepared('select from login_challenges', []), [])
    await app.trusted()
  })

  t.test('an app that was never confirmed counts for nothing, and the next one takes its place', async t => {
    const { email, token } = await app.account()
    const begun = (await call('POST', '/v1/totp', { token })).json<{ secret: string }>()
    t.equal((await login(email)).statusCode, 200)
    const again = (await login(email)).json<Tokens>().accessToken
    t.match((await call('GET', '/v1/factors', { token: again })).json(), { totp: null, recoveryCodesLeft: 0 })
    const { secret } = await addPhone(app, again)
    t.not(secret, begun.secret)
    t.same(refusalIn(await call('POST', '/v1/totp', { token: again })), [409, 'AUTH_FACTOR_EXISTS'])
  })
})

onEachGround(t, async (t, ground) => {
  t.test('wrong codes count as failed logins, and a right password alone clears none of them', async t => {
    const app = await startApp(t, ground)
    const { email, phone, token } = await enrol(app)
    const challenge = await challengeOf(app, email)
    t.same(await failuresOf(app), [], 'a right password is no failure')
    for (let i = 0; i < 4; i++) t.same(refusalIn(await answer(app, { challenge, totp: wrongCode(phone.code()) })), invalid)
    const again = await challengeOf(app, email)
    const body = { currentPassword: password, newPassword: 'short' }
    t.same(refusalIn(await app.call('PUT', '/v1/password', { token, body })), [400, 'AUTH_PASSWORD_REJECTED'])
    t.same(await failuresOf(app), [4], 'wherever it is given')
    const { events } = (await app.call('GET', '/v1/events', { token })).json<{ events: Array<{ type: string, cause: string }> }>()
    t.equal(events.filter(({ type, cause }) => type === 'login_failed' && cause === 'wrong_second_factor').length, 4)
    t.equal((await answer(app, { challenge: again, totp: phone.code() })).statusCode, 200)
    t.same(await failuresOf(app), [], 'until both factors were right')
  })

  t.test('LOGIN_LIMIT counts both steps of a login together', async t => {
    const app = await startApp(t, ground, { env: { LOGIN_LIMIT: '5/1m' } })
    const { email, phone } = await enrol(app)
    const challenge = await challengeOf(app, email)
    for (let i = 0; i < 4; i++) t.same(refusalIn(await answer(app, { challenge, totp: wrongCode(phone.code()) })), invalid)
    t.same(refusalIn(await answer(app, { challenge, totp: phone.code() })), [429, 'AUTH_RATE_LIMITED'])
    t.same(refusalIn(await app.login(email)), [429, 'AUTH_RATE_LIMITED'])
  })
})

async function failuresOf ({ database }: { database: { prepared <Row> (text: string, values: unknown[]): Promise<Row[]> } }) {
  return (await database.prepared<{ failures: number }>('select failures from login_failures where failures > 0', [])).map(row => row.failures)
}

function wrongCode (right: string): string {
  return String((Number(right) + 123_457) % 1_000_000).padStart(6, '0')
}
