import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import bcrypt from 'bcrypt'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { createBreachCheck } from '../../src/users/breached-passwords.js'
import { commonPasswords } from '../../src/users/common-passwords.js'
import { createPasswordPolicy } from '../../src/users/password-policy.js'
import { becomesTrue, embeddedGround, newEmail, onEachGround, password, patienceMs, startApp } from '../fixtures/app.js'
import { freePort } from '../fixtures/servers.js'

const tooShort = /^The password must have at least 8 characters$/
const common = /^The password is one of the most common ones: choose another$/
const own = /^The password must be more than your email address or name$/
const breached = /^The password is known from a data breach: choose another$/
const reasons = new Map([[tooShort, 'too_short'], [common, 'common'], [own, 'personal'], [breached, 'breached']])

function rejected (t: Test, reply: Response, why: RegExp, what = why.source): void {
  t.equal(reply.statusCode, 400, what)
  const field = reply.raw.req.url === '/v1/password' ? 'newPassword' : 'password'
  const said = { statusCode: 400, code: 'AUTH_PASSWORD_REJECTED', error: 'Bad Request', message: why, field, reason: reasons.get(why) }
  t.match(reply.json(), said, what)
}

t.test('the list has more than ten thousand common passwords that are long enough', async t => {
  t.ok(commonPasswords.filter(listed => listed.length >= 8).length > 10_000)
  for (const listed of ['password', 'password1', '12345678', 'qwertyuiop', 'iloveyou1']) t.ok(commonPasswords.includes(listed), listed)
})

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)

  t.test('common passwords are refused at registration and at a password change, however they are written', async t => {
    const { token } = await one.account()
    for (const newPassword of ['password1', 'PASSWORD1', 'PassWord1', 'qwertyuiop', '1qaz2wsx3edc4rfv', '123456789']) {
      rejected(t, await one.register(newEmail(), { password: newPassword }), common, newPassword)
      rejected(t, await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword } }), common, newPassword)
    }
    t.equal((await one.me(token)).statusCode, 200)
    await t.rejects(one.users.hashNew('password1', { email: 'ada@example.com', name: null }), { code: 'AUTH_PASSWORD_REJECTED' })
  })

  t.test('refusing a password does not reveal whether the account exists', async t => {
    const { email } = await one.account()
    const [taken, free] = [await one.register(email, { password: 'password1' }), await one.register(newEmail(), { password: 'password1' })]
    t.same([taken.statusCode, taken.body], [free.statusCode, free.body])
  })

  t.test('apart from that, only the length matters, in code points', async t => {
    for (const accepted of [
      'all lower case words',
      '        spaces        ',
      '🔑🪁🧿🪬🧶🪢🧵🪡',
      'ééééxyzé',
      'x'.repeat(1024),
      '7426183059',
      '\u{10ffff}'.repeat(8)
    ]) {
      t.equal((await one.register(newEmail(), { password: accepted })).statusCode, 201, accepted)
    }
    for (const short of [
      '🔑🪁🧿🪬🧶🪢🧵',
      'e\u0301'.repeat(7),
      'password'.slice(1)
    ]) rejected(t, await one.register(newEmail(), { password: short }), tooShort, short)
  })

  t.test('the address and the name of an account are refused as its password', async t => {
    const email = `grace.hopper-${newEmail()}`
    for (const guess of [email, email.toUpperCase(), email.split('@')[0] as string, 'gracehopper', 'Hopper-Grace', 'hopper1906']) {
      rejected(t, await one.register(email, { password: guess, name: 'Grace Brewster' }), own, guess)
    }
    rejected(t, await one.register(email, { password: 'Brewster1', name: 'Grace Brewster' }), own)
    const { accessToken } = (await one.register(email, { name: 'Grace Brewster' })).json()
    for (const newPassword of ['gracebrewster', 'Grace Brewster', email]) {
      rejected(
        t,
        await one.call('PUT', '/v1/password', { token: accessToken, body: { currentPassword: password, newPassword } }),
        own,
        newPassword
      )
    }
    t.equal(
      (await one.call(
        'PUT',
        '/v1/password',
        { token: accessToken, body: { currentPassword: password, newPassword: 'grace under pressure' } }
      )).statusCode,
      200,
      'a longer password may contain the name'
    )
  })

  t.test('a password that an account already has keeps opening it', async t => {
    for (const [i, old] of ['password1', 'short'].entries()) {
      const { email, userId } = await one.account()
      await one.database.prepared('update users set password_hash = $1 where id = $2::uuid', [await bcrypt.hash(old, 4), userId])
      for (const times of [
        'imported',
        'with its hash made anew'
      ]) t.equal((await one.login(email, { password: old })).statusCode, 200, `${i} ${times}`)
    }
  })
})

t.test('words of the owner', async t => {
  const policy = createPasswordPolicy({ minLength: 8, isBreached: async () => false })
  const verdict = (
    secret: string,
    email: string,
    name: string | null = null
  ) => policy.requireAcceptable(secret, { email, name }).then(() => 'accepted', error => String(error.message))
  for (const [secret, email, name] of [
    ['ada@example.com', 'ada@example.com', null],
    ['Ada@Example.COM', 'ada@example.com', null],
    ['ada@example', 'ada@example.com', null],
    ['ada.example.1', 'ada@example.com', null],
    ['adaadaada', 'ada@example.com', null],
    ['ada.lovelace', 'ada.lovelace@example.com', null],
    ['adalovelace1815', 'ada.lovelace@example.com', null],
    ['lovelace_ada', 'ada.lovelace@example.com', null],
    ['lovelace1', 'x@example.com', 'Ada Lovelace'],
    ['AdaLovelace', 'x@example.com', 'Ada  Lovelace'],
    ['ZOËzoë 12', 'x@example.com', 'Zoe\u0308'],
    ['мария-2024', 'x@example.com', 'Мария'],
    ['ada+news1', 'ada+news@example.com', null]
  ] as const) t.match(await verdict(secret, email, name), own, secret)
  for (const [secret, email, name] of [
    ['channeled panther', 'anne@example.com', 'Anne'],
    ['correct horse battery staple', 'correct@horse.com', 'Battery'],
    ['al is fine here', 'al@example.com', 'Al'],
    ['gazelle-mauve', 'ada@example.com', 'Ada Lovelace'],
    ['ada likes rain', 'ada@example.com', 'Ada'],
    ['zoë🔑🪁🧿🪬🧶', 'zoë@example.com', null],
    ['........', 'ada@example.com', null]
  ] as const) t.equal(await verdict(secret, email, name), 'accepted', secret)
})

/** A range server that keeps the requests it gets. */
async function rangeServer (t: Test, answer: (request: IncomingMessage, reply: ServerResponse) => void) {
  const asked: Array<{ url: string | undefined, padding: string | string[] | undefined }> = []
  const server = createServer((request, reply) => {
    asked.push({ url: request.url, padding: request.headers['add-padding'] })
    answer(request, reply)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/range`, asked }
}

/** Until the end of `t`, a service that answers may take as long as the machine needs. */
function patiently (t: Test): void {
  const { timeout } = AbortSignal
  t.capture(AbortSignal, 'timeout', () => timeout.call(AbortSignal, patienceMs))
}

const bad = 'a password of many'
const digest = createHash('sha1').update(bad).digest('hex').toUpperCase()
const [prefix, suffix] = [digest.slice(0, 5), digest.slice(5)]
const padding = Array.from({ length: 800 }, (_, i) => `${createHash('sha1').update(`${i}`).digest('hex').toUpperCase().slice(5)}:0`)
const lines = (...own: string[]) => [...padding.slice(0, 400), ...own, ...padding.slice(400)].join('\r\n')

t.test('passwords known from breaches are refused when a service is asked', async t => {
  patiently(t)
  const { url, asked } = await rangeServer(
    t,
    (request, reply) => reply.end(request.url === `/range/${prefix}` ? lines(`${suffix}:1`) : lines())
  )
  for (const configured of [url, `${url}/`]) {
    const one = await startApp(t, await embeddedGround(), { env: { BREACHED_PASSWORDS_URL: configured } })
    rejected(t, await one.register(newEmail(), { password: bad }), breached)
    const { token } = await one.account()
    rejected(t, await one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: bad } }), breached)
    const before = asked.length
    rejected(t, await one.register(newEmail(), { password: 'password1' }), common)
    rejected(t, await one.register(newEmail(), { password: 'short' }), tooShort)
    await one.login(newEmail(), { password: bad })
    t.equal(asked.length, before, 'the service is not asked about a password that is refused anyway, nor at a login')
    t.notMatch(one.log.join(''), /breached-password/)
  }
  for (const { url, padding } of asked) {
    t.match(url, /^\/range\/[0-9A-F]{5}$/, 'only five digits are sent')
    t.equal(padding, 'true')
  }
  const one = await startApp(t, await embeddedGround())
  t.equal((await one.register(newEmail(), { password: bad })).statusCode, 201, 'off by default')
})

t.test('a service that misbehaves delays nobody for long, and the local list decides', async t => {
  const redirected = await rangeServer(t, (_request, reply) => reply.end(lines(`${suffix}:9`)))
  type Answer = (request: IncomingMessage, reply: ServerResponse) => void
  const endless: Record<string, Answer> = {
    'that hangs': () => {},
    'that stops half-way': (_request, reply) => { reply.write(`${suffix}:9\r\n`) },
    'that dribbles': (_request, reply) => {
      const timer = setInterval(() => reply.write(`${padding[0]}\r\n`), 100)
      reply.on('close', () => clearInterval(timer))
    }
  }
  const useless: Record<string, Answer> = {
    'of garbage': (_request, reply) => { reply.end(`<html>${suffix}:9</html>\n${suffix}:9\n`) },
    'of lines that are none': (_request, reply) => { reply.end(lines(`${suffix}:9`, `${suffix}:-1`)) },
    'that fails': (_request, reply) => { reply.writeHead(500).end(lines(`${suffix}:9`)) },
    'that refuses': (_request, reply) => { reply.writeHead(429, { 'retry-after': '1' }).end() },
    'that points elsewhere': (_request, reply) => { reply.writeHead(302, { location: `${redirected.url}/${prefix}` }).end() },
    'that never ends': (_request, reply) => {
      const block = `${padding.join('\r\n')}\r\n`
      const more = () => { while (!reply.destroyed && reply.write(block)); }
      reply.on('drain', more)
      more()
    },
    'that hangs up': (_request, reply) => { reply.destroy() }
  }
  async function ask (what: string, answer: Answer): Promise<void> {
    const { url, asked } = await rangeServer(t, answer)
    const warnings: string[] = []
    const isBreached = createBreachCheck(url, { warn: (fields, text) => { warnings.push(JSON.stringify([fields, text])) } })
    const startedAt = performance.now()
    t.equal(await isBreached(bad), false, what)
    t.ok(performance.now() - startedAt < 20_000, `${what}: ${(performance.now() - startedAt).toFixed()} ms`)
    t.equal(asked.length, 1, what)
    t.equal(warnings.length, 1, what)
    t.match(warnings[0], 'the breached-password service did not answer')
    t.notMatch(
      warnings.join().toUpperCase(),
      new RegExp(`${prefix}|${suffix}|127\\.0\\.0\\.1`),
      'and neither the prefix nor the address is logged'
    )
  }
  for (const [what, answer] of Object.entries(endless)) await ask(what, answer)
  patiently(t)
  for (const [what, answer] of Object.entries(useless)) await ask(what, answer)
  t.equal(redirected.asked.length, 0, 'no redirect is followed')

  const warnings: string[] = []
  const nobody = createBreachCheck(`http://127.0.0.1:${await freePort()}/`, { warn: fields => { warnings.push(JSON.stringify(fields)) } })
  t.equal(await nobody(bad), false)
  t.match(warnings, [/ECONNREFUSED/])

  const { url } = await rangeServer(t, (_request, reply) => reply.end('nonsense'))
  const one = await startApp(t, await embeddedGround(), { env: { BREACHED_PASSWORDS_URL: url } })
  t.equal((await one.register(newEmail(), { password: bad })).statusCode, 201)
  rejected(t, await one.register(newEmail(), { password: 'password1' }), common)
})

t.test('the answer of a service is read exactly', async t => {
  patiently(t)
  let body = ''
  const { url } = await rangeServer(t, (_request, reply) => reply.end(body))
  const warnings: string[] = []
  const isBreached = createBreachCheck(url, { warn: (_fields, text) => { warnings.push(text) } })
  const says = async (text: string) => { body = text; return await isBreached(bad) }
  t.equal(await says(lines(`${suffix}:1`)), true)
  t.equal(await says(lines(`${suffix.toLowerCase()}:52372`)), true)
  t.equal(await says(`${suffix}:3\n`), true)
  t.equal(await says(lines(`${suffix}:0`)), false, 'padding')
  t.equal(await says(lines(`${suffix.slice(1)}0:7`)), false, 'a different suffix')
  t.equal(await says(''), false)
  body = `${createHash('sha1').update('caf\u00e9 caf\u00e9').digest('hex').slice(5)}:4`
  t.equal(await isBreached('cafe\u0301 cafe\u0301'), true, 'looked up as it is hashed, in NFC')
  t.same(warnings, [])
})

t.test('a wrong password takes as much work as the most expensive stored hash, whether or not the account exists', async t => {
  const one = await startApp(t, await embeddedGround())
  const [dear, cheap] = [await one.account(), await one.account()]
  const dearHash = await bcrypt.hash(password, 7)
  await one.database.prepared('update users set password_hash = $1 where id = $2::uuid', [dearHash, dear.userId])
  const { compare, hash } = bcrypt
  let work = 0
  t.teardown(() => Object.assign(bcrypt, { compare, hash }))
  Object.assign(bcrypt, {
    compare (text: string, stored: string) {
      work += 2 ** bcrypt.getRounds(stored)
      return compare(text, stored)
    },
    hash (text: string, cost: number) {
      work += 2 ** cost
      return hash(text, cost)
    }
  })
  const workFor = async (email: string) => {
    work = 0
    t.equal((await one.login(email, { password: 'this is not the password' })).statusCode, 401)
    return work
  }
  /** Once a minute, an attempt has the cost looked up again, without waiting for it. */
  const becomes = async (cost: number) => {
    await one.pass(60_001)
    return await becomesTrue(async () => await workFor(newEmail()) === 2 ** cost, patienceMs)
  }
  t.ok(await becomes(7))
  for (const email of [dear.email, cheap.email, newEmail()]) t.equal(await workFor(email), 2 ** 7, email)
  t.equal((await one.login(dear.email)).statusCode, 200, 'a login renews the hash')
  t.ok(await becomes(4))
  for (const email of [dear.email, cheap.email, newEmail()]) t.equal(await workFor(email), 2 ** 4, 'no expensive hash is left')
})

t.test('an address is measured after NFKC, which may turn one character into three', async t => {
  const one = await startApp(t, await embeddedGround())
  const grown = `${'\ufb03'.repeat(90)}@example.com`
  t.equal(grown.length, 102)
  t.match((await one.register(grown)).json(), { statusCode: 400, code: 'AUTH_EMAIL_REJECTED' })
  t.equal((await one.register(`\ufb03${newEmail()}`)).statusCode, 201, 'short enough')
})
