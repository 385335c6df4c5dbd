import t from 'tap'
import { newEmail, password } from '../fixtures/app.js'
import { createPhone } from '../fixtures/phone.js'
import { modes, startScene } from './scene.js'

/** Second factors by latchkey-client: the second step of signing in, setting up and removing an app, and the step-up by its code. */

for (const mode of modes) {
  t.test(`${mode} mode`, async t => {
    const { one, open, enter, expire } = await startScene(t)

    /** A client whose user has set up an app. */
    async function enrolled () {
      const opened = await enter({ mode })
      const { data } = await opened.client.factors.totp.create()
      const phone = createPhone(data?.uri ?? '', one)
      const confirmed = await opened.client.factors.totp.confirm(phone.code())
      return { ...opened, phone, codes: confirmed.data?.recoveryCodes ?? [] }
    }

    t.test('an app is set up once a code of it is confirmed, and gives recovery codes', async t => {
      const { client, email } = await enter({ mode })
      t.strictSame(await client.factors.get(), { data: { totp: null, recoveryCodesLeft: 0 }, error: null })
      t.match(await client.factors.totp.confirm('123456'), { data: null, error: { code: 'AUTH_NOT_FOUND', status: 404 } })
      const { data } = await client.factors.totp.create()
      t.match(data, { secret: /^[A-Z2-7]{32}$/, uri: /^otpauth:\/\/totp\// })
      const phone = createPhone(data?.uri ?? '', one)
      t.match(await client.factors.totp.confirm(phone.wrongCode()), { data: null, error: { code: 'AUTH_SECOND_FACTOR_INVALID', field: 'code' } })
      t.strictSame((await client.factors.get()).data, { totp: null, recoveryCodesLeft: 0 })
      t.equal((await client.factors.totp.confirm(phone.code())).data?.recoveryCodes?.length, 10)
      t.match(await client.factors.get(), { data: { totp: { confirmedAt: /Z$/ }, recoveryCodesLeft: 10 }, error: null })
      t.match(await client.factors.totp.create(), { data: null, error: { code: 'AUTH_FACTOR_EXISTS', status: 409 } })
      t.equal((await one.login(email)).json().code, 'AUTH_SECOND_FACTOR_REQUIRED')
    })

    t.test('the password gives a challenge and no session; a code answers it, once', async t => {
      const { email, phone, codes: [code = ''] } = await enrolled()
      const { client, browser, told } = open({ mode })
      const first = await client.signInWithPassword({ email, password, deviceName: 'Phone' })
      t.match(first, {
        data: null,
        error: { code: 'AUTH_SECOND_FACTOR_REQUIRED', status: 403, challenge: /^lkc_/, factors: ['totp', 'recovery'] }
      })
      t.strictSame(await client.getSession(), { data: null, error: null })
      const challenge = first.error?.challenge ?? ''
      t.match(
        await client.signInWithSecondFactor({ challenge, totp: phone.code() }),
        { data: null, error: { code: 'AUTH_SECOND_FACTOR_INVALID', status: 401 } },
        'the code that has set it up is used'
      )
      t.match(
        await client.signInWithSecondFactor({ challenge, totp: await phone.nextCode(), deviceName: 'Phone' }),
        { data: { user: { email }, session: { deviceName: 'Phone' } }, error: null }
      )
      t.strictSame(told.map(({ event, email }) => [event, email]), [['INITIAL_SESSION', undefined], ['SIGNED_IN', email]])
      t.equal((await client.fetch('/v1/me')).status, 200)
      await expire()
      t.equal((await client.fetch('/v1/me')).status, 200, 'it is a session as any other')
      t.equal(browser.count('/v1/refresh'), 1)
      t.match(
        await client.signInWithSecondFactor({ challenge, totp: await phone.nextCode() }),
        { error: { code: 'AUTH_SECOND_FACTOR_INVALID' } },
        'and so is the challenge'
      )

      await client.signOut()
      for (const signsIn of [true, false]) {
        const { error } = await client.signInWithPassword({ email, password })
        const second = await client.signInWithSecondFactor({ challenge: error?.challenge ?? '', recoveryCode: code })
        t.equal(second.error?.code, signsIn ? undefined : 'AUTH_SECOND_FACTOR_INVALID')
        await client.signOut()
      }
    })

    t.test('what needs a code is sent again with what a listener returns, and the listener is asked again while that is wrong', async t => {
      const { client, phone, codes: [code = ''] } = await enrolled()
      await expire()
      t.match(await client.factors.recoveryCodes.create(), {
        data: null,
        error: { code: 'AUTH_REAUTHENTICATE', status: 403, field: 'totp', factors: ['totp', 'recovery'] }
      })
      const asked: unknown[] = []
      const answers: unknown[] = [{ totp: phone.wrongCode() }, { recoveryCode: 'aaaaaa-aaaaaa-aaaaaa-aaaaaa' }, { totp: phone.code() }]
      const { unsubscribe } = client.onAuthStateChange((event, _session, error) => {
        if (event !== 'REAUTHENTICATION_REQUIRED') return null
        asked.push([error?.code, error?.field])
        return answers.shift()
      })
      const renewed = await client.factors.recoveryCodes.create()
      t.equal(renewed.data?.recoveryCodes.length, 10)
      t.notOk(renewed.data?.recoveryCodes.includes(code))
      t.strictSame(asked, [
        ['AUTH_REAUTHENTICATE', 'totp'], ['AUTH_SECOND_FACTOR_INVALID', 'totp'], ['AUTH_SECOND_FACTOR_INVALID', 'recoveryCode']
      ])
      asked.splice(0)
      answers.push({ password })
      t.match(
        await client.tokens.create({ name: 'script' }),
        { data: null, error: { code: 'AUTH_REAUTHENTICATE', field: 'totp' } },
        'a password is no code, and goes under its own name'
      )
      answers.push({ totp: await phone.nextCode() })
      t.match(await client.updateUser({ email: newEmail() }), { data: { user: {} }, error: null })
      unsubscribe()
    })

    t.test('removing the app ends the sessions that a code has opened, this one too', async t => {
      const { client, email, phone, events } = await enrolled()
      await expire()
      const code = await phone.nextCode()
      const { unsubscribe } = client.onAuthStateChange(event => event === 'REAUTHENTICATION_REQUIRED' ? { totp: code } : null)
      t.strictSame(await client.factors.totp.end(), { data: null, error: null })
      unsubscribe()
      t.strictSame(await client.getUser(), { data: null, error: null } as never)
      t.equal(events().at(-1), 'SIGNED_OUT')
      t.match(await client.signInWithPassword({ email, password }), { data: { user: { email } }, error: null })
    })
  })
}
