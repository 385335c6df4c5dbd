import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { TokenMint } from '../../src/tokens/token.js'
import { becomesTrue, createTestClock, newEmail, password, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { refusedAs } from '../fixtures/refused.js'

interface Opened { accessToken: string, refreshToken: string, session: { id: string }, user: { id: string, email: string } }

const page = 'https://app.example.com'
const names = { access: '__Host-latchkey', refresh: '__Host-latchkey-refresh' }
const nextPassword = 'kq7vzx3mpwty'

t.test('sessions', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const clock = createTestClock()
  const env = { SESSION_LIMIT: '0', CORS_ORIGINS: page, PUBLIC_URL: 'https://auth.example.com' }
  const one = await startApp(t, ground, { env, clock })
  const two = await startApp(t, ground, { env, clock })
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`

  const open = async (app: TestApp, options: object = { refresh: true }) => (await app.register(newEmail(), options)).json<Opened>()
  const refresh = (app: TestApp, refreshToken: string) => app.call('POST', '/v1/refresh', { body: { refreshToken } })
  const change = (
    app: TestApp,
    token: string,
    body: object = {}
  ) => app.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: nextPassword, ...body } })

  /** Refused on both instances, each asked twice, at once. */
  async function dead (t: Test, token: string, what: string, code = 'AUTH_INVALID_TOKEN'): Promise<void> {
    for (const reply of await Promise.all([one, two, one, two].map(app => app.me(token)))) refusedAs(t, reply, 401, code, what)
  }
  /** Accepted on both, and so cached. */
  async function alive (t: Test, token: string, what: string): Promise<void> {
    t.strictSame(
      (await Promise.all([one, two, one, two].map(app => app.me(token)))).map(({ statusCode }) => statusCode),
      [200, 200, 200, 200],
      what
    )
  }

  t.test('V7.2.3 tokens have 256 bits from a CSPRNG, and the database holds only their SHA-256', async t => {
    const mint = new TokenMint(Buffer.alloc(32, 7))
    const made = Array.from({ length: 20_000 }, () => mint.issue('access').reveal())
    t.equal(new Set(made.map(token => token.slice(3, 46))).size, made.length, 'unique')
    t.ok(43 * Math.log2(new Set(made.join('').replaceAll('lk_', '')).size) >= 256, '43 of 62 letters')

    const { accessToken, refreshToken } = await open(one)
    const rows = await one.database.prepared<{ hash: string, row: string }>(
      "select encode(hash, 'hex') as hash, to_jsonb(t)::text as row from tokens t",
      []
    )
    const all = rows.map(({ row }) => row).join('\n')
    for (const token of [accessToken, refreshToken]) {
      t.ok(rows.some(({ hash }) => hash === createHash('sha256').update(token).digest('hex')), 'its SHA-256 is there')
      t.notOk(all.includes(token) || all.includes(token.slice(4, 46)), 'and itself is not')
    }
  })

  t.test('V7.2.4 a login issues a new token and ends the prior ones', async t => {
    const [first, second] = await Promise.all([startApp(t, ground, { clock }), startApp(t, ground, { clock })])
    const { user: { email }, accessToken } = await open(first, {})
    await alive(t, accessToken, 'before')
    const again = (await second.login(email)).json<Opened>().accessToken
    t.not(again, accessToken)
    await dead(t, accessToken, 'the prior one', 'AUTH_SESSION_REPLACED')
    await alive(t, again, 'the new one')
  })

  t.test('V7.3.1, V7.3.2 sessions end when idle and in the end absolutely, and refreshing does not extend the latter', async t => {
    const timed = await startApp(
      t,
      ground,
      { env: { ...env, SESSION_IDLE_TTL: '1h', SESSION_TTL: '3h', ACCESS_TOKEN_TTL: '20m', REFRESH_TOKEN_TTL: '2h' } }
    )
    const idle = (await timed.register(newEmail(), { refresh: true })).json<Opened>()
    let used = (await timed.register(newEmail(), { refresh: true })).json<Opened>()
    let ends = 0
    for (let minutes = 15; minutes <= 165; minutes += 15) {
      await timed.pass(15 * 60_000)
      const renewed = await refresh(timed, used.refreshToken)
      t.equal(renewed.statusCode, 200, `used after ${minutes} minutes`)
      used = renewed.json<Opened>()
      await timed.me(used.accessToken)
      await timed.lastUse.flush()
      ends = renewed.json<{ refreshExpiresIn: number }>().refreshExpiresIn
      if (minutes === 75) refusedAs(
        t,
        await refresh(timed, idle.refreshToken),
        401,
        'AUTH_INVALID_TOKEN',
        'one that nobody used for over an hour is over'
      )
    }
    t.ok(ends <= 15 * 60, `${ends} s are left of three hours`)
    await timed.pass(16 * 60_000)
    refusedAs(
      t,
      await refresh(timed, used.refreshToken),
      401,
      'AUTH_INVALID_TOKEN',
      'after three hours it is over however much it was used'
    )
    refusedAs(t, await timed.me(used.accessToken), 401, 'AUTH_INVALID_TOKEN', 'with its access token')
  })

  t.test('V7.4.1, V7.4.3 logout, logout-all and a password change end tokens at once on every instance', async t => {
    const left = await open(one)
    await alive(t, left.accessToken, 'before the logout')
    t.equal((await two.logout(left.accessToken)).statusCode, 204)
    await dead(t, left.accessToken, 'logged out')
    refusedAs(t, await refresh(one, left.refreshToken), 401, 'AUTH_INVALID_TOKEN', 'its refresh token too')

    const all = await open(one)
    const second = (await two.login(all.user.email)).json<Opened>()
    for (const { accessToken } of [all, second]) await alive(t, accessToken, 'before logout-all')
    t.equal((await one.call('POST', '/v1/logout-all', { token: all.accessToken })).statusCode, 204)
    for (const { accessToken } of [all, second]) await dead(t, accessToken, 'logged out everywhere')

    const changed = await open(one)
    const elsewhere = (await two.login(changed.user.email)).json<Opened>()
    for (const { accessToken } of [changed, elsewhere]) await alive(t, accessToken, 'before the change')
    const reply = await change(two, changed.accessToken)
    t.equal(reply.statusCode, 200)
    for (const { accessToken } of [changed, elsewhere]) await dead(t, accessToken, 'of before the change')
    refusedAs(t, await refresh(one, changed.refreshToken), 401, 'AUTH_INVALID_TOKEN', 'the refresh token of before too')
    await alive(t, reply.json<Opened>().accessToken, 'the new one')
  })

  t.test('V7.4.1 the same token on every instance one millisecond after logout is refused', async t => {
    for (let round = 0; round < 25; round++) {
      const { accessToken } = await open(one, {})
      await alive(t, accessToken, `round ${round}`)
      t.equal((await (round % 2 === 0 ? one : two).logout(accessToken)).statusCode, 204)
      await new Promise(resolve => setTimeout(resolve, 1))
      const replies = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? one : two).me(accessToken)))
      t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [401])
    }
  })

  t.test("V7.5.2 a user lists and ends his own sessions; another user's session id is not found, and goes on", async t => {
    const mine = await open(one)
    const second = (await two.login(mine.user.email, { deviceName: 'laptop' })).json<Opened>()
    const other = await open(one)
    const { sessions } = (await one.call(
      'GET',
      '/v1/sessions',
      { token: mine.accessToken }
    )).json<{ sessions: Array<{ id: string, current: boolean }> }>()
    t.strictSame(sessions.map(({ id }) => id).sort(), [mine.session.id, second.session.id].sort())
    t.strictSame(sessions.filter(({ current }) => current).map(({ id }) => id), [mine.session.id])
    for (const id of [
      other.session.id,
      other.session.id.toUpperCase(),
      other.user.id,
      mine.user.id
    ]) refusedAs(t, await one.call('DELETE', `/v1/sessions/${id}`, { token: mine.accessToken }), 404, 'AUTH_NOT_FOUND', id)
    await alive(t, other.accessToken, 'the other user goes on')
    t.equal((await one.call('DELETE', `/v1/sessions/${second.session.id}`, { token: mine.accessToken })).statusCode, 204)
    await dead(t, second.accessToken, 'his own was ended')
    await alive(t, mine.accessToken, 'and this one not')
  })

  t.test('V3.3.1, V3.3.2, V3.3.3, V3.3.4 cookies are Secure, HttpOnly, SameSite=Strict and __Host-, and hold all there is of the tokens', async t => {
    const reply = await one.register(newEmail(), { refresh: true, cookies: true })
    refusedAs(t, reply, 403, 'AUTH_CROSS_SITE', 'to nobody but our own pages')
    const own = await one.call(
      'POST',
      '/v1/register',
      { body: { email: newEmail(), password, refresh: true, cookies: true }, headers: { origin: page } }
    )
    t.equal(own.statusCode, 201)
    t.strictSame(
      own.cookies.map(({ value: _, maxAge: __, ...attributes }) => ({ ...attributes })),
      [names.access, names.refresh].map(name => ({ name, path: '/', httpOnly: true, secure: true, sameSite: 'Strict' }))
    )
    const lines = [own.headers['set-cookie']].flat().join('\n')
    t.notMatch(lines, /domain=/i)
    t.notMatch(own.body, /lk[rp]?_[0-9A-Za-z]{40}/)
    for (const { name, value, maxAge } of own.cookies) t.ok(/^lkr?_[0-9A-Za-z]{50}$/.test(value) && (maxAge ?? 0) > 0, name)
  })

  const cookiesOf = async (app = one) => {
    const reply = await app.call(
      'POST',
      '/v1/register',
      { body: { email: newEmail(), password, refresh: true, cookies: true }, headers: { origin: page } }
    )
    const [access = '', refreshing = ''] = reply.cookies.map(({ value }) => value)
    return {
      access,
      refresh: refreshing,
      user: reply.json<Opened>().user,
      header: `${names.access}=${access}; ${names.refresh}=${refreshing}`
    }
  }

  t.test('V3.5.1, V3.5.2, V3.5.3 no other site can make a request count: not by cookie, not by GET, not by a form', async t => {
    const victim = await cookiesOf()
    for (const headers of [
      {},
      { origin: 'null' },
      { origin: `${page}.evil` },
      { origin: 'https://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { referer: `${page}/` }
    ]) {
      for (const [method, url] of [
        ['POST', '/v1/logout'],
        ['POST', '/v1/logout-all'],
        ['DELETE', '/v1/sessions'],
        ['POST', '/v1/refresh'],
        ['POST', '/v1/tokens']
      ] as const) {
        refusedAs(
          t,
          await one.call(
            method,
            url,
            {
              headers: { ...headers, cookie: victim.header } as Record<string, string>,
              ...url === '/v1/tokens' ? { body: { name: 'x' } } : {}
            }
          ),
          403,
          'AUTH_CROSS_SITE',
          `${method} ${url} ${JSON.stringify(headers)}`
        )
      }
    }
    for (const url of [
      '/v1/logout',
      '/v1/logout-all',
      '/v1/refresh',
      '/v1/password',
      '/v1/login',
      '/v1/register'
    ]) refusedAs(t, await one.call('GET', url, { headers: { cookie: victim.header, origin: page } }), 404, 'AUTH_NOT_FOUND', `GET ${url}`)
    await alive(t, victim.access, 'nothing has ended')
  })

  t.test('V3.5.2 a form post logout and a login CSRF do nothing: bodies of forms are 415, before and after the origin is looked at', async t => {
    const victim = await cookiesOf()
    const attacker = await open(one)
    for (const origin of [page, 'https://evil.example']) {
      for (const [type, payload] of [
        ['text/plain', '{"email":"x"}'],
        ['application/x-www-form-urlencoded', 'a=b'],
        ['multipart/form-data; boundary=x', '--x--']
      ] as const) {
        for (const url of ['/v1/logout', '/v1/logout-all', '/v1/refresh']) {
          const reply = await one.app.inject({
            method: 'POST',
            url,
            payload,
            headers: { 'content-type': type, origin, cookie: victim.header }
          })
          t.ok([403, 415].includes(reply.statusCode), `${url} ${type} from ${origin}: ${reply.statusCode}`)
        }
        const login = await one.app.inject({
          method: 'POST',
          url: '/v1/login',
          payload: type === 'text/plain' ? JSON.stringify({ email: attacker.user.email, password, cookies: true }) : payload,
          headers: { 'content-type': type, origin }
        })
        refusedAs(t, login, 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', `login as ${type}`)
        t.equal(login.headers['set-cookie'], undefined)
      }
    }
    for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }, {}]) {
      const login = await one.call(
        'POST',
        '/v1/login',
        { body: { email: attacker.user.email, password, cookies: true }, headers: headers as Record<string, string> }
      )
      refusedAs(t, login, 403, 'AUTH_CROSS_SITE', 'a login CSRF in JSON')
      t.equal(login.headers['set-cookie'], undefined)
    }
    await alive(t, victim.access, 'the victim is logged in as before')
  })

  t.test('V3.3.3 cookie tossing: of two cookies with one name neither counts', async t => {
    const [mine, thief] = [await cookiesOf(), await cookiesOf()]
    for (const cookie of [
      `${names.access}=${thief.access}; ${names.access}=${mine.access}`,
      `${names.access}=${mine.access}; ${names.access}=${thief.access}`,
      `${names.access}=; ${names.access}=${mine.access}`
    ]) refusedAs(t, await one.call('GET', '/v1/me', { headers: { cookie } }), 401, 'AUTH_MISSING_TOKEN', cookie.slice(0, 30))
    for (const name of [
      'latchkey',
      '__Secure-latchkey',
      '__host-latchkey'
    ]) refusedAs(
      t,
      await one.call('GET', '/v1/me', { headers: { cookie: `${name}=${thief.access}` } }),
      401,
      'AUTH_MISSING_TOKEN',
      `a neighbour's ${name}`
    )
    const both = await one.call('GET', '/v1/me', { headers: { cookie: `latchkey=${thief.access}; ${names.access}=${mine.access}` } })
    t.equal(both.json<Opened>().user.id, mine.user.id)
  })

  t.test('V3.3.1 malformed percent-encoding in cookies is a bad token and no error', async t => {
    for (const value of ['%', '%zz', '%E0%A4%A', '%ff%fe', '%00', '%u0041', '%%%']) {
      for (const [method, url] of [['GET', '/v1/me'], ['POST', '/v1/logout']] as const) {
        const reply = await one.call(method, url, { headers: { cookie: `${names.access}=${value}`, origin: page } })
        t.equal(reply.statusCode, 401, `${method} ${value}`)
      }
      t.equal(
        (await one.call('POST', '/v1/refresh', { headers: { cookie: `${names.refresh}=${value}`, origin: page } })).statusCode,
        401,
        value
      )
    }
  })

  t.test('V7.2.3 the stored hash presented as a token opens nothing', async t => {
    const { accessToken, refreshToken } = await open(one)
    for (const token of [accessToken, refreshToken]) {
      const hash = createHash('sha256').update(token)
      const [hex, base64, base64url] = [hash.copy().digest('hex'), hash.copy().digest('base64'), hash.copy().digest('base64url')]
      for (const candidate of [
        hex,
        base64,
        base64url,
        `lk_${hex}`,
        `lk_${hex.slice(0, 50)}`,
        `lk_${base64url.padEnd(50, '0').slice(0, 50)}`,
        `\\x${hex}`,
        keyOf(token)
      ]) {
        refusedAs(t, await one.me(candidate), 401, 'AUTH_INVALID_TOKEN', candidate.slice(0, 12))
        refusedAs(t, await refresh(one, candidate), 401, 'AUTH_INVALID_TOKEN', candidate.slice(0, 12))
      }
    }
  })

  t.test('RFC 6750 a refresh token used as an access token is refused, and the reverse', async t => {
    const { accessToken, refreshToken } = await open(one)
    refusedAs(t, await one.me(refreshToken), 401, 'AUTH_INVALID_TOKEN')
    refusedAs(t, await refresh(one, accessToken), 401, 'AUTH_INVALID_TOKEN')
    for (const [name, value] of [
      [names.access, refreshToken],
      [names.refresh, accessToken]
    ] as const) t.equal(
      (await one.call('POST', '/v1/refresh', { headers: { cookie: `${name}=${value}`, origin: page } })).statusCode,
      401,
      name
    )
    await alive(t, accessToken, 'and neither was ended by it')
    t.equal((await refresh(one, refreshToken)).statusCode, 200)
  })

  t.test('V2.3.3, V15.4.2 refresh x50 in parallel gives one successor, byte for byte', async t => {
    const opened = await open(one)
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => refresh(i % 2 === 0 ? one : two, opened.refreshToken)))
    t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [200])
    t.equal(new Set(replies.map(reply => reply.json<Opened>().accessToken + reply.json<Opened>().refreshToken)).size, 1)
    const [row] = await one.database.prepared<{ live: number }>(
      'select count(*)::int as live from tokens where session_id = $1 and kind = \'refresh\' and consumed_at is null and revoked_at is null',
      [opened.session.id]
    )
    t.equal(row?.live, 1)
  })

  t.test('RFC 9700 4.14.2 refresh tokens rotate, and reuse past the grace ends the family: the successor is dead', async t => {
    const opened = await open(one)
    const second = (await refresh(one, opened.refreshToken)).json<Opened>()
    t.not(second.refreshToken, opened.refreshToken)
    await alive(t, second.accessToken, 'the successor')
    await one.pass(31_000)
    await two.trusted()
    refusedAs(t, await refresh(two, opened.refreshToken), 401, 'AUTH_TOKEN_REUSED')
    await dead(t, second.accessToken, 'the successor')
    refusedAs(t, await refresh(one, second.refreshToken), 401, 'AUTH_INVALID_TOKEN', 'and its refresh token')
  })

  t.test('V15.4.2 refresh racing logout-all: whoever comes first, nothing lives afterwards', async t => {
    let renewed = 0
    for (let round = 0; round < 20; round++) {
      const opened = await open(one)
      const [
        refreshed,
        ended
      ] = await Promise.all([
        refresh(round % 2 === 0 ? one : two, opened.refreshToken),
        two.call('POST', '/v1/logout-all', { token: opened.accessToken })
      ])
      t.equal(ended.statusCode, 204)
      if (refreshed.statusCode === 200) {
        renewed++
        await dead(t, refreshed.json<Opened>().accessToken, 'the successor')
        t.equal((await refresh(one, refreshed.json<Opened>().refreshToken)).statusCode, 401)
      } else t.equal(refreshed.statusCode, 401)
      await dead(t, opened.accessToken, 'the first')
    }
    t.comment(`${renewed} of 20 refreshes came first`)
  })

  t.test('V15.4.2 login racing a password change with the old password: no session of the old one is left', async t => {
    for (let round = 0; round < 10; round++) {
      const opened = await open(one)
      const [login, changed] = await Promise.all([two.login(opened.user.email), change(one, opened.accessToken)])
      t.equal(changed.statusCode, 200)
      if (login.statusCode === 200) await dead(t, login.json<Opened>().accessToken, 'opened just before the change')
      else refusedAs(t, login, 401, 'AUTH_INVALID_CREDENTIALS')
      refusedAs(t, await two.login(opened.user.email), 401, 'AUTH_INVALID_CREDENTIALS', 'the old password')
      await alive(t, changed.json<Opened>().accessToken, 'the session that changed it')
    }
  })

  t.test('V15.4.2 two logins racing, with one session allowed: exactly one survives', async t => {
    const [first, second] = await Promise.all([startApp(t, ground, { clock }), startApp(t, ground, { clock })])
    for (let round = 0; round < 10; round++) {
      const { user: { email }, accessToken } = await open(first, {})
      const replies = await Promise.all([first.login(email), second.login(email)])
      t.strictSame(replies.map(({ statusCode }) => statusCode), [200, 200])
      const left = await Promise.all([accessToken, ...replies.map(reply => reply.json<Opened>().accessToken)].map(async token =>
        (await first.me(token)).statusCode))
      t.strictSame([left[0], left.slice(1).sort().join()], [401, '200,401'])
    }
  })

  t.test('V7.4.1 poisoned Redis values neither open nor close a door', async t => {
    const [mine, other] = [await open(one), await open(one)]
    await alive(t, mine.accessToken, 'before')
    t.ok(await one.cached(other.accessToken))
    const entry = await redis.get(keyOf(other.accessToken)) ?? ''
    t.match(entry, /^V\d+\|/, 'an entry to forge from')
    const poisons = [
      '',
      'V',
      'V1|',
      'V1|{}',
      'null',
      '\0',
      '{"user":{}}',
      `V${'9'.repeat(400)}|{}`,
      entry.slice(0, 40),
      entry.replace(/\{.*/, '[]'),
      entry.replace(/\{.*/, 'null'),
      entry.replace(/\{.*/, '{"__proto__":{"user":1}}'),
      `X${entry}`
    ]
    for (const poison of poisons) {
      await redis.set(keyOf(mine.accessToken), poison, 'PX', 60_000)
      for (const app of [one, two]) {
        const reply = await app.me(mine.accessToken)
        t.equal(reply.statusCode, 200, JSON.stringify(poison.slice(0, 30)))
        t.equal(reply.json<Opened>().user?.id, mine.user.id)
      }
    }
    t.equal((await one.logout(mine.accessToken)).statusCode, 204)
    for (const poison of poisons) {
      await redis.set(keyOf(mine.accessToken), poison, 'PX', 60_000)
      await dead(t, mine.accessToken, `revoked, with ${JSON.stringify(poison.slice(0, 30))}`)
    }
    await redis.del(keyOf(mine.accessToken))
    t.ok(await becomesTrue(() => one.epoch.state() === 'trusted', patienceMs))
  })
})
