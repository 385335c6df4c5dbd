import { createHash } from 'node:crypto'
import { type AddressInfo, connect } from 'node:net'
import fastify, { type LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { addAddressLimit } from '../../src/http/address-limit.js'
import {
  becomesTrue,
  embeddedGround,
  type Ground,
  newEmail,
  onEachGround,
  password,
  patienceMs,
  startApp,
  type TestApp
} from '../fixtures/app.js'

const keys = ['code', 'error', 'message', 'statusCode']
/** Refusals of one field say which it is, and why. */
const fieldKeys = ['code', 'error', 'field', 'message', 'reason', 'statusCode']
/** These say where the caller's password goes. */
const asksForPassword = new Set(['AUTH_REAUTHENTICATE', 'AUTH_WRONG_PASSWORD'])
const aboutAField = new Set([
  'FST_ERR_VALIDATION', 'AUTH_INVALID_REQUEST', 'AUTH_PASSWORD_REJECTED', 'AUTH_EMAIL_REJECTED', 'AUTH_CURSOR_REJECTED'
])

/** Every refusal has Fastify's shape, a stable code, the challenge or Retry-After that belongs to it, and the common headers. */
function refused (t: Test, reply: Response, status: number, code: string, name: string = code): void {
  const { statusCode, headers } = reply
  const body = reply.json<Record<string, unknown>>()
  t.equal(
    [statusCode, body.statusCode, body.code, ...Object.keys(body).sort()].join(),
    [status, status, code, ...aboutAField.has(code) ? fieldKeys : asksForPassword.has(code) ? [...keys, 'field'].sort() : keys].join(),
    name
  )
  t.match({ body, headers }, {
    body: { code: /^(AUTH|FST)_[A-Z_]+$/, error: String, message: String },
    headers: {
      ...common,
      'content-type': /^application\/json/,
      ...status === 401
        ? { 'www-authenticate': code === 'AUTH_INVALID_TOKEN' ? /^Bearer .*error="invalid_token"/ : /^Bearer (?!.*error=)/ }
        : {},
      ...status === 429 || status === 503 ? { 'retry-after': /^[1-9]\d*$/ } : {}
    }
  }, name)
}

const common = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'strict-transport-security': /^max-age=[1-9]\d{6,}/ }

function guarded (t: Test, { headers }: Pick<Response, 'headers'>, name: string): void {
  t.match(headers, common, name)
}

/** One embedded database for all apps in this file that don't break it; they run one after another. */
const shared = await (await embeddedGround()).database()
t.teardown(() => shared.close())
const embedded: Ground = { ...await embeddedGround(), database: async () => ({ ...shared, close: async () => {} }) }

/** Sends `payload` as it is, whatever the content type says. */
const send = (one: TestApp, url: string, payload: string | Buffer, contentType = 'application/json'): Promise<Response> =>
  one.app.inject({ method: 'POST', url, payload, headers: { 'content-type': contentType } })

const loginBody = (email: string, more: object = {}) => JSON.stringify({ email, password, ...more })

async function listening (t: Test, ground: Ground = embedded): Promise<{ one: TestApp, port: number }> {
  const one = await startApp(t, ground)
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  return { one, port: (one.app.server.address() as AddressInfo).port }
}

/** What the server replies to `text` until it closes the connection, within 30 s. */
function exchange (
  port: number,
  text: string | Buffer
): Promise<{ status: number, headers: Record<string, string>, body: string, raw: string, closed: boolean }> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    let raw = ''
    const done = (closed: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      const [head = '', ...rest] = raw.split('\r\n\r\n')
      const [first = '', ...lines] = head.split('\r\n')
      const headers = Object.fromEntries(lines.map(line =>
        [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
      resolve({ status: Number(first.split(' ')[1]), headers, body: rest.join('\r\n\r\n'), raw, closed })
    }
    const timer = setTimeout(() => done(false), patienceMs)
    socket.on('data', chunk => { raw += String(chunk) })
    socket.on('error', () => {})
    socket.on('close', () => done(true))
    socket.write(text)
  })
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)
  const other = await one.account()

  t.test('text that PostgreSQL or a terminal cannot handle is refused before it gets there', async t => {
    for (const bad of ['nul\0', 'esc\u001b[31m', 'line\r\nbreak', 'lone \ud800', 'lone \udfff', '\u0085']) {
      const name = JSON.stringify(bad)
      refused(t, await one.register(newEmail(), { name: bad }), 400, 'FST_ERR_VALIDATION', `name ${name}`)
      refused(t, await one.register(newEmail(), { deviceName: bad }), 400, 'FST_ERR_VALIDATION', `deviceName ${name}`)
      refused(t, await one.login(other.email, { deviceName: bad }), 400, 'FST_ERR_VALIDATION', `deviceName ${name}`)
      refused(t, await one.register(`${bad}@example.com`), 400, 'FST_ERR_VALIDATION', `email ${name}`)
      refused(t, await one.login(`${bad}@example.com`), 400, 'FST_ERR_VALIDATION', `email ${name}`)
      refused(t, await one.login(other.email, { abilities: [bad] }), 400, 'FST_ERR_VALIDATION', `abilities ${name}`)
    }
  })

  t.test('a User-Agent of any bytes that HTTP allows is stored, cut to 512 characters', async t => {
    const email = newEmail()
    const reply = await one.call(
      'POST',
      '/v1/register',
      { body: { email, password }, headers: { 'user-agent': `\u00e9\u0080\u009b[31m${'x'.repeat(9_000)}` } }
    )
    t.equal(reply.statusCode, 201, reply.body)
    const [session] = (await one.call(
      'GET',
      '/v1/sessions',
      { token: reply.json().accessToken }
    )).json<{ sessions: Array<{ userAgent: string }> }>().sessions
    t.equal(session?.userAgent.length, 512)
  })

  t.test('an email names the same account in any case and width', async t => {
    const local = newEmail().split('@')[0] as string
    t.equal((await one.register(`${local}@example.com`)).statusCode, 201)
    const wide = [...local].map(letter => /[a-z0-9]/.test(letter) ? String.fromCodePoint(letter.charCodeAt(0) + 0xfee0) : letter).join('')
    for (const variant of [`${local.toUpperCase()}@EXAMPLE.com`, `${wide}@example.com`, `${wide.toUpperCase()}@ｅｘａｍｐｌｅ.com`]) {
      refused(t, await one.register(variant), 409, 'AUTH_EMAIL_TAKEN', variant)
      const reply = await one.login(variant)
      t.equal(reply.statusCode, 200, variant)
      t.equal(reply.json().user.email, `${local}@example.com`)
    }
  })

  t.test('spaces around an email are refused rather than trimmed', async t => {
    for (const email of [
      ` ${other.email}`,
      `${other.email} `,
      `${other.email}\n`,
      `\u00a0${other.email}`
    ]) refused(t, await one.login(email), 400, 'FST_ERR_VALIDATION', JSON.stringify(email))
  })

  t.test('64 emoji are a valid password, and 63 of them are a different one', async t => {
    const email = newEmail()
    t.equal((await one.register(email, { password: '🔑'.repeat(64) })).statusCode, 201)
    t.equal((await one.login(email, { password: '🔑'.repeat(64) })).statusCode, 200)
    refused(t, await one.login(email, { password: '🔑'.repeat(63) }), 401, 'AUTH_INVALID_CREDENTIALS')
  })

  t.test('two passwords of 200 bytes that differ in the last byte do not open the same account', async t => {
    const email = newEmail()
    t.equal((await one.register(email, { password: `${'a'.repeat(199)}b` })).statusCode, 201)
    refused(t, await one.login(email, { password: `${'a'.repeat(199)}c` }), 401, 'AUTH_INVALID_CREDENTIALS')
    refused(t, await one.login(email, { password: 'a'.repeat(199) }), 401, 'AUTH_INVALID_CREDENTIALS')
    t.equal((await one.login(email, { password: `${'a'.repeat(199)}b` })).statusCode, 200)
  })

  t.test('NUL is an ordinary character in a password and does not end it', async t => {
    const email = newEmail()
    t.equal((await one.register(email, { password: 'before\0after' })).statusCode, 201)
    for (const wrong of [
      'before\0other',
      'before\0',
      'before',
      'beforeafter'
    ]) refused(t, await one.login(email, { password: wrong }), 401, 'AUTH_INVALID_CREDENTIALS', JSON.stringify(wrong))
    t.equal((await one.login(email, { password: 'before\0after' })).statusCode, 200)
  })

  t.test('a lone surrogate in a password is refused, because all of them become the same bytes', async t => {
    for (const lone of ['password \ud800', 'password \udfff', '\udc00\ud800 password']) {
      refused(t, await one.register(newEmail(), { password: lone }), 400, 'FST_ERR_VALIDATION')
      refused(t, await one.login(other.email, { password: lone }), 400, 'FST_ERR_VALIDATION')
      refused(
        t,
        await one.call('PUT', '/v1/password', { token: other.token, body: { currentPassword: password, newPassword: lone } }),
        400,
        'FST_ERR_VALIDATION'
      )
    }
  })

  t.test('a password matches in NFC and NFD, and must match exactly in everything else', async t => {
    const email = newEmail()
    const secret = 'Ünïcödé  ﬁle '
    t.equal((await one.register(email, { password: secret.normalize('NFC') })).statusCode, 201)
    t.equal((await one.login(email, { password: secret.normalize('NFD') })).statusCode, 200)
    for (const wrong of [
      secret.trim(),
      secret.normalize('NFKC'),
      secret.toLowerCase(),
      secret.replace('  ', ' ')
    ]) refused(t, await one.login(email, { password: wrong }), 401, 'AUTH_INVALID_CREDENTIALS', wrong)
  })

  t.test('the minimum length of a password counts code points after composition', async t => {
    for (const short of ['1234567', '🔑'.repeat(7), 'e\u0301'.repeat(7)]) {
      refused(t, await one.register(newEmail(), { password: short }), 400, 'AUTH_PASSWORD_REJECTED', short)
      refused(
        t,
        await one.call('PUT', '/v1/password', { token: other.token, body: { currentPassword: password, newPassword: short } }),
        400,
        'AUTH_PASSWORD_REJECTED',
        short
      )
    }
    for (const enough of [
      '74261830',
      '🔑'.repeat(8),
      'e\u0301'.repeat(8),
      '        '
    ]) t.equal((await one.register(newEmail(), { password: enough })).statusCode, 201, enough)
  })

  t.test('a refused password change leaves the old password and the token as they were', async t => {
    const { email, token } = await one.account()
    refused(
      t,
      await one.call('PUT', '/v1/password', { token, body: { currentPassword: 'not this one', newPassword: 'another long one' } }),
      403,
      'AUTH_WRONG_PASSWORD'
    )
    t.equal((await one.me(token)).statusCode, 200)
    t.equal((await one.login(email)).statusCode, 200)
  })

  t.test('something that is not a session id is answered with not found', async t => {
    for (const id of [
      'garbage',
      '%00',
      '1',
      'null',
      '%F0%9F%98%80',
      "1'%20or%20'1'='1",
      `${other.sessionId}0`,
      other.sessionId.replaceAll('-', ''),
      `{${other.sessionId}}`,
      `%20${other.sessionId}`,
      'x'.repeat(99),
      'x'.repeat(9_000),
      '00000000-0000-0000-0000-000000000000'
    ]) {
      refused(t, await one.call('DELETE', `/v1/sessions/${id}`, { token: other.token }), 404, 'AUTH_NOT_FOUND', id.slice(0, 50))
    }
    t.equal((await one.me(other.token)).statusCode, 200)
  })

  t.test("another user's session is not found, and stays alive", async t => {
    const mine = await one.account()
    refused(t, await one.call('DELETE', `/v1/sessions/${other.sessionId}`, { token: mine.token }), 404, 'AUTH_NOT_FOUND')
    t.equal((await one.me(other.token)).statusCode, 200)
  })

  t.test('a session id in capitals names the same session', async t => {
    const { token, sessionId } = await one.account()
    t.equal((await one.call('DELETE', `/v1/sessions/${sessionId.toUpperCase()}`, { token })).statusCode, 204)
    refused(t, await one.me(token), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('the hash stored in the database does not work as a token', async t => {
    const { token, userId } = await one.account()
    const [row] = await one.database.prepared<{ hash: string }>(
      "select encode(hash, 'hex') as hash from tokens where user_id = $1",
      [userId]
    )
    const hex = row?.hash ?? ''
    t.equal(hex, createHash('sha256').update(token).digest('hex'), 'SHA-256 of the whole token')
    for (const candidate of [
      hex,
      `lk_${hex}`,
      `lk_${hex.slice(0, 50)}`,
      `\\x${hex}`,
      Buffer.from(hex, 'hex').toString('base64'),
      Buffer.from(hex, 'hex').toString('latin1')
    ]) refused(t, await one.me(candidate), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('a 500 reveals no statement, parameter or path, neither to the client nor to the log', async t => {
    const broken = await startApp(t, ground)
    const { token } = await broken.account()
    await broken.database.prepared("alter table users add constraint no_sentinels check (name is null or name not like 'SENTINEL%')", [])
    broken.log.length = 0
    const failed = await broken.register('sentinel-address@example.com', { name: 'SENTINEL name', password: 'SENTINEL password' })
    refused(t, failed, 500, 'AUTH_INTERNAL', 'a violated constraint')

    await broken.database.prepared('alter table sessions rename to elsewhere', [])
    t.teardown(async () => {
      await one.database.prepared('alter table elsewhere rename to sessions', []).catch(() => {})
      await one.database.prepared('alter table users drop constraint no_sentinels', []).catch(() => {})
    })
    const missing = await broken.call('GET', '/v1/sessions', { token })
    refused(t, missing, 500, 'AUTH_INTERNAL', 'a missing table')
    refused(
      t,
      await broken.register('sentinel-address@example.com', { deviceName: 'SENTINEL device', password: 'SENTINEL password' }),
      500,
      'AUTH_INTERNAL',
      'a missing table'
    )

    const log = broken.log.join('')
    t.match(log, /answered 500/)
    for (const said of [failed.body, missing.body, log]) {
      t.notMatch(said, /sentinel[ -]/i, 'no parameter')
      t.notMatch(said, /\$2b\$|\\x[0-9a-f]{8}/, 'no hash')
      t.notMatch(said, /\b(select|insert|update) .*(from|into|set)\b|failing row|relation "/i, 'no statement')
      t.notMatch(said, process.cwd(), 'no path')
    }
    for (const said of [failed.body, missing.body]) t.notMatch(said, /users|sessions|postgres|drizzle|\.[jt]s\b/i)
  })

  t.test('no log line at any level holds a password, a token or a hash', async t => {
    const logged = await startApp(t, ground)
    const email = newEmail()
    const secrets = ['sentinel-first-password', 'sentinel-wrong-password', 'sentinel-second-password']
    const [first, wrong, second] = secrets as [string, string, string]
    const token = (await logged.register(email, { password: first })).json<{ accessToken: string }>().accessToken
    await logged.me(token)
    await logged.login(email, { password: wrong })
    await logged.call('PUT', '/v1/password', { token, body: { currentPassword: wrong, newPassword: second } })
    const renewed = (await logged.call(
      'PUT',
      '/v1/password',
      { token, body: { currentPassword: first, newPassword: second } }
    )).json<{ accessToken: string }>().accessToken
    await logged.me(token)
    await logged.me(`${renewed}x`)
    await logged.call('GET', `/v1/me?access_token=${renewed}`)
    await logged.call('DELETE', `/v1/sessions/${renewed}`, { token: renewed })
    await logged.call(
      'GET',
      `/v1/${renewed}/me`,
      { token: renewed, headers: { cookie: `__Host-latchkey=${renewed}`, referer: `http://127.0.0.1/?t=${renewed}` } }
    )
    await logged.call('GET', `/%zz/${renewed}?${renewed}`)
    await send(logged, '/v1/login', `{"email":"${email}","password":"${second}`)
    await send(logged, '/v1/login', `{"email":"${email}","password":["${second}"]}`)
    await send(logged, '/v1/login', `email=${email}&password=${second}`, 'application/x-www-form-urlencoded')
    await logged.register(email, { password: second })
    const last = (await logged.login(email, { password: second })).json<{ accessToken: string }>().accessToken
    await logged.logout(last)
    const hashes = [token, renewed, last].map(text => createHash('sha256').update(text).digest('hex'))

    const log = logged.log.join('')
    t.ok(logged.log.length > 30, 'logging was on')
    for (const secret of [
      ...secrets,
      token,
      renewed,
      last,
      ...hashes,
      '$2b$'
    ]) t.notOk(log.includes(secret), `${secret.slice(0, 12)}… is not in it`)
  })
})

t.test('bodies', async t => {
  const one = await startApp(t, embedded)
  const { email, token } = await one.account()
  const opening = ['/v1/register', '/v1/login']

  t.test('a body that is not JSON is refused as such', async t => {
    for (const url of opening) {
      for (const text of [
        '{',
        '{"email":',
        "{'email':'a'}",
        `${loginBody(email)}x`,
        `${loginBody(email)}${loginBody(email)}`,
        'email=a',
        'NaN',
        '\0',
        '{"a":1,}',
        '[[[['
      ]) {
        refused(t, await send(one, url, text), 400, 'FST_ERR_CTP_INVALID_JSON_BODY', JSON.stringify(text))
      }
    }
  })

  t.test('JSON that is not an object is refused', async t => {
    for (const url of opening) {
      for (const text of [
        '"text"',
        '[]',
        `[${loginBody(email)}]`,
        'null',
        '1',
        'true',
        '',
        `${'['.repeat(30_000)}${']'.repeat(30_000)}`
      ]) refused(t, await send(one, url, text), 400, 'FST_ERR_VALIDATION', text.slice(0, 20))
      refused(t, await one.call('POST', url), 400, 'FST_ERR_VALIDATION', 'no body')
    }
  })

  t.test('no type is coerced to another', async t => {
    const account = newEmail()
    t.equal((await one.register(account, { password: '74261830' })).statusCode, 201)
    refused(t, await one.login(account, { password: 74261830 }), 400, 'FST_ERR_VALIDATION')
    refused(t, await one.login(account, { password: ['74261830'] }), 400, 'FST_ERR_VALIDATION')
    t.equal((await one.login(account, { password: '74261830' })).statusCode, 200)

    const notText: unknown[] = [1, 0, true, false, null, [], ['text'], {}, { toString: 'text' }]
    for (const value of notText) {
      for (const url of opening) for (const key of [
        'email',
        'password',
        'deviceName'
      ]) refused(
        t,
        await one.call('POST', url, { body: { email: newEmail(), password, [key]: value } }),
        400,
        'FST_ERR_VALIDATION',
        `${url} ${key} ${JSON.stringify(value)}`
      )
      refused(t, await one.register(newEmail(), { name: value }), 400, 'FST_ERR_VALIDATION', `name ${JSON.stringify(value)}`)
      for (const key of [
        'currentPassword',
        'newPassword'
      ]) refused(
        t,
        await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: password, [key]: value } }),
        400,
        'FST_ERR_VALIDATION',
        `${key} ${JSON.stringify(value)}`
      )
    }
    for (const value of [
      'true',
      'false',
      1,
      0,
      null,
      '',
      [],
      {}
    ]) for (const key of [
      'refresh',
      'cookies'
    ]) refused(t, await one.login(email, { [key]: value }), 400, 'FST_ERR_VALIDATION', `${key} ${JSON.stringify(value)}`)
    for (const value of [
      'read',
      1,
      null,
      {},
      [1],
      [null],
      [''],
      ['two words'],
      ['"'],
      ['same', 'same'],
      ['é'],
      [['read']],
      ['x'.repeat(65)],
      Array.from({ length: 65 }, (_, i) => `a${i}`)
    ]) refused(
      t,
      await one.login(email, { abilities: value }),
      400,
      'FST_ERR_VALIDATION',
      `abilities ${JSON.stringify(value).slice(0, 40)}`
    )
  })

  t.test('an unknown field is refused, and gives nobody a role', async t => {
    for (const extra of [
      { role: 'admin' },
      { userId: '1' },
      { id: '1' },
      { expiresAt: '2999-01-01T00:00:00Z' },
      { expiresIn: 1 },
      { isAdmin: true },
      { emailVerifiedAt: '2020-01-01T00:00:00Z' },
      { Email: 'x@example.com' },
      { 'email ': 1 },
      { constructor: 1 },
      { toString: 1 },
      { '': 1 }
    ]) {
      const name = JSON.stringify(extra)
      refused(t, await one.register(newEmail(), extra), 400, 'FST_ERR_VALIDATION', `register ${name}`)
      refused(t, await one.login(email, extra), 400, 'FST_ERR_VALIDATION', `login ${name}`)
      refused(
        t,
        await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: password, ...extra } }),
        400,
        'FST_ERR_VALIDATION',
        `password ${name}`
      )
    }
    refused(t, await one.login(email, { name: 'a name is for register' }), 400, 'FST_ERR_VALIDATION')
    t.equal((await one.register()).json().user.role, 'user')
  })

  t.test('keys that target prototypes are refused, however they are written', async t => {
    for (const key of [
      '"__proto__":{"role":"admin"}',
      '"\\u005f_proto__":{"role":"admin"}',
      '"__proto__":null',
      '"constructor":{"prototype":{"role":"admin"}}',
      '"x":{"__proto__":{"role":"admin"}}'
    ]) {
      const reply = await send(one, '/v1/register', `{${key},${loginBody(newEmail()).slice(1)}`)
      refused(t, reply, 400, reply.json<{ code: string }>().code, key)
    }
    t.notOk('role' in {}, 'no prototype was changed')
  })

  t.test('when a key is repeated, only the last one counts', async t => {
    const [first, last] = [newEmail(), newEmail()]
    const reply = await send(one, '/v1/register', `{"email":"${first}","email":"${last}","password":"${password}"}`)
    t.equal(reply.statusCode, 201, reply.body)
    t.equal(reply.json().user.email, last)
    refused(t, await one.login(first), 401, 'AUTH_INVALID_CREDENTIALS')
    refused(
      t,
      await send(one, '/v1/login', `{"email":"${last}","password":"${password}","password":"not this one"}`),
      401,
      'AUTH_INVALID_CREDENTIALS'
    )
  })

  t.test('fields that are too long or too short are refused', async t => {
    for (const body of [
      { email: '' },
      { email: 'a@' },
      { email: '@b' },
      { email: 'a b@c' },
      { email: 'a@b@c' },
      { email: `${'x'.repeat(251)}@b.c` },
      { password: '' },
      { password: 'x'.repeat(1_025) },
      { deviceName: '' },
      { deviceName: 'x'.repeat(201) }
    ]) {
      refused(
        t,
        await one.call('POST', '/v1/login', { body: { email, password, ...body } }),
        400,
        'FST_ERR_VALIDATION',
        JSON.stringify(body).slice(0, 40)
      )
    }
    t.equal(
      (await one.register(newEmail(), { password: 'x'.repeat(1_024), name: 'x'.repeat(200), deviceName: '🔑'.repeat(200) })).statusCode,
      201
    )
  })

  t.test('an email of the maximum length in bytes is accepted', async t => {
    const long = `${Array.from({ length: 240 }, (_, i) => String.fromCodePoint(0x20000 + i * 97)).join('')}@example.com`
    t.equal((await one.register(long)).statusCode, 201)
    t.equal((await one.login(long)).statusCode, 200)
  })

  t.test('a body of 10 MB is too large, whether or not its length is declared', async t => {
    const large = `{"email":"${'x'.repeat(10 * 1024 * 1024)}"}`
    for (const url of opening) refused(t, await send(one, url, large), 413, 'FST_ERR_CTP_BODY_TOO_LARGE')
    refused(
      t,
      await one.app.inject({
        method: 'PUT',
        url: '/v1/password',
        payload: large,
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }
      }),
      413,
      'FST_ERR_CTP_BODY_TOO_LARGE'
    )
  })

  t.test('content types other than JSON are refused unread, even when the body is JSON', async t => {
    for (const type of [
      'text/plain',
      'text/json',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonx',
      'application/json-patch+json',
      'application/vnd.api+json',
      'text/plain; application/json',
      'application/json, text/plain',
      'text/plain;charset=application/json',
      'application',
      'json',
      '*/*',
      ''
    ]) {
      for (const url of opening) refused(
        t,
        await send(one, url, loginBody(email), type),
        415,
        'FST_ERR_CTP_INVALID_MEDIA_TYPE',
        JSON.stringify(type)
      )
    }
    t.equal((await one.me(token)).statusCode, 200, 'no login went through')
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded'
    ]) refused(
      t,
      await one.app.inject({
        method: 'POST',
        url: '/v1/logout',
        payload: 'x=1',
        headers: { 'content-type': type, authorization: `Bearer ${token}` }
      }),
      415,
      'FST_ERR_CTP_INVALID_MEDIA_TYPE'
    )
    t.equal((await one.me(token)).statusCode, 200, 'no form ended a session')
  })

  t.test('the body is validated however the JSON content type is written', async t => {
    const account = newEmail()
    await one.register(account)
    for (const type of [
      'application/json',
      'Application/JSON',
      'application/json;charset=utf-8',
      'application/json; charset="UTF-8"',
      'application/json\t; charset=utf-8',
      'application/json;',
      'application/json ;',
      'application/json; x=y',
      ' application/json'
    ]) {
      refused(t, await send(one, '/v1/login', loginBody(account, { role: 'admin' }), type), 400, 'FST_ERR_VALIDATION', JSON.stringify(type))
      refused(t, await send(one, '/v1/login', loginBody(account, { password: 1 }), type), 400, 'FST_ERR_VALIDATION', JSON.stringify(type))
      t.equal((await send(one, '/v1/login', loginBody(account), type)).statusCode, 200, JSON.stringify(type))
    }
  })

  t.test('bytes that are not UTF-8 are not accepted as JSON, and never cause a server error', async t => {
    for (const bytes of [[0xff, 0xfe, 0x7b, 0], [0xc0, 0x80], [0xed, 0xa0, 0x80]]) {
      const reply = await send(
        one,
        '/v1/login',
        Buffer.concat([Buffer.from('{"email":"a@b.c","password":"'), Buffer.from(bytes), Buffer.from('"}')])
      )
      t.ok([400, 401].includes(reply.statusCode), `${reply.statusCode} ${reply.body}`)
    }
  })
})

t.test('a body that is not UTF-8 is refused, and so is a form that encodes such bytes', async t => {
  const one = await startApp(t, embedded)
  const latin1 = (text: string) => Buffer.from(text, 'latin1')
  for (const body of [{ email: 'jörg@example.com', password }, { email: newEmail(), password: 'Grüße aus Köln' }]) {
    refused(t, await send(one, '/v1/register', latin1(JSON.stringify(body))), 400, 'AUTH_INVALID_REQUEST')
    t.equal((await send(one, '/v1/register', JSON.stringify(body))).statusCode, 201, 'the same in UTF-8')
  }
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xf4, 0x90, 0x80, 0x80]]) {
    refused(
      t,
      await send(
        one,
        '/v1/login',
        Buffer.concat([Buffer.from('{"email":"a@example.com","password":"'), Buffer.from(bytes), Buffer.from('"}')])
      ),
      400,
      'AUTH_INVALID_REQUEST'
    )
  }
  const { plain } = await one.serviceTokens.create('headers')
  const introspect = (payload: string | Buffer) =>
    one.app.inject({
      method: 'POST',
      url: '/oauth/introspect',
      payload,
      headers: { authorization: `Bearer ${plain.reveal()}`, 'content-type': 'application/x-www-form-urlencoded' }
    })
  for (const payload of [latin1('token=ü'), 'token=%FC', 'token=%ED%A0%80', 'token=a%C3', '%FF=1&token=x']) {
    const reply = await introspect(payload)
    t.match([reply.statusCode, reply.json()], [400, { error: 'invalid_request', code: 'AUTH_INVALID_REQUEST' }], String(payload))
  }
  for (const payload of [
    'token=ü',
    'token=%C3%BC',
    'token=%zz',
    'token=%'
  ]) t.strictSame((await introspect(payload)).json(), { active: false }, payload)
})

t.test('refused authorisations and limits are logged with their code, and a flood of them in few lines', async t => {
  const one = await startApp(t, embedded, { env: { ADDRESS_LIMIT: '3/1m', LOG_LEVEL: 'info' } })
  const { token, userId } = await one.account()
  const refusals = () =>
    one.log.map(line => JSON.parse(line) as { msg: string, code: string, suppressed?: number }).filter(({ msg }) => msg === 'refused')
  const said = async (reply: Promise<Response>) => {
    const before = refusals().length
    await reply
    return refusals().slice(before).map(({ code }) => code)
  }
  t.same(await said(one.call('GET', '/v1/admin/users')), ['AUTH_MISSING_TOKEN'], 'an admin route without a token')
  t.same(await said(one.call('GET', '/v1/admin/users', { token })), ['AUTH_FORBIDDEN'])
  t.match(refusals().at(-1), { statusCode: 403, method: 'GET', route: '/v1/admin/users', address: '127.0.0.1', userId })
  t.same(await said(one.call('GET', '/v1/sessions', { token: await one.personal(token) })), ['AUTH_SESSION_REQUIRED'])
  t.same(
    await said(one.app.inject({
      method: 'POST',
      url: '/oauth/introspect',
      payload: 'token=x',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-www-form-urlencoded' }
    })),
    ['AUTH_INSUFFICIENT_ABILITY']
  )
  t.same(await said(one.call('POST', '/v1/login', { body: { email: newEmail(), password, cookies: true } })), ['AUTH_CROSS_SITE'])
  t.same(await said(one.me('lk_nonsense')), [], 'an expired token leaves no line')
  for (let i = 0; i < 3; i++) await one.login(newEmail())
  t.same(await said(one.login(newEmail())), ['AUTH_RATE_LIMITED'])
  const before = refusals().length
  await Promise.all(Array.from({ length: 300 }, () => one.login('a@example.com')))
  const lines = refusals().slice(before)
  t.ok(lines.length < 300, `${lines.length} lines of 300`)
})

t.test('credentials', async t => {
  const { one, port } = await listening(t)
  const { token } = await one.account()
  const me = (authorization: string) => one.call('GET', '/v1/me', { headers: { authorization } })

  t.test('a malformed Authorization header gives no access', async t => {
    for (const header of ['Bearer', 'Bearer ', `Bearer Bearer ${token}`, `Bearer ${token}, Bearer ${token}`, `Bearer ${token},${token}`, `Bearer ${token} ${token}`, `Bearer "${token}"`, `Bearer ${token}=`, `Bearer ${token}\0`,
      `Bearer ${token.slice(
        0,
        -1
      )}`, `Bearer ${token}A`, `Bearer ${token.toLowerCase()}`, `Bearer ${token.replace(
        'lk_',
        'lkr_'
      )}`, `Bearer ${token.replace(
        'lk_',
        'lkp_'
      )}`, `Bearer ${token.slice(3)}`, `Bearer lk_${'é'.repeat(50)}`, `Bearer lk_${'０'.repeat(50)}`,
      `Bearer lk_${'A'.repeat(50)}`, `Bearer ${'x'.repeat(65_536)}`, `bearer ${token}x`, 'Bearer null', 'Bearer undefined']) {
      refused(t, await me(header), 401, 'AUTH_INVALID_TOKEN', header.slice(0, 40))
    }
  })

  t.test('another scheme, or none, counts as no token', async t => {
    for (const header of [
      '',
      ' ',
      token,
      `Basic ${token}`,
      `Basic ${Buffer.from(`:${token}`).toString('base64')}`,
      `Token ${token}`,
      `Bearer:${token}`,
      `Bearer=${token}`,
      `Bearer\t${token}`,
      `Bearertoken ${token}`,
      `Digest Bearer ${token}`
    ]) {
      refused(t, await me(header), 401, 'AUTH_MISSING_TOKEN', JSON.stringify(header.slice(0, 20)))
    }
    refused(t, await one.call('GET', '/v1/me'), 401, 'AUTH_MISSING_TOKEN', 'no header')
  })

  t.test('the scheme may be in any case, followed by any number of spaces, here and in /oauth (RFC 6750 2.1)', async t => {
    const { plain } = await one.serviceTokens.create('orders')
    for (const scheme of ['Bearer ', 'bearer ', 'BEARER ', 'bEaReR ', 'Bearer  ', 'bearer    ']) {
      t.equal((await me(`${scheme}${token}`)).statusCode, 200, scheme)
      const introspected = await one.app.inject({
        method: 'POST',
        url: '/oauth/introspect',
        payload: `token=${token}`,
        headers: { authorization: `${scheme}${plain.reveal()}`, 'content-type': 'application/x-www-form-urlencoded' }
      })
      t.match(introspected.json(), { active: true }, scheme)
    }
  })

  t.test('a token is read only from the header or its cookie', async t => {
    for (const key of [
      'access_token',
      'token',
      'authorization',
      'Authorization'
    ]) refused(t, await one.call('GET', `/v1/me?${key}=${token}`), 401, 'AUTH_MISSING_TOKEN', key)
    for (const body of [
      { access_token: token },
      { accessToken: token },
      { token }
    ]) refused(t, await one.call('POST', '/v1/logout', { body }), 400, 'FST_ERR_VALIDATION', JSON.stringify(Object.keys(body)))
    for (const name of [
      'latchkey',
      'token',
      'access_token'
    ]) refused(t, await one.call('GET', '/v1/me', { headers: { cookie: `${name}=${token}` } }), 401, 'AUTH_MISSING_TOKEN', name)
    for (const name of [
      'x-access-token',
      'x-authorization',
      'proxy-authorization',
      'x-forwarded-authorization'
    ]) refused(t, await one.call('GET', '/v1/me', { headers: { [name]: `Bearer ${token}` } }), 401, 'AUTH_MISSING_TOKEN', name)
    t.equal((await one.me(token)).statusCode, 200, 'none of it ended the session')
  })

  t.test('every route that needs a token refuses a request without one before it checks anything else', async t => {
    for (const [method, url] of [
      ['GET', '/v1/me'],
      ['POST', '/v1/logout'],
      ['POST', '/v1/logout-all'],
      ['PUT', '/v1/password'],
      ['GET', '/v1/sessions'],
      ['DELETE', '/v1/sessions'],
      ['DELETE', '/v1/sessions/garbage']
    ] as const) {
      refused(t, await one.call(method, url), 401, 'AUTH_MISSING_TOKEN', `${method} ${url}`)
      refused(t, await one.call(method, url, { token: 'lk_no' }), 401, 'AUTH_INVALID_TOKEN', `${method} ${url}`)
    }
    refused(
      t,
      await one.app.inject({ method: 'PUT', url: '/v1/password', payload: '{', headers: { 'content-type': 'text/plain' } }),
      401,
      'AUTH_MISSING_TOKEN'
    )
  })

  t.test('when a request has two Authorization lines, a good second one does not rescue a bad first one', async t => {
    const reply = await exchange(
      port,
      `GET /v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`
    )
    t.equal(reply.status, 401)
  })

  t.test('trailing spaces are not part of a header value', async t => {
    t.equal(
      (await exchange(port, `GET /v1/me HTTP/1.1\r\nHost: a\r\nAuthorization:  Bearer ${token} \t \r\nConnection: close\r\n\r\n`)).status,
      200
    )
  })
})

t.test('paths and methods', async t => {
  const one = await startApp(t, embedded)
  const { token } = await one.account()

  t.test('a path that only resembles a route is not found', async t => {
    for (const url of [
      '//v1/me',
      '/v1//me',
      '/v1/me/',
      '/v1/me//',
      '/v1/me;x',
      '/v1/me;x=1',
      ';/v1/me',
      '/v1/me%2f',
      '/v1%2fme',
      '/v1/me%00',
      '/v1/me%20',
      '/v1/me.json',
      '/V1/me',
      '/v1/ME',
      '/v2/me',
      '/v1',
      '/v1/',
      '/v1/me%3fx',
      '/v1/users',
      '/administrator',
      '/accounts',
      '/metrics',
      '/.env',
      '/.git/config',
      '/package.json',
      '/docs/../../package.json',
      '/docs/static/%2e%2e/%2e%2e/package.json',
      '/docs/static/..%2f..%2fpackage.json'
    ]) {
      refused(t, await one.call('GET', url, { token }), 404, 'AUTH_NOT_FOUND', url)
    }
  })

  t.test('another spelling of a path needs a token just as the path itself does', async t => {
    for (const url of ['/%761/me', '/v1/%6d%65', '/v1/./me', '/v1/x/../me', '/v1/me?', '/v1/me?x=%zz', '/v1/me?__proto__=1']) {
      refused(t, await one.call('GET', url), 401, 'AUTH_MISSING_TOKEN', url)
      t.equal((await one.call('GET', url, { token })).statusCode, 200, url)
    }
  })

  t.test('percent signs that do not encode anything are refused', async t => {
    for (const url of [
      '/%',
      '/%zz',
      '/v1/%zz',
      '/v1/me%',
      '/v1/%ff',
      '/v1/sessions/%c0%80',
      '/v1/sessions/%'
    ]) refused(t, await one.call('GET', url, { token }), 400, 'FST_ERR_BAD_URL', url)
  })

  t.test('a method that a route does not have is not found', async t => {
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] as const
    const routes: Record<string, readonly string[]> = {
      '/v1/me': ['GET', 'PATCH', 'DELETE'],
      '/v1/login': ['POST'],
      '/v1/register': ['POST'],
      '/v1/logout': ['POST'],
      '/v1/logout-all': ['POST'],
      '/v1/password': ['PUT'],
      '/v1/sessions': ['GET', 'DELETE'],
      '/health/live': ['GET'],
      '/openapi.json': ['GET']
    }
    for (const [url, own] of Object.entries(routes)) {
      for (const method of methods.filter(name => !own.includes(name === 'HEAD' ? 'GET' : name))) {
        refused(
          t,
          await one.app.inject({
            method: method as 'GET',
            url,
            headers: { authorization: `Bearer ${token}`, 'x-method-override': own[0] ?? '', 'x-http-method-override': own[0] ?? '' }
          }),
          404,
          'AUTH_NOT_FOUND',
          `${method} ${url}`
        )
      }
    }
    t.equal((await one.me(token)).statusCode, 200, 'no GET ended the session')
  })
})

t.test('framing over a real socket', async t => {
  const { one, port } = await listening(t)
  const { token } = await one.account()
  const post = 'POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'
  const get = 'GET /v1/me HTTP/1.1\r\nHost: a\r\n'

  async function closed (t: Test, name: string, text: string | Buffer, status: number, code = 'FST_ERR_BAD_REQUEST'): Promise<void> {
    const reply = await exchange(port, text)
    t.ok(reply.closed, `${name}: the connection is closed`)
    t.equal(reply.raw.match(/HTTP\/1\.1 \d/g)?.length, 1, `${name}: one answer`)
    refused(
      t,
      { statusCode: reply.status, headers: reply.headers, body: reply.body, json: <T>() => JSON.parse(reply.body) as T } as Response,
      status,
      code,
      name
    )
  }

  t.test('an ambiguous length is refused, and what follows is not read as a request', async t => {
    const smuggled = `DELETE /v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`
    await closed(t, 'CL and TE', `${post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`, 400)
    await closed(t, 'TE and CL', `${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${smuggled}`, 400)
    await closed(t, 'two lengths', `${post}Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}  ${smuggled}`, 400)
    await closed(t, 'a list of lengths', `${post}Content-Length: 4, 5\r\n\r\n{}  ${smuggled}`, 400)
    await closed(t, 'a negative length', `${post}Content-Length: -1\r\n\r\n${smuggled}`, 400)
    await closed(t, 'a signed length', `${post}Content-Length: +4\r\n\r\n{}  ${smuggled}`, 400)
    await closed(t, 'a length of letters', `${post}Content-Length: 0x4\r\n\r\n{}  ${smuggled}`, 400)
    await closed(t, 'an endless length', `${post}Content-Length: 99999999999999999999999\r\n\r\n{}`, 400)
    await closed(t, 'two encodings', `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${smuggled}`, 400)
    await closed(t, 'chunked, and not last', `${post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n${smuggled}`, 400)
    await closed(t, 'a chunk without a size', `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`, 400)
    await closed(t, 'a space before the colon', `${post}Content-Length : 4\r\n\r\n{}  `, 400)
  })

  t.test('anything that is not HTTP is refused', async t => {
    await closed(t, 'prose', 'hello, is anybody there?\r\n\r\n', 400)
    await closed(t, 'an unknown method', 'FOO / HTTP/1.1\r\nHost: a\r\n\r\n', 400)
    await closed(t, 'HTTP/2 without agreement', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400)
    await closed(t, 'TLS', Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0x0d, 0x0a, 0x0d, 0x0a]), 400)
    await closed(t, 'NUL in a User-Agent', `${get}User-Agent: a\0b\r\n\r\n`, 400)
    await closed(t, 'ESC in a User-Agent', `${get}User-Agent: a\u001b[31m\r\n\r\n`, 400)
    await closed(t, 'a bare CR in a header', `${get}User-Agent: a\rX-Other: b\r\n\r\n`, 400)
    await closed(t, 'a folded header', `${get}X-Other: a\r\n b\r\n\r\n`, 400)
    await closed(t, 'a header without a name', `${get}: a\r\n\r\n`, 400)
    await closed(t, 'a space in the path', 'GET /v1/ me HTTP/1.1\r\nHost: a\r\n\r\n', 400)
    await closed(t, 'no host', 'GET /v1/me HTTP/1.1\r\n\r\n', 400)
    await closed(t, 'two hosts', 'GET /health/live HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n', 400)
    await closed(t, 'one host twice', 'GET /health/live HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400)
  })

  t.test('headers over 16 KB are refused with 431', async t => {
    await closed(t, 'a token of 64 KB', `${get}Authorization: Bearer ${'x'.repeat(65_536)}\r\n\r\n`, 431)
    await closed(t, 'a path of 20 KB', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431)
    await closed(
      t,
      'a thousand headers',
      `${get}${Array.from({ length: 1_000 }, (_, i) => `X-Header-${i}: ${'y'.repeat(20)}\r\n`).join('')}\r\n`,
      431
    )
  })

  t.test('an unknown expectation is refused with 417', async t => {
    await closed(t, 'Expect', `${post}Expect: the-unexpected\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`, 417)
  })

  t.test('the server does not wait for a body that is too large', async t => {
    await closed(t, 'announced', `${post}Content-Length: 10485760\r\n\r\n${'x'.repeat(70_000)}`, 413, 'FST_ERR_CTP_BODY_TOO_LARGE')
    await closed(
      t,
      'in chunks',
      `${post}Transfer-Encoding: chunked\r\n\r\n${`4000\r\n${'x'.repeat(0x4000)}\r\n`.repeat(6)}`,
      413,
      'FST_ERR_CTP_BODY_TOO_LARGE'
    )
  })

  t.test('CONNECT and TRACE get back nothing of what they sent', async t => {
    const traced = await exchange(port, 'TRACE /v1/me HTTP/1.1\r\nHost: a\r\nX-Sentinel: sentinel\r\nConnection: close\r\n\r\n')
    t.equal(traced.status, 404)
    t.notMatch(traced.raw, 'sentinel')
    t.equal((await exchange(port, 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n')).raw, '')
  })

  t.test('HEAD has the headers of GET and no body, whatever the answer is', async t => {
    const own = `Authorization: Bearer ${token}\r\n`
    for (const [path, headers, status] of [
      ['/health/ready', '', 200], ['/openapi.json', '', 200], ['/docs', '', 200], ['/v1/me', own, 200],
      ['/v1/me', '', 401], ['/v1/admin/users', own, 403], ['/nowhere', '', 404], ['/v1/events?cursor=x', own, 400]
    ] as const) {
      const asked = (method: string) => exchange(port, `${method} ${path} HTTP/1.1\r\nHost: a\r\n${headers}Connection: close\r\n\r\n`)
      const [head, get] = [await asked('HEAD'), await asked('GET')]
      t.equal(head.status, status, path)
      t.equal(get.status, status, path)
      t.equal(head.body, '', path)
      const varying = path === '/health/ready' ? /^(date|content-length): / : /^date: /
      const described = ({ raw }: typeof head) => (raw.split('\r\n\r\n', 1)[0] as string).toLowerCase().split('\r\n')
        .filter(line => !varying.test(line)).sort()
      t.same(described(head), described(get), path)
    }
  })

  t.test('HEAD counts against limits as GET does', async t => {
    const app = fastify()
    t.teardown(() => app.close())
    await addAddressLimit(app, { points: 2, seconds: 60 }, { redis: null, keyPrefix: 'lk:' })
    app.get('/limited', { config: { guard: 'anyone', limitByAddress: true }, onRequest: [async () => {}] }, async () => ({}))
    const asked = async (method: 'HEAD' | 'GET') => (await app.inject({ method, url: '/limited' })).statusCode
    t.same([await asked('HEAD'), await asked('GET'), await asked('HEAD'), await asked('GET')], [200, 200, 429, 429])
  })

  t.test('a request in progress while the app closes is answered, and its connection is closed', async t => {
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    let holds = false
    const query: typeof shared.query = async work => {
      if (holds) await held
      return await shared.query(work)
    }
    const { one, port } = await listening(t, { ...embedded, database: async () => ({ ...shared, query, close: async () => {} }) })
    holds = true

    const socket = connect(port, '127.0.0.1')
    let raw = ''
    socket.on('data', chunk => { raw += String(chunk) })
    const ended = new Promise(resolve => socket.once('close', resolve))
    const body = loginBody('nobody@example.com')
    const arrived = new Promise(resolve => one.app.server.once('request', resolve))
    socket.write(`${post}Content-Length: ${body.length}\r\n\r\n${body}`)
    await arrived
    const closing = one.close()
    t.ok(await becomesTrue(() => !one.app.server.listening, 3_000), 'no new connection is accepted')
    release()
    await ended
    await closing
    t.match(raw, /^HTTP\/1\.1 401 .*\r\nconnection: close\r\n.*AUTH_INVALID_CREDENTIALS/s)
  })

  t.test('none of it was an error of the server', async t => {
    t.notOk(one.log.some(line => /"level":(50|60)/.test(line)))
    t.equal((await one.me(token)).statusCode, 200)
  })
})

t.test('every status has the common headers', async t => {
  const one = await startApp(t, embedded, { env: { LOGIN_LIMIT: '3/1m' } })
  const { email, token } = await one.account()
  const seen = new Map<number, Response>()
  const note = (reply: Response) => { seen.set(reply.statusCode, reply) }
  note(await one.me(token))
  note(await one.register())
  note(await one.login(email, { password: 1 }))
  note(await one.me('x'))
  note(await one.login(email, { abilities: ['introspect'] }))
  note(await one.call('GET', '/nowhere'))
  note(await one.register(email))
  note(await send(one, '/v1/login', 'x'.repeat(100_000)))
  note(await send(one, '/v1/login', 'x', 'text/plain'))
  for (let i = 0; i < 4; i++) note(await one.login('nobody@example.com'))
  note(await one.call('DELETE', '/v1/sessions', { token }))
  for (const url of [
    '/',
    '/docs',
    '/openapi.json',
    '/health/live',
    '/health/ready',
    '/docs/static/nothing'
  ]) guarded(t, await one.call('GET', url), url)

  let fails = false
  const query: typeof shared.query = work =>
    fails ? Promise.reject(new Error("select 'SENTINEL' from users\n    at SENTINEL (/SENTINEL)")) : shared.query(work)
  const broken = await startApp(t, { ...embedded, database: async () => ({ ...shared, query, close: async () => {} }) })
  fails = true
  note(await broken.login(email))
  t.match(broken.log.join(''), 'answered 500')
  t.notMatch(broken.log.join(''), 'SENTINEL', 'the log does not quote an unknown error')

  t.same([...seen.keys()].sort(), [200, 201, 204, 400, 401, 403, 404, 409, 413, 415, 429, 500])
  for (const [status, reply] of seen) {
    if (status < 400) guarded(t, reply, String(status))
    else refused(t, reply, status, reply.json<{ code: string }>().code, String(status))
    t.notOk(reply.headers['x-powered-by'])
    t.notOk(reply.headers.server)
  }
})

t.test('whatever a client sends, the log stays one JSON object per line', async t => {
  const one = await startApp(t, embedded, { env: { TRUST_PROXY: '127.0.0.1' } })
  const evil = 'x\r\n{"level":60,"msg":"forged"}\n\u001b[2J\u009b31m'
  const headers = {
    'user-agent': evil,
    'x-forwarded-for': evil,
    referer: evil,
    host: evil,
    origin: evil,
    'x-request-id': evil,
    authorization: `Bearer ${evil}`
  }
  await one.call('POST', '/v1/login', { body: { email: `${evil}@example.com`, password }, headers })
  await one.call('POST', '/v1/login', { body: { email: 'a@example.com', password: evil, deviceName: evil }, headers })
  await one.call('GET', `/v1/me?${encodeURIComponent(evil)}`, { headers })
  await one.call('GET', `/${encodeURIComponent(evil)}`, { headers })
  await one.call('GET', `/v1/sessions/${encodeURIComponent(evil)}`, { headers })
  await one.call('POST', '/v1/register', { body: { email: newEmail(), password }, headers: { 'user-agent': evil } })
  t.ok(one.log.length > 10)
  for (const line of one.log) {
    t.match(line, /^[^\n\r\u001b]*\n$/)
    t.not((JSON.parse(line) as { msg: string }).msg, 'forged')
  }
})

t.test('CORS', async t => {
  const preflight = (
    one: TestApp,
    origin: string
  ) =>
    one.app.inject({
      method: 'OPTIONS',
      url: '/v1/me',
      headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' }
    })

  async function allows (t: Test, one: TestApp, origin: string): Promise<void> {
    const asked = await preflight(one, origin)
    t.equal(asked.statusCode, 204, origin)
    t.equal(asked.headers['access-control-allow-origin'], origin)
    t.match(asked.headers['access-control-allow-headers'], /Authorization/)
    guarded(t, asked, `preflight from ${origin}`)
    const reply = await one.call('GET', '/v1/me', { headers: { origin } })
    t.equal(reply.headers['access-control-allow-origin'], origin, `${origin} may read a refusal too`)
    t.match(reply.headers['access-control-expose-headers'], /Retry-After/)
    t.match(reply.headers.vary, /Origin/i)
    for (const { headers } of [
      asked,
      reply
    ]) t.equal(
      headers['access-control-allow-credentials'],
      one.config.corsOrigins.includes(origin) ? 'true' : undefined,
      'with credentials for those of CORS_ORIGINS alone'
    )
  }

  async function refuses (t: Test, one: TestApp, origin: string): Promise<void> {
    const asked = await preflight(one, origin)
    refused(t, asked, 404, 'AUTH_NOT_FOUND', origin)
    for (const { headers } of [asked, await one.call('GET', '/', { headers: { origin } })]) {
      t.notOk(headers['access-control-allow-origin'], `${origin} may read nothing`)
      t.notOk(headers['access-control-allow-credentials'])
    }
  }

  const tricks = [
    'null',
    '',
    'http://localhost.evil.example',
    'http://evil-localhost',
    'http://127.0.0.1.evil.example',
    'http://localhost@evil.example',
    'http://evil.example/#localhost',
    'http://evil.example?localhost',
    'file://',
    'capacitor://localhost',
    'http://localhost/path',
    'http://LOCALHOST:80 ',
    'localhost',
    'http://localhost:5173, http://evil.example',
    'http://127.0.0.1:99999',
    'http://0x7f000001',
    '*'
  ]

  t.test('the embedded server lets in pages on loopback, and no others', async t => {
    const one = await startApp(t, embedded)
    for (const origin of [
      'http://localhost:5173',
      'http://localhost',
      'https://localhost:8443',
      'http://127.0.0.1:8080',
      'http://[::1]:3000'
    ]) await allows(t, one, origin)
    for (const origin of [
      'https://app.example.com',
      'http://192.168.1.2',
      'http://169.254.169.254',
      ...tricks
    ]) await refuses(t, one, origin)
  })

  t.test('CORS_ORIGINS is exact', async t => {
    const one = await startApp(t, embedded, { env: { CORS_ORIGINS: 'https://good.com, https://app.good.com:8443' } })
    for (const origin of ['https://good.com', 'https://app.good.com:8443']) await allows(t, one, origin)
    for (const origin of [
      'http://good.com',
      'https://good.com:443',
      'https://good.com/',
      'https://good.com.evil',
      'https://evilgood.com',
      'https://evil.good.com',
      'https://good.com:8443',
      'https://app.good.com',
      'https://GOOD.com',
      'https://good.com, https://app.good.com:8443',
      ...tricks
    ]) await refuses(t, one, origin)
  })

  t.test('a server with its own database lets no page in unless configured to', async t => {
    const one = await startApp(t, { ...embedded, database: async () => ({ ...shared, embedded: false, close: async () => {} }) })
    for (const origin of ['http://localhost:5173', 'http://127.0.0.1:3000', 'null']) await refuses(t, one, origin)
  })

  t.test('OPTIONS that is not a preflight is answered like one, and never with plain text', async t => {
    const one = await startApp(t, embedded)
    const reply = await one.app.inject({ method: 'OPTIONS', url: '/v1/me', headers: { origin: 'http://localhost:5173' } })
    t.equal(reply.statusCode, 204)
    t.equal(reply.body, '')
  })
})
