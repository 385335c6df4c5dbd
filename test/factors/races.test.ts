import t, { type Test } from 'tap'
import { password, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { holdUser } from '../fixtures/locks.js'
import { createPostbox, tokenIn } from '../fixtures/mail.js'
import { answer, challengeOf, createPhone, enrol, refusalIn, type Tokens } from './phone.js'

/** Every interleaving is forced: the user's row is held, the test sees who waits there, then lets go. */

const newPassword = 'seven quiet lanterns at noon'

/** How many of `replies` are successes; each of the others has to be one of `refusals`. */
function successes (t: Test, replies: Array<{ statusCode: number, body: string }>, refusals: number[] = [401]): number {
  const others = replies.filter(({ statusCode }) => statusCode >= 300)
  t.same(others.filter(({ statusCode }) => !refusals.includes(statusCode)).map(({ body }) => body), [], 'all others are refused')
  return replies.length - others.length
}

t.test('races of second factors, on two instances', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const postbox = createPostbox()
  const env = { SESSION_LIMIT: '0' }
  const [one, two] = await Promise.all([
    startApp(t, ground, { env, mailer: postbox.mailer }), startApp(t, ground, { env, mailer: postbox.mailer })
  ])
  const both = (i: number): TestApp => i % 2 === 0 ? one : two
  const openSessions = async (userId: string) => (await one.database.prepared<{ id: string }>(
    'select id from sessions where user_id = $1 and ended_at is null', [userId])).length

  t.test('a code is used 50 times at once, by as many logins: one of them is opened', async t => {
    const { email, userId, phone } = await enrol(one)
    const challenges: string[] = []
    for (let i = 0; i < 50; i++) challenges.push(await challengeOf(both(i), email))
    const before = await openSessions(userId)
    const row = await holdUser(t, ground, userId)
    const totp = phone.code()
    const racing = challenges.map((challenge, i) => answer(both(i), { challenge, totp }))
    await row.waiters(2)
    await row.release()
    t.equal(successes(t, await Promise.all(racing)), 1)
    t.equal(await openSessions(userId), before + 1)
  })

  t.test('a challenge is answered twice at once, by two codes that are both right: one session is opened', async t => {
    const { email, userId, phone, recoveryCodes: [recoveryCode] } = await enrol(one)
    const challenge = await challengeOf(one, email)
    const row = await holdUser(t, ground, userId)
    const early = answer(one, { challenge, totp: phone.code() })
    await row.waiters(1)
    const late = answer(two, { challenge, recoveryCode })
    await row.waiters(2)
    await row.release()
    t.equal((await early).statusCode, 200)
    t.same(refusalIn(await late), [401, 'AUTH_SECOND_FACTOR_INVALID'])
    const left = await one.database.prepared('select from recovery_codes where user_id = $1', [userId])
    t.equal(left.length, 10, 'and the code of the other is not used up')
  })

  t.test('a recovery code is used twice at once: one session is opened', async t => {
    const { email, userId, recoveryCodes: [recoveryCode] } = await enrol(one)
    const challenges = [await challengeOf(one, email), await challengeOf(two, email)]
    const row = await holdUser(t, ground, userId)
    const racing = challenges.map((challenge, i) => answer(both(i), { challenge, recoveryCode }))
    await row.waiters(2)
    await row.release()
    t.equal(successes(t, await Promise.all(racing)), 1)
  })

  t.test('step-up by one code twenty times at once: one of them passes', async t => {
    const { token, phone } = await enrol(one)
    const body = { totp: phone.code() }
    const racing = Array.from({ length: 20 }, (_, i) => both(i).call('POST', '/v1/recovery-codes', { token, body }))
    t.equal(successes(t, await Promise.all(racing), [403]), 1)
  })

  t.test('the factor is removed while a challenge is being answered: no session is opened', async t => {
    const { email, userId, token, phone } = await enrol(one)
    const challenge = await challengeOf(two, email)
    const row = await holdUser(t, ground, userId)
    const removing = one.call('DELETE', '/v1/totp', { token })
    await row.waiters(1)
    const answering = answer(two, { challenge, totp: phone.code() })
    await row.waiters(2)
    await row.release()
    t.equal((await removing).statusCode, 204)
    t.same(refusalIn(await answering), [401, 'AUTH_SECOND_FACTOR_INVALID'])
    t.equal(await openSessions(userId), 0)
  })

  t.test('the factor is removed just after a challenge was answered: the session that it opened is over, on both instances', async t => {
    const { email, userId, token, phone } = await enrol(one)
    const challenge = await challengeOf(two, email)
    const row = await holdUser(t, ground, userId)
    const answering = answer(two, { challenge, totp: phone.code() })
    await row.waiters(1)
    const removing = one.call('DELETE', '/v1/totp', { token })
    await row.waiters(2)
    await row.release()
    const { accessToken } = (await answering).json<Tokens>()
    t.equal((await removing).statusCode, 204)
    t.same((await Promise.all([one.me(accessToken), two.me(accessToken)])).map(({ statusCode }) => statusCode), [401, 401])
  })

  t.test('a reset and an answer at once: whichever comes first, no session of the old password lives on', async t => {
    for (const resetFirst of [true, false]) {
      const { email, userId, phone, recoveryCodes: [recoveryCode] } = await enrol(one)
      const challenge = await challengeOf(two, email)
      await one.call('POST', '/v1/password/forgot', { body: { email } })
      const token = tokenIn(await postbox.wait(email, 'reset_password'))
      const row = await holdUser(t, ground, userId)
      const ways = [
        () => one.call('POST', '/v1/password/reset', { body: { token, password: newPassword, recoveryCode } }),
        () => answer(two, { challenge, totp: phone.code() })
      ]
      const order = resetFirst ? ways : ways.reverse()
      const racing = []
      for (const [i, begin] of order.entries()) {
        racing.push(begin())
        await row.waiters(i + 1)
      }
      await row.release()
      const replies = await Promise.all(racing)
      const [reset, answered] = resetFirst ? replies : replies.reverse()
      t.equal(reset?.statusCode, 204)
      t.equal(answered?.statusCode, resetFirst ? 401 : 200)
      t.equal(await openSessions(userId), 0)
    }
  })

  t.test('two apps are confirmed at once: one of them counts, with the codes that its owner was given', async t => {
    const { email, token, userId } = await one.account()
    const other = (await two.login(email, { password })).json<Tokens>().accessToken
    const begun = (await one.call('POST', '/v1/totp', { token })).json<{ uri: string }>()
    const phone = createPhone(begun.uri, one.clock)
    const row = await holdUser(t, ground, userId)
    const racing = [token, other].map((token, i) =>
      both(i).call('POST', '/v1/totp/confirm', { token, body: { code: phone.code(i - 1) } }))
    await row.waiters(2)
    await row.release()
    const replies = await Promise.all(racing)
    t.equal(successes(t, replies, [409]), 1)
    const given = replies.find(({ statusCode }) => statusCode === 200)?.json<{ recoveryCodes: string[] }>().recoveryCodes ?? []
    const [recoveryCode] = given
    t.equal((await answer(two, { challenge: await challengeOf(two, email), recoveryCode })).statusCode, 200)
  })
})
