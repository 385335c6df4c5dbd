
import t, { type Test } from 'tap'
import { becomesTrue, password, serverGround, skipMissing, startApp, } from '../fixtures/app.js'
import { hasRedisServer, openSql, startRedis } from '../fixtures/servers.js'

/** Two instances on one PostgreSQL and their own redis-server, which may be killed. */

const newPassword = 'another long password'

t.test('two instances on one PostgreSQL and one Redis', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  let server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const env = { SESSION_LIMIT: '4' }
  const [
    one,
    two,
    wideOne,
    wideTwo
  ] = await Promise.all([startApp(t, ground), startApp(t, ground), startApp(t, ground, { env }), startApp(t, ground, { env })])
  const apps = [one, two, wideOne, wideTwo]

  /** Uses `token` on every instance until each has answered from the cache. */
  async function cacheEverywhere (t: Test, token: string) {
    for (const app of apps) t.ok(await app.cached(token), 'from the cache')
  }

  async function refusedEverywhere (t: Test, token: string, what: string) {
    const statuses = await Promise.all(apps.map(async app => (await app.me(token)).statusCode))
    t.strictSame(statuses, apps.map(() => 401), what)
  }

  async function acceptedEverywhere (t: Test, token: string, what: string) {
    const statuses = await Promise.all(apps.map(async app => (await app.me(token)).statusCode))
    t.strictSame(statuses, apps.map(() => 200), what)
  }

  /** Sessions of one user, with one token each. */
  async function sessions (t: Test, count: number) {
    const account = await wideOne.account()
    const opened = [{ token: account.token, sessionId: account.sessionId }]
    while (opened.length < count) {
      const reply = await wideTwo.login(account.email)
      const { accessToken: token, session } = reply.json<{ accessToken: string, session: { id: string } }>()
      opened.push({ token, sessionId: session.id })
    }
    for (const { token } of opened) await cacheEverywhere(t, token)
    return { ...account, opened: opened as [typeof opened[0], typeof opened[0], typeof opened[0]] }
  }

  t.test('an account registered on one is known on the other', async t => {
    const { email, token, userId } = await one.account()
    const reply = await two.me(token)
    t.equal(reply.statusCode, 200)
    t.strictSame([reply.json().user.id, reply.json().user.email], [userId, email])
    t.equal((await two.login(email)).statusCode, 200)
  })

  t.test('a login on one ends the prior token on both', async t => {
    const { email, token } = await one.account()
    await cacheEverywhere(t, token)
    const reply = await two.login(email)
    await refusedEverywhere(t, token, 'replaced')
    await acceptedEverywhere(t, reply.json().accessToken, 'the new one')
  })

  t.test('a logout on one ends the token on both', async t => {
    const { token } = await one.account()
    await cacheEverywhere(t, token)
    t.equal((await two.logout(token)).statusCode, 204)
    await refusedEverywhere(t, token, 'logged out')
  })

  t.test('logout-all on one ends every token of the user on both, and affects nobody else', async t => {
    const { opened } = await sessions(t, 3)
    const bystander = await one.account()
    t.equal((await wideTwo.call('POST', '/v1/logout-all', { token: opened[1].token })).statusCode, 204)
    for (const { token } of opened) await refusedEverywhere(t, token, 'logged out')
    await acceptedEverywhere(t, bystander.token, 'somebody else')
  })

  t.test('a password change on one ends every other token of the user on both', async t => {
    const { email, opened } = await sessions(t, 3)
    const reply = await wideOne.call('PUT', '/v1/password', { token: opened[1].token, body: { currentPassword: password, newPassword } })
    t.equal(reply.statusCode, 200)
    for (const { token } of opened) await refusedEverywhere(t, token, 'of the old password')
    await acceptedEverywhere(t, reply.json().accessToken, 'the token of the change')
    t.equal(reply.json().session.id, opened[1].sessionId, 'in the same session as before')
    t.equal((await wideTwo.login(email)).statusCode, 401)
    t.equal((await wideTwo.login(email, { password: newPassword })).statusCode, 200)
  })

  t.test('ending one session on one ends its token on both, and no other', async t => {
    const { opened } = await sessions(t, 3)
    t.equal((await wideTwo.call('DELETE', `/v1/sessions/${opened[2].sessionId}`, { token: opened[0].token })).statusCode, 204)
    await refusedEverywhere(t, opened[2].token, 'ended')
    await acceptedEverywhere(t, opened[0].token, 'the caller')
    await acceptedEverywhere(t, opened[1].token, 'a third')
  })

  t.test('ending the other sessions on one leaves the caller alone on both', async t => {
    const { opened } = await sessions(t, 3)
    t.equal((await wideTwo.call('DELETE', '/v1/sessions', { token: opened[0].token })).statusCode, 204)
    await refusedEverywhere(t, opened[1].token, 'ended')
    await refusedEverywhere(t, opened[2].token, 'ended')
    await acceptedEverywhere(t, opened[0].token, 'the caller')
  })

  t.test('a change that affects more than a thousand tokens lists none of them, and is seen everywhere at once', async t => {
    const { token, userId } = await wideOne.account()
    await cacheEverywhere(t, token)
    await one.database.prepared(`insert into tokens (id, hash, kind, user_id, abilities, created_at, name)
      select gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), 'personal', $1::uuid, '{*}', now(), 'script' from generate_series(1, 30000)`, [userId])
    const bumps = wideTwo.counters.bumps
    const startedAt = performance.now()
    const changed = await wideTwo.call('PATCH', '/v1/me', { token, body: { name: 'Grace' } })
    t.equal(changed.statusCode, 200, changed.body)
    t.comment(`changed in ${Math.round(performance.now() - startedAt)} ms`)
    t.equal(wideTwo.counters.bumps, bumps + 1)
    for (const app of apps) t.equal((await app.me(token)).json().user.name, 'Grace')
    const [row] = await one.database.prepared<{ waiting: number }>('select count(*)::int as waiting from cache_settlements', [])
    t.equal(row?.waiting, 0)
  })

  t.test('parallel writes of one user hold one connection, so others are answered meanwhile; past a hundred are told to wait', async t => {
    const busy = await one.account()
    const other = await one.account()
    const locker = openSql(ground.databaseUrl as string)
    t.teardown(() => locker.end({ timeout: 1 }))
    await locker.unsafe(`begin; select from users where id = '${busy.userId}' for update`)
    let answered = 0
    const writes = Array.from({ length: 150 }, async () => {
      const reply = await one.call('PATCH', '/v1/me', { token: busy.token, body: { name: 'Grace' } })
      if (reply.statusCode !== 429) answered++
      return reply
    })
    const sessions = await one.call('GET', '/v1/sessions', { token: other.token })
    t.equal(sessions.statusCode, 200)
    t.equal(answered, 0, 'while they all wait')
    await locker.unsafe('rollback')
    const replies = await Promise.all(writes)
    t.equal(replies.filter(({ statusCode }) => statusCode === 200).length, 101, 'one in progress and a hundred waiting')
    const refused = replies.filter(({ statusCode }) => statusCode === 429)
    t.equal(refused.length, 49)
    t.match([refused[0]?.json(), refused[0]?.headers['retry-after']], [{ code: 'AUTH_RATE_LIMITED' }, '1'])
  })

  t.test('with redis-server killed, tokens work and can be revoked, and the cache comes back with it', async t => {
    const kept = await one.account()
    const ended = await one.account()
    const replaced = await two.account()
    for (const { token } of [kept, ended, replaced]) await cacheEverywhere(t, token)
    await server.kill()

    await acceptedEverywhere(t, kept.token, 'answered from the database')
    const startedAt = performance.now()
    t.equal((await one.logout(ended.token)).statusCode, 204)
    const logoutMs = performance.now() - startedAt
    t.ok(logoutMs < 20_000, `revoked within ${Math.round(logoutMs)} ms`)
    await refusedEverywhere(t, ended.token, 'revoked without Redis')

    const loginAt = performance.now()
    const login = await two.login(replaced.email)
    t.ok(performance.now() - loginAt < 20_000, `replaced within ${Math.round(performance.now() - loginAt)} ms`)
    await refusedEverywhere(t, replaced.token, 'replaced without Redis')
    await acceptedEverywhere(t, login.json().accessToken, 'issued without Redis')
    const fresh = await one.account()
    await acceptedEverywhere(t, fresh.token, 'registered without Redis')

    server = await startRedis({ port: server.port })
    const backAt = performance.now()
    t.ok(await becomesTrue(() => apps.every(app => app.epoch.state() === 'trusted'), 20_000), 'the cache is trusted again')
    t.comment(`trusted ${Math.round(performance.now() - backAt)} ms after Redis came back`)
    await refusedEverywhere(t, ended.token, 'revoked for good')
    await refusedEverywhere(t, replaced.token, 'replaced for good')
    await cacheEverywhere(t, kept.token)
  })
})
