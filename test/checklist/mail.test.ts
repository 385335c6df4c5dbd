import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { becomesTrue, newEmail, password, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { refusedAs } from '../fixtures/refused.js'

const nextPassword = 'kq7vzx3mpwty'

t.test('mails', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-mails-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const one = await startApp(
    t,
    ground,
    { env: { SESSION_LIMIT: '0', DATA_DIR: folder, APP_URL: 'https://app.example.com/account' }, mailer: 'configured' }
  )

  const forgot = (app: TestApp, email: string) => app.call('POST', '/v1/password/forgot', { body: { email } })
  const reset = (token: string, secret = nextPassword) => one.call('POST', '/v1/password/reset', { body: { token, password: secret } })
  const mails = () =>
    existsSync(join(folder, 'mail'))
      ? readdirSync(join(folder, 'mail')).filter(name => name.endsWith('.eml'))
        .map(name => readFileSync(join(folder, 'mail', name), 'utf8').replace(/=\r?\n/g, '').replace(/=3D/g, '='))
      : []
  /** The token of the mail to `email` that resets its password; registering brings one of another kind. */
  async function mailed (email: string): Promise<string> {
    const found = () => mails().filter(text => text.includes(email)).flatMap(text => text.match(/lkmr_[0-9A-Za-z]+/g) ?? [])[0]
    await becomesTrue(() => found() !== undefined, patienceMs)
    return found() ?? 'none'
  }

  t.test('V6.3.8 a forgotten password is answered in identical bytes whether the account exists, is disabled or does not exist', async t => {
    const [known, disabled] = [await one.account(), await one.account()]
    await one.database.prepared('update users set disabled_at = now() where id = $1', [disabled.userId])
    const replies = await Promise.all([known.email, disabled.email, newEmail()].map(email => forgot(one, email)))
    t.strictSame(replies.map(({ statusCode }) => statusCode), [202, 202, 202])
    t.equal(new Set(replies.map(({ body, headers }) => JSON.stringify([body, { ...headers, date: '' }]))).size, 1)
  })

  t.test('V6.2.12, V7.4.3 a reset ends every session, its token works once, and a common password is refused', async t => {
    const { email, token } = await one.account()
    t.equal((await forgot(one, email)).statusCode, 202)
    const secret = await mailed(email)
    for (const common of [
      'password',
      '12345678',
      'iloveyou'
    ]) refusedAs(t, await reset(secret, common), 400, 'AUTH_PASSWORD_REJECTED', common)
    t.equal((await reset(secret)).statusCode, 204)
    refusedAs(t, await one.me(token), 401, 'AUTH_INVALID_TOKEN', 'every session has ended')
    refusedAs(t, await one.login(email), 401, 'AUTH_INVALID_CREDENTIALS', 'the old password')
    t.equal((await one.login(email, { password: nextPassword })).statusCode, 200)
    t.ok((await reset(secret, 'another kq7vzx3m')).statusCode >= 400, 'a second time it opens nothing')
    t.equal((await one.login(email, { password: nextPassword })).statusCode, 200)
  })

  t.test('V6.3.8 with REGISTRATION=confirm a taken address is answered like a new one, in bytes', async t => {
    const confirming = await startApp(
      t,
      ground,
      { env: { DATA_DIR: folder, APP_URL: 'https://app.example.com/account', REGISTRATION: 'confirm' }, mailer: 'configured' }
    )
    const { email: taken } = await one.account()
    const ask = (email: string) => confirming.call('POST', '/v1/register', { body: { email, password } })
    const replies = [await ask(taken), await ask(newEmail())]
    t.strictSame(replies.map(({ statusCode }) => statusCode), [202, 202])
    t.equal(replies[0]?.body, replies[1]?.body)
  })
})
