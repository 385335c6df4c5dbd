import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { becomesTrue, newEmail, password, patienceMs, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

/** Two instances on one PostgreSQL and a redis-server of their own, which may be killed. */

const newPassword = 'another long password'

t.test('two instances on one PostgreSQL and one Redis', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  let server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const env = { SESSION_LIMIT: '4' }
  const [one, two, wideOne, wideTwo] = await Promise.all([startApp(t, ground), startApp(t, ground), startApp(t, ground, { env }), startApp(t, ground, { env })])
  const apps = [one, two, wideOne, wideTwo]
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const commands = async (name: string) => Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(await redis.info('commandstats'))?.[1] ?? 0)

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

  /** Sessions of one user in as many tokens. */
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

  t.test('who registers on one is known on the other', async t => {
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

  t.test('logout-all on one ends every token of the user on both, and nobody else is touched', async t => {
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
    t.equal(reply.json().session.id, opened[1].sessionId, 'in the session of before')
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

  t.test('made-up tokens of the right shape reach neither Redis nor PostgreSQL, and a valid one does', async t => {
    const { token } = await one.account()
    await cacheEverywhere(t, token)
    const lookUps = async () => [await commands('mget'), await commands('getex'), await commands('eval'), one.counters.databaseReads]
    const before = await lookUps()
    const replies = await Promise.all(Array.from({ length: 100 }, () => one.me(madeUpToken())))
    t.strictSame([...new Set(replies.map(reply => `${reply.statusCode} ${reply.json().code}`))], ['401 AUTH_INVALID_TOKEN'])
    t.strictSame(await lookUps(), before)

    let sent = 0
    const hit = async () => {
      const [{ hits }, earlier] = [{ ...one.counters }, await commands('getex')]
      await one.me(token)
      sent = await commands('getex') - earlier
      return one.counters.hits > hits
    }
    t.ok(await becomesTrue(hit, patienceMs))
    t.equal(sent, 1, 'one command for a hit')
    await redis.del(keyOf(token))
    const { databaseReads } = one.counters
    await one.me(token)
    t.equal(one.counters.databaseReads, databaseReads + 1, 'one read for a miss')
  })

  for (const [what, poison] of poisons) {
    t.test(`a live token answers although Redis holds ${what}`, async t => {
      const { token, userId } = await one.account()
      t.ok(await one.cached(token))
      const [row] = await one.database.prepared<{ generation: string }>('select generation::text from cache_epoch', [])
      await redis.del(keyOf(token))
      await poison(redis, keyOf(token), row?.generation ?? '')
      for (const app of [one, two]) {
        const reads = app.counters.databaseReads
        const reply = await app.me(token)
        t.equal(reply.statusCode, 200)
        t.equal(reply.json().user.id, userId)
        t.ok(app === two || app.counters.databaseReads > reads, 'from the database')
      }
      t.ok(await becomesTrue(() => one.epoch.state() === 'trusted' && two.epoch.state() === 'trusted', 20_000))
      t.equal((await one.logout(token)).statusCode, 204)
      await refusedEverywhere(t, token, 'and it can be revoked')
    })
  }

  t.test('a dump of the database shows no password and no token', async t => {
    const { tokens, passwords } = await secretsOf(one, two)
    const dump = await promisify(execFile)('pg_dump', ['--dbname', ground.databaseUrl as string], { maxBuffer: 64 << 20 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      skipMissing(t, 'needs pg_dump: install the PostgreSQL client programs')
      return null
    })
    if (dump === null) return
    t.match(dump.stdout, /COPY public\.tokens/, 'tokens are in it')
    for (const secret of [...tokens, ...passwords]) t.notOk(shows(dump.stdout, secret))
  })

  t.test('no key and no value in Redis shows a password, a token or an address', async t => {
    const { tokens, passwords, emails } = await secretsOf(one, two)
    const keys: string[] = []
    for await (const found of redis.scanStream({ count: 1000 })) keys.push(...found as string[])
    const values = await Promise.all(keys.map(key => redis.get(key).catch(() => '')))
    t.ok(values.some(value => value?.startsWith('V')), 'entries are in it')
    t.ok(keys.some(key => key.includes('limit:login')), 'and counters')
    const text = [...keys, ...values].join('\n')
    for (const secret of [...tokens, ...passwords]) t.notOk(shows(text, secret))
    for (const email of emails) t.notOk(keys.join('\n').includes(email), 'no address in a key')
  })

  t.test('with redis-server killed tokens work, are revoked, and the cache comes back with it', async t => {
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

/** Values that are none of ours, written where an entry would be. */
const poisons: Array<[string, (redis: Redis, key: string, generation: string) => Promise<unknown>]> = [
  ['garbage', (redis, key) => redis.set(key, randomBytes(64))],
  ['an empty string', (redis, key) => redis.set(key, '')],
  ['V', (redis, key) => redis.set(key, 'V')],
  ['V|', (redis, key) => redis.set(key, 'V|')],
  ['V1|{', (redis, key) => redis.set(key, 'V1|{')],
  ['a broken entry of this generation', (redis, key, generation) => redis.set(key, `V${generation}|{`)],
  ['Vxx|{}', (redis, key) => redis.set(key, 'Vxx|{}')],
  ['an entry of a far generation', (redis, key) => redis.set(key, `V9007199254740991|${JSON.stringify(shaped({}))}`)],
  ['a million bytes', (redis, key, generation) => redis.set(key, `V${generation}|${'x'.repeat(1_000_000)}`)],
  ['a list', (redis, key) => redis.lpush(key, 'R', 'V1|{}')],
  ['null', (redis, key, generation) => redis.set(key, `V${generation}|null`)],
  ['an array', (redis, key, generation) => redis.set(key, `V${generation}|[]`)],
  ['an entry without a user', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ user: undefined }))}`)],
  ['an entry with half a user', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ user: { id: nobody } }))}`)],
  ['an entry with a session of another shape', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ session: 5 }))}`)],
  ['an entry whose abilities are no texts', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ token: { id: nobody, kind: 'access', abilities: [{}], expiresAt: soon } }))}`)],
  ['an entry that is over', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ expiresAtMs: 1 }))}`)],
  ['a lease for ever', (redis, key) => redis.set(key, 'Lfor-ever')],
  ['Rx', (redis, key) => redis.set(key, 'Rx')],
  ['R and a line feed', (redis, key) => redis.set(key, 'R\n')],
  ['r', (redis, key) => redis.set(key, 'r')]
]

const nobody = '00000000-0000-4000-8000-000000000000'
const soon = new Date(Date.now() + 3_600_000).toISOString()

/** A whole entry, of a user who isn't there, with parts exchanged. */
function shaped (parts: object) {
  return {
    issuedAtMs: 1,
    expiresAtMs: Date.parse(soon),
    token: { id: nobody, kind: 'access', abilities: ['*'], expiresAt: soon },
    session: { id: nobody, deviceName: null, createdAt: soon, expiresAt: soon },
    user: { id: nobody, email: 'nobody@example.com', emailVerifiedAt: null, name: null, role: 'admin', createdAt: soon },
    ...parts
  }
}

function madeUpToken (): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  return `lk_${Array.from(randomBytes(50), byte => alphabet[byte % 62]).join('')}`
}

/** What clients sent and got in every way there is. */
async function secretsOf (one: TestApp, two: TestApp) {
  const secret = `secret ${randomBytes(8).toString('hex')} phrase`
  const next = `next ${randomBytes(8).toString('hex')} phrase`
  const email = newEmail()
  const registered = await one.register(email, { password: secret })
  const loggedIn = await two.login(email, { password: secret })
  const changed = await one.call('PUT', '/v1/password', { token: loggedIn.json().accessToken, body: { currentPassword: secret, newPassword: next } })
  await one.login(email, { password: `wrong ${secret}` })
  const tokens = [registered, loggedIn, changed].map(reply => reply.json<{ accessToken: string }>().accessToken)
  for (const token of tokens) await two.me(token)
  return { tokens, passwords: [secret, next], emails: [email] }
}

/** In clear, in hexadecimal or in base64; whole, or only its random part. */
function shows (text: string, secret: string): boolean {
  const forms = [secret, secret.replace(/^lk_/, ''), Buffer.from(secret).toString('hex'), Buffer.from(secret).toString('base64').replace(/=+$/, '')]
  return forms.some(form => text.includes(form))
}
