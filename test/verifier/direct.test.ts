import postgres from 'postgres'
import t, { type Test } from 'tap'
import { ConfigError, createVerifier, UnavailableError, type Verifier } from '../../src/verifier/index.js'
import { becomesTrue, type Ground, patienceMs, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { createEmptyDatabase, findPostgres, hasRedisServer, startRedis } from '../fixtures/servers.js'
import { createVerifierRole, optionsOf } from './scene.js'

async function open (t: Test, ground: Ground, options: object = {}): Promise<Verifier> {
  const url = await createVerifierRole(t, ground.databaseUrl as string)
  const verifier = createVerifier({ ...optionsOf(ground, url), ...options })
  t.teardown(() => verifier.close())
  await verifier.ready()
  return verifier
}

/** Resolves once the cache answers the verifier. */
const cached = (verifier: Verifier, token: string) => becomesTrue(async () => {
  const { hits } = verifier.stats()
  await verifier.verify(token)
  return verifier.stats().hits > hits
}, patienceMs)

t.test('a verifier on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground)
  const verifier = await open(t, ground)

  t.test('says whose token it is, as the server does', async t => {
    const { token, userId, sessionId, email } = await one.account()
    t.match(await verifier.verify(token), {
      user: { id: userId, email, emailVerifiedAt: null, role: 'user' },
      session: { id: sessionId },
      token: { kind: 'access', abilities: ['*'] }
    })
    t.match(await verifier.verify(await one.personal(token)), { session: null, user: { id: userId }, token: { kind: 'personal' } })
    t.ok(await cached(verifier, token))
    const { plain } = await one.serviceTokens.create('orders')
    for (const dead of ['', 'lk_', `lk_${'0'.repeat(50)}`, `${token}x`, 'Bearer', plain.reveal()]) t.equal(await verifier.verify(dead), null, dead)
  })

  t.test('refuses what any instance has revoked, at once, also from the cache', async t => {
    const ways: Array<[string, (account: Awaited<ReturnType<TestApp['account']>>, personal: string) => Promise<{ statusCode: number }>]> = [
      ['logout', ({ token }) => one.logout(token)],
      ['logout-all', ({ token }) => one.call('POST', '/v1/logout-all', { token })],
      ['a later login', ({ email }) => one.login(email)],
      ['ending the session', ({ token, sessionId }) => one.call('DELETE', `/v1/sessions/${sessionId}`, { token })]
    ]
    for (const [name, revoke] of ways) {
      const account = await one.account()
      t.ok(await cached(verifier, account.token), name)
      t.ok((await revoke(account, '')).statusCode < 300, name)
      t.equal(await verifier.verify(account.token), null, name)
    }
    const { token } = await one.account()
    const personal = await one.personal(token)
    t.ok(await cached(verifier, personal))
    const { tokens } = (await one.call('GET', '/v1/tokens', { token })).json<{ tokens: Array<{ id: string }> }>()
    await one.call('DELETE', `/v1/tokens/${tokens[0]?.id}`, { token })
    t.equal(await verifier.verify(personal), null)
  })

  t.test('fills the cache for the server, and the server for it', async t => {
    const { token } = await one.account()
    t.ok(await cached(verifier, token))
    const { hits } = one.counters
    await one.me(token)
    t.ok(one.counters.hits > hits)
  })

  t.test('asks for all tokens of an event-loop turn at once', async t => {
    const bare = await open(t, { ...ground, redisUrl: null })
    const accounts = await Promise.all(Array.from({ length: 12 }, () => one.account()))
    const { asked } = bare.stats()
    const found = await Promise.all(accounts.map(({ token }) => bare.verify(token)))
    t.strictSame(found.map(principal => principal?.user.id), accounts.map(({ userId }) => userId))
    t.equal(bare.stats().asked, asked + 1)
    t.match(bare.stats(), { cache: 'no-cache', hits: 0 })
  })

  t.test('reads tokens from headers and requests by the rules of the server', async t => {
    const { token, userId } = await one.account()
    const personal = await one.personal(token)
    const cookie = `__Host-latchkey=${token}`
    const id = async (presented: Parameters<Verifier['verify']>[0]) => (await verifier.verify(presented))?.user.id ?? null
    t.equal(await id({ authorization: `Bearer ${token}` }), userId)
    t.equal(await id(new Headers({ authorization: `bearer ${token}` })), userId)
    t.equal(await id({ cookie: `a=b; ${cookie}` }), userId)
    t.equal(await id({ cookie, authorization: 'Basic dTpw' }), userId, 'what browsers send by themselves does not rule out a cookie')
    t.equal(await id({ cookie: `${cookie}; ${cookie}` }), null, 'two cookies of that name')
    t.equal(await id({ cookie, authorization: 'Bearer lk_no' }), null, 'a Bearer rules out the cookie')
    t.equal(await id({ cookie: `__Host-latchkey=${personal}` }), null, 'personal tokens belong in a header')
    t.equal(await id({ cookie: `latchkey=${token}` }), null)
    t.equal(await id({}), null)
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const headers = { cookie, 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
      t.equal(await id({ method, headers }), null, 'from another site')
      t.equal(await id({ method, headers: { cookie, 'sec-fetch-site': 'same-origin' } }), userId)
      t.equal(await id(new Request('https://app.example/x', { method, headers: { authorization: `Bearer ${token}` } })), userId)
    }
    const plain = await open(t, ground, { cookieSecure: false, corsOrigins: ['https://app.example'] })
    t.equal((await plain.verify({ method: 'POST', headers: { cookie: `latchkey=${token}`, origin: 'https://app.example' } }))?.user.id, userId)
  })

  t.test("reads the session's data as strictly as its token, and nobody else's", async t => {
    const write = (token: string, body: object) => one.call('PUT', '/v1/session/data', { token, body })
    const { token } = await one.account()
    t.strictSame(await verifier.sessionData(token), {})
    for (let n = 0; n < 5; n++) {
      t.equal((await write(token, { n })).statusCode, 200)
      t.strictSame(await verifier.sessionData({ headers: { authorization: `Bearer ${token}` } }), { n }, 'what was just written')
      t.strictSame(await verifier.sessionData(token), { n }, 'and again')
    }
    const cookie = `__Host-latchkey=${token}`
    t.strictSame(await verifier.sessionData({ cookie }), { n: 4 })
    t.equal(await verifier.sessionData({ method: 'POST', headers: { cookie, 'sec-fetch-site': 'cross-site' } }), null)
    const found = await Promise.all([verifier.sessionData(token), verifier.sessionData(token)])
    t.not(found[0], found[1], 'each caller has a copy of its own')
    for (const none of [await one.personal(token), (await one.serviceTokens.create('carts')).plain.reveal(), 'nonsense', `lk_${'0'.repeat(50)}`]) {
      t.equal(await verifier.sessionData(none), null)
    }
    await one.logout(token)
    t.equal(await verifier.sessionData(token), null, 'gone with the session')
    t.ok(verifier.stats().hits <= verifier.stats().verified)
    const own = await open(t, ground)
    await own.close()
    await t.rejects(own.sessionData(token), UnavailableError)
  })

  t.test('notes last uses, and erases no secret', async t => {
    const { token, sessionId } = await one.account()
    await one.database.prepared("update sessions set last_used_at = '2020-01-01' where id = $1", [sessionId])
    const own = await open(t, ground)
    await own.verify(token)
    await own.close()
    const [row] = await one.database.prepared<{ late: boolean }>(
      "select last_used_at > now() - interval '1 hour' as late from sessions where id = $1",
      [sessionId]
    )
    t.equal(row?.late, true)
    await t.rejects(own.verify(token), UnavailableError, 'a verifier that is closed')
  })

  t.test('an instance with SESSION_IDLE_TTL does not believe entries of one without', async t => {
    const idle = await open(t, ground, { sessionIdleTtl: '1h' })
    const { token } = await one.account()
    t.ok(await cached(verifier, token))
    const { asked } = idle.stats()
    t.ok(await idle.verify(token))
    t.equal(idle.stats().asked, asked + 1)
    // Again and again, for a use noted before may be written after it.
    const refused = async () => {
      await one.database.prepared("update sessions set last_used_at = now() - interval '2 hours'", [])
      return await idle.verify(token) === null
    }
    t.ok(await becomesTrue(refused, patienceMs))
  })

  t.test('takes no part in what is written: it registers, confirms and settles nothing', async t => {
    const lonely = await serverGround(t)
    if (lonely === null) return
    const rows = () => database.unsafe('select generation, incarnation, confirmed_at, cardinality(retired) as retired from cache_epoch')
    const database = postgres(lonely.databaseUrl as string, { max: 1 })
    t.teardown(() => database.end())
    await database.unsafe("insert into cache_settlements values (gen_random_uuid(), '{}', now() - interval '1 minute', true)")
    const before = await rows()
    const keys = await database.unsafe('select name from secrets order by name')
    const alone = await open(t, lonely)
    t.ok(await becomesTrue(() => alone.stats().cache === 'not-registered', patienceMs))
    await new Promise(resolve => setTimeout(resolve, 1_200))
    t.same(await rows(), before)
    t.same(await database.unsafe('select name from secrets order by name'), keys)
    t.equal((await database.unsafe('select 1 from cache_settlements')).length, 1)
  })

  t.test('the role reads no password, no key of passwords, no event and no mail, and writes last uses alone', async t => {
    const url = await createVerifierRole(t, ground.databaseUrl as string)
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    t.teardown(() => sql.end())
    const role = decodeURIComponent(new URL(url).username)
    const { token } = await one.account()
    t.ok(token)
    for (const text of [
      'select password_hash from users', 'select * from users', 'select * from secrets', 'select value from secrets', 'select * from tokens',
      'select successor_secret from tokens', 'select ip, user_agent from sessions', 'select * from events', 'select token_hashes from cache_settlements',
      'update tokens set revoked_at = null', 'update tokens set expires_at = null', 'update users set role = \'admin\'', 'delete from tokens',
      'delete from cache_settlements', 'update session_data set data = \'{}\'', 'delete from session_data', 'update cache_epoch set generation = 0', 'insert into verifier_keys values (\'password\', \'\')',
      'update verifier_keys set value = \'\'', 'truncate sessions', 'create table t ()', 'create view v as select * from users'
    ]) await t.rejects(sql.unsafe(text), { code: '42501' }, text)
    t.strictSame((await sql.unsafe('select name from verifier_keys order by name')).map(({ name }) => name), ['database', 'token-check'])
    // A function in a condition must not be shown the rows that the view leaves out.
    await sql.unsafe(`create function pg_temp.tell (text) returns boolean language plpgsql cost 0.0001
      as $$ begin raise notice 'row %', $1; return true; end $$`)
    const told: string[] = []
    const spy = postgres(url, { max: 1, onnotice: ({ message }) => { told.push(String(message)) } })
    t.teardown(() => spy.end())
    await spy.unsafe(`create function pg_temp.tell (text) returns boolean language plpgsql cost 0.0001
      as $$ begin raise notice 'row %', $1; return true; end $$; select name from verifier_keys where pg_temp.tell(name)`).simple()
    t.ok(told.length > 0)
    t.notMatch(told.join(), /password|attempts/)
    const granted = await one.database.prepared<{ column: string }>(
      `select table_name || '.' || column_name || ' ' || privilege_type as column from information_schema.column_privileges
        where grantee = $1 and privilege_type <> 'SELECT' order by 1`,
      [role]
    )
    t.strictSame(granted.map(({ column }) => column), ['sessions.last_used_at UPDATE', 'tokens.last_used_at UPDATE'])
  })
})

t.test('a verifier whose Redis is killed answers from the database, strictly, and uses Redis again once it is back', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  let redis = await startRedis()
  t.teardown(() => redis.kill())
  const ground = await serverGround(t, { redisUrl: redis.url })
  if (ground === null) return
  const one = await startApp(t, ground)
  await one.trusted()
  const verifier = await open(t, ground)
  const { token } = await one.account()
  const other = await one.account()
  t.ok(await becomesTrue(() => cached(verifier, token), patienceMs))
  await redis.kill()
  t.ok(await verifier.verify(token))
  t.equal((await one.logout(token)).statusCode, 204)
  t.equal(await verifier.verify(token), null)
  redis = await startRedis({ port: redis.port })
  t.ok(await becomesTrue(async () => { await one.trusted(); return await cached(verifier, other.token) }, patienceMs))
  t.equal(await verifier.verify(token), null)
})

t.test('what cannot be used is named', async t => {
  t.throws(() => createVerifier({} as { databaseUrl: string }), ConfigError)
  t.throws(() => createVerifier({ databaseUrl: 'mysql://x' }), { name: 'ConfigError', message: /DATABASE_URL/ })
  t.throws(() => createVerifier({ databaseUrl: 'postgres://x/y', redisPrefix: 'x' } as { databaseUrl: string }), { message: /REDIS_PREFIX/ })
  const gone = createVerifier({ databaseUrl: 'postgres://postgres@127.0.0.1:1/x' })
  await t.rejects(gone.ready(), { name: 'DatabaseUnreachableError' })
  await t.rejects(gone.verify(`lk_${'0'.repeat(50)}`), UnavailableError)
  await gone.close()
  const server = await findPostgres()
  if (server === null) return
  const empty = await createEmptyDatabase(t, server)
  const early = createVerifier({ databaseUrl: empty })
  t.teardown(() => early.close())
  await t.rejects(early.ready(), { name: 'OtherVersionError', message: /no tables of Latchkey/ })
  const ground = await serverGround(t)
  if (ground === null) return
  const sql = postgres(ground.databaseUrl as string, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  for (const [statement, message] of [
    ["insert into latchkey_migrations (hash) values ('of a later version')", /newer than this version/],
    ['delete from latchkey_migrations where hash in (select hash from latchkey_migrations limit 2)', /older than this version/]
  ] as const) {
    await sql.unsafe(statement)
    const verifier = createVerifier({ databaseUrl: ground.databaseUrl as string })
    await t.rejects(verifier.ready(), { name: 'OtherVersionError', message })
    await t.rejects(verifier.verify('lk_x'), UnavailableError)
    await verifier.close()
  }
})

t.test('a verifier that starts before the database verifies once it is there', async t => {
  const server = await findPostgres()
  if (server === null) return
  const url = await createEmptyDatabase(t, server)
  const verifier = createVerifier({ databaseUrl: url })
  t.teardown(() => verifier.close())
  await t.rejects(verifier.ready())
  const ground = await serverGround(t)
  if (ground === null) return
  const { createPostgres } = await import('../../src/database/postgres.js')
  const one = await startApp(t, { ...ground, databaseUrl: url, redisUrl: null, database: async () => {
    const database = createPostgres(url, 4)
    await database.migrate()
    return database
  } })
  const { token, userId } = await one.account()
  t.ok(await becomesTrue(async () => (await verifier.verify(token).catch(() => null))?.user.id === userId, patienceMs))
})
