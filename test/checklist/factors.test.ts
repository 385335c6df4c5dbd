import t from 'tap'
import { answer, challengeOf, enrol, logInWith, refusalIn } from '../factors/phone.js'
import { createTestClock, serverGround, startApp } from '../fixtures/app.js'
import { holdUser } from '../fixtures/locks.js'
import { createPostbox, tokenIn } from '../fixtures/mail.js'

const invalid = [401, 'AUTH_SECOND_FACTOR_INVALID']

t.test('second factors, on two instances', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const postbox = createPostbox()
  const clock = createTestClock()
  const options = { env: { SESSION_LIMIT: '0' }, mailer: postbox.mailer, clock }
  const [one, two] = await Promise.all([startApp(t, ground, options), startApp(t, ground, options)])

  t.test('V6.3.3 a login asks for the second factor, and SECOND_FACTOR=everyone lets nobody past enrolment', async t => {
    const { email, phone } = await enrol(one)
    t.same(refusalIn(await two.login(email)), [403, 'AUTH_SECOND_FACTOR_REQUIRED'])
    const { accessToken } = await logInWith(two, email, { totp: phone.code() })
    const strict = await startApp(t, ground, { env: { SECOND_FACTOR: 'everyone', SESSION_LIMIT: '0' }, clock })
    t.equal((await strict.me(accessToken)).statusCode, 200)
    const { token } = await strict.account()
    for (const url of ['/v1/me', '/v1/sessions', '/v1/forward-auth', '/v1/tokens', '/v1/events']) {
      t.same(refusalIn(await strict.call('GET', url, { token })), [403, 'AUTH_SECOND_FACTOR_ENROLMENT'], url)
    }
  })

  t.test('V6.5.1, 63B a step of TOTP used 50 times in parallel on two instances opens one session', async t => {
    const { email, userId, phone } = await enrol(one)
    const challenges: string[] = []
    for (let i = 0; i < 50; i++) challenges.push(await challengeOf(i % 2 === 0 ? one : two, email))
    const row = await holdUser(t, ground, userId)
    const totp = phone.code()
    const racing = challenges.map((challenge, i) => answer(i % 2 === 0 ? one : two, { challenge, totp }))
    await row.waiters(2)
    await row.release()
    const statuses = (await Promise.all(racing)).map(({ statusCode }) => statusCode).sort()
    t.same(statuses, [200, ...Array.from({ length: 49 }, () => 401)])
  })

  t.test('V6.5.1, 63B a challenge works once, for five minutes, and on the device and network that it was given to', async t => {
    const { email, phone, recoveryCodes: [recoveryCode] } = await enrol(one)
    const challenge = await challengeOf(one, email)
    const totp = phone.code()
    t.same(refusalIn(await answer(two, { challenge, totp }, { 'user-agent': 'another device' })), invalid)
    const elsewhere = await two.app.inject({
      method: 'POST', url: '/v1/login/second-factor', payload: { challenge, totp }, remoteAddress: '192.0.2.7'
    })
    t.same(refusalIn(elsewhere), invalid)
    t.equal((await answer(two, { challenge, totp })).statusCode, 200, 'nor has anybody else used it up')
    t.same(refusalIn(await answer(one, { challenge, recoveryCode })), invalid)
    const late = await challengeOf(one, email)
    clock.advance(300_001)
    t.same(refusalIn(await answer(one, { challenge: late, recoveryCode })), invalid)
    await Promise.all([one.trusted(), two.trusted()])
  })

  t.test('V6.4.3, V6.4.4 a reset does not go round the second factor, neither itself nor for the login after it', async t => {
    const { email, phone } = await enrol(one)
    await one.call('POST', '/v1/password/forgot', { body: { email } })
    const token = tokenIn(await postbox.wait(email, 'reset_password'))
    const body = { token, password: 'seven quiet lanterns at noon' }
    t.same(refusalIn(await two.call('POST', '/v1/password/reset', { body })), [403, 'AUTH_SECOND_FACTOR_REQUIRED'])
    t.equal((await two.call('POST', '/v1/password/reset', { body: { ...body, totp: phone.code() } })).statusCode, 204)
    t.same(refusalIn(await one.login(email, { password: body.password })), [403, 'AUTH_SECOND_FACTOR_REQUIRED'])
  })

  t.test('V13.3.1 a copy of the database opens no TOTP secret: its keys are elsewhere, and each opens the row of its user alone', async t => {
    const { email, userId, phone, secret } = await enrol(one)
    const [row] = await one.database.prepared<{ text: string }>('select to_jsonb(f)::text as text from totp_factors f where user_id = $1', [userId])
    t.notOk(row?.text.includes(secret))
    const other = { id: 'test', key: Buffer.alloc(32, 'other') }
    const copy = await startApp(t, ground, { vaultKeys: [other], clock })
    t.equal((await answer(copy, { challenge: await challengeOf(copy, email), totp: phone.code() })).statusCode, 503)
    const victim = await enrol(one)
    await one.database.prepared(
      'update totp_factors set secret = (select secret from totp_factors where user_id = $1) where user_id = $2', [userId, victim.userId])
    t.equal((await answer(one, { challenge: await challengeOf(one, victim.email), totp: phone.code() })).statusCode, 503)
  })
})
