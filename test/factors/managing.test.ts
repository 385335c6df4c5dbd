import t from 'tap'
import { newEmail, onEachGround, password, startApp, type TestApp } from '../fixtures/app.js'
import { createPostbox, tokenIn } from '../fixtures/mail.js'
import { addPhone, answer, challengeOf, enrol, logInWith, refusalIn, type Tokens } from './phone.js'

const newPassword = 'seven quiet lanterns at noon'
const quarterMs = 15 * 60_000

async function administrator (app: TestApp) {
  const account = await app.account()
  await app.database.prepared("update users set role = 'admin' where id = $1", [account.userId])
  await app.admin.clearCache({ caller: null, device: null })
  return account
}

async function service (app: TestApp): Promise<string> {
  return (await app.serviceTokens.create(newEmail())).plain.reveal()
}

onEachGround(t, async (t, ground) => {
  const postbox = createPostbox()
  const app = await startApp(t, ground, { env: { SESSION_LIMIT: '0', SESSION_TTL: '60d', TOKEN_TTL: '60d' }, mailer: postbox.mailer })
  const { call, me } = app
  const events = async (token: string) =>
    (await call('GET', '/v1/events', { token })).json<{ events: Array<{ type: string, cause: string | null }> }>().events

  t.test('an app is added, confirmed and listed, its secret is sealed, and its owner gets a mail', async t => {
    const { email, token, userId, secret, recoveryCodes } = await enrol(app)
    const { totp, recoveryCodesLeft } = (await call('GET', '/v1/factors', { token })).json<{ totp: { confirmedAt: string }, recoveryCodesLeft: number }>()
    t.match(totp.confirmedAt, /^\d{4}-.*Z$/)
    t.equal(recoveryCodesLeft, 10)
    t.equal(recoveryCodes.length, 10)
    const [row] = await app.database.prepared<{ sealed: string }>(
      "select encode(secret, 'hex') as sealed from totp_factors where user_id = $1", [userId])
    t.match(row?.sealed, /^01/, 'sealed by the vault')
    t.notOk(row?.sealed.includes(Buffer.from(secret).toString('hex')))
    t.equal((await events(token))[0]?.type, 'totp_added')
    await postbox.wait(email, 'second_factor_added')
    for (const code of [secret, ...recoveryCodes]) t.notOk(app.log.join('').includes(code), 'no secret is logged')
  })

  t.test('to confirm takes a right code, and an app to confirm', async t => {
    const { token } = await app.account()
    t.same(refusalIn(await call('POST', '/v1/totp/confirm', { token, body: { code: '000000' } })), [404, 'AUTH_NOT_FOUND'])
    await call('POST', '/v1/totp', { token })
    const wrong = await call('POST', '/v1/totp/confirm', { token, body: { code: '000000' } })
    t.same([...refusalIn(wrong), wrong.json<{ field: string }>().field], [403, 'AUTH_SECOND_FACTOR_INVALID', 'code'])
  })

  t.test('without a factor there is nothing to remove and nothing to recover', async t => {
    const { token } = await app.account()
    t.same(refusalIn(await call('DELETE', '/v1/totp', { token })), [404, 'AUTH_NOT_FOUND'])
    t.same(refusalIn(await call('POST', '/v1/recovery-codes', { token })), [404, 'AUTH_NOT_FOUND'])
  })

  t.test('removing the factor ends the sessions that it opened and no others, and logins need the password alone', async t => {
    const { email, token: old, userId } = await app.account()
    const enrolling = (await app.login(email)).json<Tokens>().accessToken
    const { phone } = await addPhone(app, enrolling)
    const { accessToken } = await logInWith(app, email, { totp: phone.code() })
    for (const token of [old, enrolling, accessToken]) await app.cached(token)
    t.equal((await call('DELETE', '/v1/totp', { token: accessToken })).statusCode, 204)
    t.same(await Promise.all([old, enrolling, accessToken].map(async token => (await me(token)).statusCode)), [200, 401, 401])
    t.match((await events(old)).map(({ type, cause }) => `${type} ${cause}`).slice(0, 3).sort(),
      ['session_ended factor_removed', 'session_ended factor_removed', 'totp_removed null'])
    t.match((await call('GET', '/v1/factors', { token: old })).json(), { totp: null, recoveryCodesLeft: 0 })
    t.equal((await app.login(email)).statusCode, 200)
    await postbox.wait(email, 'second_factor_removed')
    t.same(await app.database.prepared('select from recovery_codes where user_id = $1', [userId]), [])
  })

  t.test('a caller by cookie whose session ends with the factor has the cookies cleared', async t => {
    const { email, phone } = await enrol(app)
    const headers = { 'sec-fetch-site': 'same-origin' }
    const opened = await answer(app, { challenge: await challengeOf(app, email), totp: phone.code(), cookies: true }, headers)
    const [cookie = ''] = ([] as string[]).concat(opened.headers['set-cookie'] ?? []).map(line => line.split(';')[0] ?? '')
    const reply = await call('DELETE', '/v1/totp', { headers: { ...headers, cookie } })
    t.equal(reply.statusCode, 204)
    t.match(String(reply.headers['set-cookie']), /__Host-latchkey=;.*Max-Age=0/)
  })

  t.test('step-up asks for the strongest factor that the account has', async t => {
    const { email, token, phone, recoveryCodes: [recoveryCode] } = await enrol(app)
    const { userId: other } = await app.account()
    await app.database.prepared("update users set role = 'admin' where email = $1", [email])
    await app.admin.clearCache({ caller: null, device: null })
    await app.pass(quarterMs)
    const actions: Array<['POST' | 'PATCH' | 'DELETE' | 'PUT', string, object]> = [
      ['POST', '/v1/tokens', { name: 'script' }],
      ['PATCH', '/v1/me', { email: newEmail() }],
      ['POST', '/v1/recovery-codes', {}],
      ['PUT', `/v1/admin/users/${other}/role`, { role: 'admin' }],
      ['DELETE', `/v1/admin/users/${other}/factors`, {}],
      ['DELETE', '/v1/totp', {}],
      ['DELETE', '/v1/me', {}]
    ]
    for (const [method, url, body] of actions) {
      const asked = await call(method, url, { token, body })
      t.same(refusalIn(asked), [403, 'AUTH_REAUTHENTICATE'], url)
      t.match(asked.json(), { field: 'totp', factors: ['totp', 'recovery'] }, url)
      t.same(refusalIn(await call(method, url, { token, body: { ...body, password } })), [403, 'AUTH_REAUTHENTICATE'], 'the password is not enough')
      const wrong = await call(method, url, { token, body: { ...body, recoveryCode: 'aaaaaa' } })
      t.same([...refusalIn(wrong), wrong.json<{ field: string }>().field], [403, 'AUTH_SECOND_FACTOR_INVALID', 'recoveryCode'], url)
    }
    t.equal((await call('POST', '/v1/tokens', { token, body: { name: 'script', totp: phone.code() } })).statusCode, 201)
    t.equal((await call('POST', '/v1/recovery-codes', { token, body: { recoveryCode } })).statusCode, 201)
    const fresh = (await logInWith(app, email, { totp: phone.code(1) })).accessToken
    t.equal((await call('POST', '/v1/tokens', { token: fresh, body: { name: 'other' } })).statusCode, 201, 'a recent login with it is enough')
  })

  t.test('a young session that has not used the factor has to show it', async t => {
    const { email, token } = await app.account()
    const { phone } = await addPhone(app, (await app.login(email)).json<Tokens>().accessToken)
    t.match((await me(token)).json(), { amr: ['pwd'], acr: 'aal1' })
    t.same(refusalIn(await call('POST', '/v1/tokens', { token, body: { name: 'script' } })), [403, 'AUTH_REAUTHENTICATE'])
    t.equal((await call('POST', '/v1/tokens', { token, body: { name: 'script', totp: phone.code() } })).statusCode, 201)
  })

  t.test('to add the first factor takes a login of the last 15 minutes, or the password', async t => {
    const { token } = await app.account()
    await app.pass(quarterMs)
    const asked = await call('POST', '/v1/totp', { token })
    t.same([...refusalIn(asked), asked.json<{ field: string }>().field], [403, 'AUTH_REAUTHENTICATE', 'password'])
    t.same(refusalIn(await call('POST', '/v1/totp', { token, body: { password: 'wrong' } })), [403, 'AUTH_WRONG_PASSWORD'])
    t.equal((await call('POST', '/v1/totp', { token, body: { password } })).statusCode, 201)
  })

  t.test('a token with fewer abilities than account adds and removes no factor', async t => {
    const { token } = await app.account({ abilities: ['orders'] })
    for (const [method, url] of [['POST', '/v1/totp'], ['DELETE', '/v1/totp'], ['POST', '/v1/recovery-codes']] as const) {
      t.same(refusalIn(await call(method, url, { token })), [403, 'AUTH_INSUFFICIENT_ABILITY'], url)
    }
    const personal = await app.personal((await app.account()).token)
    t.same(refusalIn(await call('GET', '/v1/factors', { token: personal })), [403, 'AUTH_SESSION_REQUIRED'])
  })

  t.test('new recovery codes make the old ones void, with a mail', async t => {
    const { email, token, recoveryCodes: [old] } = await enrol(app)
    const renewed = (await call('POST', '/v1/recovery-codes', { token })).json<{ recoveryCodes: string[] }>().recoveryCodes
    t.equal(new Set([...renewed, old]).size, 11)
    await postbox.wait(email, 'recovery_codes_created')
    const challenge = await challengeOf(app, email)
    t.same(refusalIn(await answer(app, { challenge, recoveryCode: old })), [401, 'AUTH_SECOND_FACTOR_INVALID'])
    t.equal((await answer(app, { challenge, recoveryCode: renewed[9] })).statusCode, 200)
    await postbox.wait(email, 'recovery_code_used')
  })

  t.test('services learn how a session was opened, and nothing of the kind about a personal token', async t => {
    const { email, phone } = await enrol(app)
    const { accessToken } = await logInWith(app, email, { totp: phone.code() })
    const { token: plain } = await app.account()
    const personal = await app.personal(plain)
    const caller = await service(app)
    const { results } = (await call('POST', '/v1/introspections', { token: caller, body: { tokens: [accessToken, plain, personal] } }))
      .json<{ results: Array<{ amr?: string[], acr?: string }> }>()
    t.same(results.map(({ amr, acr }) => [amr, acr]), [[['pwd', 'otp'], 'aal2'], [['pwd'], 'aal1'], [undefined, undefined]])
    t.match((await me(personal)).json(), { amr: [], acr: null, emailVerified: false })
  })

  t.test('an administrator removes the factors of somebody who has lost them: every session ends, with an event and a mail', async t => {
    const admin = await administrator(app)
    const { email, token, userId } = await enrol(app)
    const challenge = await challengeOf(app, email)
    t.equal((await call('DELETE', `/v1/admin/users/${userId}/factors`, { token: admin.token })).statusCode, 204)
    t.equal((await me(token)).statusCode, 401)
    t.same(refusalIn(await answer(app, { challenge, totp: '000000' })), [401, 'AUTH_SECOND_FACTOR_INVALID'])
    const again = (await app.login(email)).json<Tokens>().accessToken
    const trail = (await call('GET', '/v1/events', { token: again })).json<{ events: Array<{ type: string, actorId: string | null }> }>().events
    t.equal(trail.find(({ type }) => type === 'factors_reset')?.actorId, admin.userId)
    await postbox.wait(email, 'second_factor_reset')
    t.same(refusalIn(await call('DELETE', `/v1/admin/users/${userId}/factors`, { token: again })), [403, 'AUTH_FORBIDDEN'])
    t.same(refusalIn(await call('DELETE', '/v1/admin/users/x/factors', { token: admin.token })), [404, 'AUTH_NOT_FOUND'])
  })

  t.test('a reset by mail needs the second factor too, and a wrong code leaves the mail good', async t => {
    const { email, token: session, phone } = await enrol(app)
    await call('POST', '/v1/password/forgot', { body: { email } })
    const token = tokenIn(await postbox.wait(email, 'reset_password'))
    const reset = (proof: object) => call('POST', '/v1/password/reset', { body: { token, password: newPassword, ...proof } })
    const asked = await reset({})
    t.same(refusalIn(asked), [403, 'AUTH_SECOND_FACTOR_REQUIRED'])
    t.same(asked.json<{ factors: string[] }>().factors, ['totp', 'recovery'])
    t.same(refusalIn(await reset({ recoveryCode: 'aaaaaa' })), [401, 'AUTH_SECOND_FACTOR_INVALID'])
    t.equal((await me(session)).statusCode, 200, 'nothing has happened')
    t.equal((await reset({ totp: phone.code() })).statusCode, 204)
    t.equal((await me(session)).statusCode, 401)
    t.same(refusalIn(await app.login(email, { password: newPassword })), [403, 'AUTH_SECOND_FACTOR_REQUIRED'], 'and a login still asks for it')
  })
})

onEachGround(t, async (t, ground) => {
  const everyone = await startApp(t, ground, { env: { SECOND_FACTOR: 'everyone', SESSION_LIMIT: '0' } })

  t.test('SECOND_FACTOR=everyone: without a second factor a session may do nothing but enrol', async t => {
    const { call, me } = everyone
    const { email, token } = await everyone.account()
    for (const [method, url] of [
      ['GET', '/v1/me'], ['PATCH', '/v1/me'], ['DELETE', '/v1/me'], ['GET', '/v1/sessions'], ['POST', '/v1/tokens'], ['GET', '/v1/events'],
      ['PUT', '/v1/password'], ['GET', '/v1/session/data'], ['GET', '/v1/forward-auth'], ['POST', '/v1/email/verify/send']
    ] as const) t.same(refusalIn(await call(method, url, { token })), [403, 'AUTH_SECOND_FACTOR_ENROLMENT'], `${method} ${url}`)
    const asked = await call('POST', '/oauth/introspect', {
      token: await service(everyone), headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: `token=${token}`
    })
    t.same(asked.json(), { active: false }, 'nor does a service accept it')
    t.match((await call('GET', '/v1/session', { token })).json(), { user: { email } })
    t.equal((await call('GET', '/v1/factors', { token })).statusCode, 200)
    await addPhone(everyone, token)
    t.match((await me(token)).json(), { amr: ['pwd', 'otp'] }, 'enrolled, it may do everything')
    const late = (await everyone.account()).token
    t.equal((await call('POST', '/v1/logout', { token: late })).statusCode, 204, 'who would rather leave may')
  })

  // With another policy on the same database.
  if (ground.databaseUrl !== null) t.test('a session from before the factor has to log in again; a personal token works once its owner has one', async t => {
    const optional = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
    const { email, token } = await optional.account()
    const personal = await optional.personal(token)
    t.same(refusalIn(await everyone.me(personal)), [403, 'AUTH_SECOND_FACTOR_ENROLMENT'])
    await addPhone(optional, (await optional.login(email)).json<Tokens>().accessToken)
    t.same(refusalIn(await everyone.me(token)), [403, 'AUTH_SECOND_FACTOR_ENROLMENT'])
    t.equal((await everyone.me(personal)).statusCode, 200)
  })

  t.test('SECOND_FACTOR=admins asks administrators alone', async t => {
    const app = await startApp(t, ground, { env: { SECOND_FACTOR: 'admins' } })
    const admin = await administrator(app)
    t.same(refusalIn(await app.call('GET', '/v1/admin/users', { token: admin.token })), [403, 'AUTH_SECOND_FACTOR_ENROLMENT'])
    t.equal((await app.me((await app.account()).token)).statusCode, 200)
    await addPhone(app, admin.token)
    t.equal((await app.call('GET', '/v1/admin/users', { token: admin.token })).statusCode, 200)
  })
})

onEachGround(t, async (t, ground) => {
  const app = await startApp(t, ground, { vaultKeys: [] })

  t.test('without VAULT_KEYS_FILE nobody can enrol, and the answer says why', async t => {
    const reply = await app.call('POST', '/v1/totp', { token: (await app.account()).token })
    t.same(refusalIn(reply), [400, 'AUTH_NOT_SUPPORTED'])
    t.match(reply.json<{ message: string }>().message, /VAULT_KEYS_FILE/)
  })
})
