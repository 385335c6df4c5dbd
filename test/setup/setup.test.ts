import { createHash } from 'node:crypto'
import t from 'tap'
import { operator } from '../../src/admin/service.js'
import { newEmail, onEachGround, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'

const fromPage = { 'sec-fetch-site': 'same-origin' }

/** What the start of a server prints behind the #. */
const invite = async (app: TestApp) => (await app.setup.invite())?.reveal() ?? null

const complete = (app: TestApp, token: unknown, body: object = {}, headers: Record<string, string> = {}) =>
  app.call('POST', '/v1/admin/setup', { body: { token, email: newEmail(), password, ...body }, headers })

const codeOf = async (reply: ReturnType<typeof complete>) => {
  const { statusCode, body } = await reply
  return `${statusCode} ${(JSON.parse(body) as { code?: string }).code ?? ''}`.trim()
}

const admins = async (app: TestApp) =>
  (await app.database.prepared<{ email: string }>("select email from users where role = 'admin' and disabled_at is null", [])).length

/** Makes it as if nobody had administered anything yet. */
async function startAnew (app: TestApp): Promise<void> {
  await app.database.prepared("update users set role = 'user'", [])
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })

  t.test('the link makes the first administrator, once, and no more links are made', async t => {
    const token = await invite(one)
    t.match(token, /^lksu_[0-9A-Za-z]{43}$/)
    const rows = await one.database.prepared<{ hash: Buffer }>('select hash from setup_links', [])
    t.same(rows.map(({ hash }) => Buffer.from(hash).toString('hex')), [createHash('sha256').update(String(token)).digest('hex')], 'known by its hash')

    const email = newEmail()
    const made = await complete(one, token, { email, name: 'Ada', deviceName: 'Laptop', refresh: true })
    t.equal(made.statusCode, 201, made.body)
    const { accessToken, refreshToken, user } = made.json()
    t.match(made.json(), { tokenType: 'Bearer', session: { deviceName: 'Laptop' }, endedSessions: 0 })
    t.match(user, { email, name: 'Ada', role: 'admin', emailVerifiedAt: null })
    t.match(refreshToken, /^lkr_/)
    const { events } = (await one.call('GET', `/v1/admin/events?userId=${user.id}`, { token: accessToken })).json()
    t.same(
      events.map(({ type, role, sessionId }: Record<string, unknown>) => [type, role, sessionId === made.json().session.id]).sort(),
      [['first_admin_created', 'admin', true], ['registered', null, true]]
    )
    t.equal((await one.login(email)).statusCode, 200)

    t.equal(await codeOf(complete(one, token)), '400 AUTH_SETUP_TOKEN_INVALID', 'used')
    t.equal(await invite(one), null)
    t.notMatch(one.log.join(''), String(token), 'and the log, at any level, never had it')
  })

  t.test('a later start makes the link before it void, and half an hour ends it', async t => {
    await startAnew(one)
    const [first, second] = [await invite(one), await invite(one)]
    t.equal(await codeOf(complete(one, first)), '400 AUTH_SETUP_TOKEN_INVALID')
    await one.pass(30 * 60_000 + 1)
    t.equal(await codeOf(complete(one, second)), '400 AUTH_SETUP_TOKEN_INVALID')
    const third = await invite(one)
    await one.pass(29 * 60_000)
    t.equal(await codeOf(complete(one, third)), '201')
  })

  t.test('of several at once one becomes the administrator, and no account is made for the others', async t => {
    await startAnew(one)
    const token = await invite(one)
    const emails = Array.from({ length: 5 }, newEmail)
    const codes = await Promise.all(emails.map(email => codeOf(complete(one, token, { email }))))
    t.same(codes.sort(), ['201', ...Array(4).fill('400 AUTH_SETUP_TOKEN_INVALID')])
    t.equal(await admins(one), 1)
    t.same((await Promise.all(emails.map(email => one.login(email)))).map(({ statusCode }) => statusCode).sort(), [200, 401, 401, 401, 401])
  })

  t.test('once there is an administrator by another way, the link is void; once all are disabled, there is a new one', async t => {
    await startAnew(one)
    const token = await invite(one)
    const boss = await one.admin.create(operator, { email: newEmail(), role: 'admin' })
    t.equal(await codeOf(complete(one, token)), '400 AUTH_SETUP_TOKEN_INVALID')
    t.equal(await admins(one), 1)
    await one.database.prepared('update users set disabled_at = now() where id = $1', [boss.id])
    t.equal(await codeOf(complete(one, await invite(one))), '201')
  })

  t.test('what is refused for another reason leaves the link good', async t => {
    await startAnew(one)
    const { email } = await one.account()
    const token = await invite(one)
    t.equal(await codeOf(complete(one, token, { email })), '409 AUTH_EMAIL_TAKEN')
    t.equal(await codeOf(complete(one, token, { password: '1234567' })), '400 AUTH_PASSWORD_REJECTED')
    t.equal(await codeOf(complete(one, token, { email: 'none' })), '400 FST_ERR_VALIDATION')
    t.equal(await codeOf(complete(one, token, { abilities: ['introspect'] })), '403 AUTH_INSUFFICIENT_ABILITY')
    t.equal(await codeOf(complete(one, token, { cookies: true })), '403 AUTH_CROSS_SITE')
    t.equal(await codeOf(complete(one, token, { cookies: true }, { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })), '403 AUTH_CROSS_SITE')
    for (const wrong of ['', 1, null]) t.equal(await codeOf(complete(one, wrong)), '400 FST_ERR_VALIDATION')
    for (const wrong of ['x', `${token}x`, 'lksu_', `lkmr_${token?.slice(5)}`, `lksu_${'0'.repeat(43)}`]) {
      t.equal(await codeOf(complete(one, wrong)), '400 AUTH_SETUP_TOKEN_INVALID', wrong)
    }
    const made = await complete(one, token, { cookies: true }, fromPage)
    t.equal(made.statusCode, 201, made.body)
    t.equal(made.json().accessToken, undefined)
    t.match(made.headers['set-cookie'], [/^__Host-latchkey=lk_/])
  })
})

t.test('with two instances the link of the later start counts on both, and REGISTRATION is not asked', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: { REGISTRATION: 'closed' } })
  const two = await startApp(t, ground, { env: { REGISTRATION: 'confirm' } })
  const tokens = await Promise.all([one, two, one, two].map(invite))
  const codes = await Promise.all(tokens.map((token, i) => codeOf(complete(i % 2 === 0 ? two : one, token))))
  t.same(codes.sort(), ['201', ...Array(3).fill('400 AUTH_SETUP_TOKEN_INVALID')])
  t.same(await Promise.all([one, two].map(invite)), [null, null])
})
