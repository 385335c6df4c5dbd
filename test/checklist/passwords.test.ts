import t, { type Test } from 'tap'
import { embeddedGround, newEmail, password, startApp } from '../fixtures/app.js'
import { refusedAs } from '../fixtures/refused.js'

/** Long, on no list, and without a character twice in a row. */
const long = Array.from({ length: 199 }, (_, i) => 'kq7vzx3m'[(i * 5 + (i >> 3)) % 8]).join('')

t.test('passwords', async t => {
  const one = await startApp(t, await embeddedGround())
  const opens = async (
    t: Test,
    email: string,
    secret: string,
    name = secret
  ) => t.equal((await one.login(email, { password: secret })).statusCode, 200, name)
  const opensNot = async (
    t: Test,
    email: string,
    secret: string,
    name = secret
  ) => refusedAs(t, await one.login(email, { password: secret }), 401, 'AUTH_INVALID_CREDENTIALS', name)
  const change = (
    token: string,
    currentPassword: string,
    newPassword: string
  ) => one.call('PUT', '/v1/password', { token, body: { currentPassword, newPassword } })
  const hashOf = async (email: string) =>
    (await one.database.prepared<{ password_hash: string }>('select password_hash from users where email = $1', [email]))[0]?.password_hash

  t.test('V6.2.1 the least length is 8 code points, or what is configured, for registering and changing alike', async t => {
    const seven = ['kq7vzx3', '🦔🐟🦜🐌🦞🐙🦉', 'kq7vze\u0301x']
    const eight = ['kq7vzx3m', '🦔🐟🦜🐌🦞🐙🦉🐢', 'kq7vzx3e\u0301']
    const { token } = await one.account()
    for (const secret of seven) {
      refusedAs(t, await one.register(newEmail(), { password: secret }), 400, 'AUTH_PASSWORD_REJECTED', secret)
      refusedAs(t, await change(token, password, secret), 400, 'AUTH_PASSWORD_REJECTED', secret)
    }
    for (const secret of eight) t.equal((await one.register(newEmail(), { password: secret })).statusCode, 201, secret)
    const strict = await startApp(
      t,
      { ...await embeddedGround(), database: async () => ({ ...one.database, embedded: false, close: async () => {} }) },
      { env: { PASSWORD_MIN_LENGTH: '12' } }
    )
    refusedAs(t, await strict.register(newEmail(), { password: 'kq7vzx3mpwt' }), 400, 'AUTH_PASSWORD_REJECTED', '11 of 12')
    t.equal((await strict.register(newEmail(), { password: 'kq7vzx3mpwty' })).statusCode, 201, '12 of 12')
  })

  t.test('V6.2.3 a change needs the current password: with a wrong one 403, and the hash is as it was', async t => {
    const { email, token } = await one.account()
    const before = await hashOf(email)
    for (const wrong of [
      'not the password',
      `${password} `,
      password.slice(0, -1),
      password.toUpperCase()
    ]) refusedAs(t, await change(token, wrong, 'kq7vzx3mpwty'), 403, 'AUTH_WRONG_PASSWORD', wrong)
    refusedAs(
      t,
      await one.call('PUT', '/v1/password', { token, body: { newPassword: 'kq7vzx3mpwty' } }),
      400,
      'FST_ERR_VALIDATION',
      'none at all'
    )
    t.equal(await hashOf(email), before)
    t.equal((await change(token, password, 'kq7vzx3mpwty')).statusCode, 200)
    t.not(await hashOf(email), before)
  })

  t.test('V6.2.5 no rules of composition: spaces, emoji, lower case alone, digits alone', async t => {
    for (const secret of ['  a b  c d  ', '🦔🐟🦜🐌🦞🐙🦉🐢', 'qzkvwxjpmt', '7305918264731', 'ΚΑΛΗΜΕΡΑΖΩΗ', '密码不是这个的东西', '\'"\\;--<>&%']) {
      const email = newEmail()
      t.equal((await one.register(email, { password: secret })).statusCode, 201, secret)
      await opens(t, email, secret)
    }
  })

  t.test('V6.2.8, V6.2.9 exact, without truncation, and long ones are taken', async t => {
    const email = newEmail()
    t.equal((await one.register(email, { password: `${long}b` })).statusCode, 201)
    await opens(t, email, `${long}b`, '200 bytes')
    for (const wrong of [
      `${long}c`,
      long,
      `${long}bb`,
      ` ${long}b`,
      `${long}b `,
      `${long}B`,
      long.slice(0, 72)
    ]) await opensNot(t, email, wrong, `${wrong.length} bytes, ending in ${wrong.slice(-2)}`)

    const emoji = newEmail()
    t.equal((await one.register(emoji, { password: '🔑'.repeat(63).concat('🦔') })).statusCode, 201)
    await opens(t, emoji, '🔑'.repeat(63).concat('🦔'), '64 emoji')
    await opensNot(t, emoji, '🔑'.repeat(64), '64 others')
    t.equal((await one.register(newEmail(), { password: `${long.repeat(6).slice(0, 1_023)}z` })).statusCode, 201, '1,024 characters')
  })

  t.test('V6.2.8 NUL inside a password counts, and so does all that follows it', async t => {
    const email = newEmail()
    t.equal((await one.register(email, { password: 'before\0after' })).statusCode, 201)
    await opens(t, email, 'before\0after', 'NUL')
    for (const wrong of [
      'before\0other',
      'before\0',
      'before',
      'beforeafter',
      'before after'
    ]) await opensNot(t, email, wrong, JSON.stringify(wrong))
  })

  t.test('V6.2.8 lone surrogates are refused in a password, since all of them would be one character', async t => {
    const { email, token } = await one.account()
    for (const lone of ['kq7vzx3m\ud800', '\udfffkq7vzx3m', '\udc00\ud800kq7vzx3m']) {
      for (const reply of [
        await one.register(newEmail(), { password: lone }),
        await one.login(email, { password: lone }),
        await change(token, password, lone),
        await change(token, lone, password)
      ]) refusedAs(t, reply, 400, 'FST_ERR_VALIDATION')
    }
  })

  t.test('63B Unicode is normalised (NFC) before hashing: both forms of one password log in', async t => {
    for (const [made, typed] of [['NFC', 'NFD'], ['NFD', 'NFC']] as const) {
      const email = newEmail()
      t.equal((await one.register(email, { password: 'Crème brûlée ångström'.normalize(made) })).statusCode, 201)
      await opens(t, email, 'Crème brûlée ångström'.normalize(typed), `${made}, then ${typed}`)
    }
    const email = newEmail()
    t.equal((await one.register(email, { password: 'kq7vzx3 ﬁle' })).statusCode, 201)
    await opensNot(t, email, 'kq7vzx3 file', 'but what only looks alike is another (no NFKC)')
  })

  t.test('V6.3.8 unknown, wrong and disabled are answered with identical bytes', async t => {
    const [known, disabled] = [await one.account(), await one.account()]
    await one.database.prepared('update users set disabled_at = now() where id = $1', [disabled.userId])
    const replies = [
      await one.login(newEmail()),
      await one.login(known.email, { password: 'not the password' }),
      await one.login(disabled.email),
      await one.login(disabled.email, { password: 'not the password' })
    ]
    for (const reply of replies) refusedAs(t, reply, 401, 'AUTH_INVALID_CREDENTIALS')
    t.equal(new Set(replies.map(({ body }) => body)).size, 1, 'one body')
    t.equal(new Set(replies.map(({ headers }) => JSON.stringify({ ...headers, date: '' }))).size, 1, 'one set of headers')
  })

  t.test('V6.3.2 a fresh migration has no user, no session and no token', async t => {
    const fresh = await startApp(t, await embeddedGround())
    for (const table of ['users', 'sessions', 'tokens']) t.same(await fresh.database.prepared(`select * from ${table}`, []), [], table)
    for (const [email, secret] of [
      ['admin', 'admin'],
      ['admin@example.com', 'admin'],
      ['root@localhost', 'root'],
      ['admin@example.com', 'password'],
      ['test@example.com', 'test'],
      ['latchkey@example.com', 'latchkey']
    ] as const) t.not((await fresh.login(email, { password: secret })).statusCode, 200, email)
  })
})
