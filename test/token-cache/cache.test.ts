import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createPostgres } from '../../src/database/postgres.js'
import { becomesTrue, newEmail, patienceMs, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { hasRedisServer, openSql, startRedis } from '../fixtures/servers.js'

/** Two instances on one PostgreSQL and their own redis-server, whose keys and statistics are theirs alone. */

t.test('what the cache holds', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  const server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const [one, two] = await Promise.all([startApp(t, ground), startApp(t, ground)])
  const apps = [one, two]
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const commands = async (name: string) =>
    Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(await redis.info('commandstats'))?.[1] ?? 0)

  /** Uses `token` on every instance until each has answered from the cache. */
  async function cacheEverywhere (t: Test, token: string) {
    for (const app of apps) t.ok(await app.cached(token), 'from the cache')
  }

  async function refusedEverywhere (t: Test, token: string, what: string) {
    const statuses = await Promise.all(apps.map(async app => (await app.me(token)).statusCode))
    t.strictSame(statuses, apps.map(() => 401), what)
  }

  t.test('made-up tokens of the right shape reach neither Redis nor PostgreSQL, but a valid one does', async t => {
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
    const dump = await promisify(execFile)(
      'pg_dump',
      ['--dbname', ground.databaseUrl as string],
      { maxBuffer: 64 << 20 }
    ).catch((error: NodeJS.ErrnoException) => {
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
})

t.test('a copy of the database running beside the original, with the same Redis and prefix, has its own cache', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null || ground.redisUrl === null) return
  const first = await startApp(t, ground)
  const revoked = await first.account()
  await first.close()
  const copyUrl = await copyDatabase(t, ground.databaseUrl)
  const copyGround = { ...ground, databaseUrl: copyUrl, database: async () => createPostgres(copyUrl, 10) }
  const [original, copy] = await Promise.all([startApp(t, ground), startApp(t, copyGround)])
  const live = await original.account()
  const redis = new Redis(ground.redisUrl)
  t.teardown(() => redis.disconnect())

  t.equal((await original.logout(revoked.token)).statusCode, 204)
  await redis.del(...await redis.keys(`${ground.prefix}*token:*`))
  t.ok(await copy.cached(revoked.token), 'the copy knows nothing of the logout')
  t.equal((await original.me(revoked.token)).statusCode, 401)

  t.equal((await copy.me(live.token)).statusCode, 401, 'and nothing of what came since')
  t.equal((await original.me(live.token)).statusCode, 200)
})

async function copyDatabase (t: Test, url: string): Promise<string> {
  const copy = new URL(url)
  copy.pathname += '_copy'
  const admin = openSql(new URL('/postgres', url).href)
  const name = (of: string) => new URL(of).pathname.slice(1)
  t.teardown(async () => {
    await admin.unsafe(`drop database if exists ${name(copy.href)} with (force)`)
    await admin.end({ timeout: 1 })
  })
  // Connections that were just closed may still be there.
  const made = await becomesTrue(
    () => admin.unsafe(`create database ${name(copy.href)} template ${name(url)}`).then(() => true, () => false),
    patienceMs
  )
  if (!made) throw new Error('the database could not be copied')
  return copy.href
}

/** Foreign values, written where an entry would be. */
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
  [
    'an entry with half a user',
    (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ user: { id: nobody } }))}`)
  ],
  [
    'an entry with a session of another shape',
    (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ session: 5 }))}`)
  ],
  [
    'an entry whose abilities are no texts',
    (
      redis,
      key,
      generation
    ) =>
      redis.set(
        key,
        `V${generation}|${JSON.stringify(shaped({ token: { id: nobody, kind: 'access', abilities: [{}], expiresAt: soon } }))}`
      )
  ],
  ['an entry of a version before second factors', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ amr: undefined }))}`)],
  ['an entry that is over', (redis, key, generation) => redis.set(key, `V${generation}|${JSON.stringify(shaped({ expiresAtMs: 1 }))}`)],
  ['a lease for ever', (redis, key) => redis.set(key, 'Lfor-ever')],
  ['Rx', (redis, key) => redis.set(key, 'Rx')],
  ['R and a line feed', (redis, key) => redis.set(key, 'R\n')],
  ['r', (redis, key) => redis.set(key, 'r')]
]

const nobody = '00000000-0000-4000-8000-000000000000'
const soon = new Date(Date.now() + 3_600_000).toISOString()

/** A complete entry for a user who does not exist, with parts exchanged. */
function shaped (parts: object) {
  return {
    issuedAtMs: 1,
    expiresAtMs: Date.parse(soon),
    amr: ['pwd'],
    acr: 'aal1',
    hasFactor: false,
    emailVerified: false,
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

/** What clients sent and received, in every possible way. */
async function secretsOf (one: TestApp, two: TestApp) {
  const secret = `secret ${randomBytes(8).toString('hex')} phrase`
  const next = `next ${randomBytes(8).toString('hex')} phrase`
  const email = newEmail()
  const registered = await one.register(email, { password: secret })
  const loggedIn = await two.login(email, { password: secret })
  const changed = await one.call(
    'PUT',
    '/v1/password',
    { token: loggedIn.json().accessToken, body: { currentPassword: secret, newPassword: next } }
  )
  await one.login(email, { password: `wrong ${secret}` })
  const tokens = [registered, loggedIn, changed].map(reply => reply.json<{ accessToken: string }>().accessToken)
  for (const token of tokens) await two.me(token)
  return { tokens, passwords: [secret, next], emails: [email] }
}

/** In plain text, in hexadecimal or in base64; in full, or only the random part. */
function shows (text: string, secret: string): boolean {
  const forms = [
    secret,
    secret.replace(/^lk_/, ''),
    Buffer.from(secret).toString('hex'),
    Buffer.from(secret).toString('base64').replace(/=+$/, '')
  ]
  return forms.some(form => text.includes(form))
}
