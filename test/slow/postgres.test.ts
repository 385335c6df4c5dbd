import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { connect } from '../../src/database/connect.js'
import { within } from '../../src/database/database.js'
import { explainDatabase } from '../../src/database/open.js'
import { createPostgres } from '../../src/database/postgres.js'
import { createEpochStore } from '../../src/revocation/store.js'
import { UnavailableError } from '../../src/shared/errors.js'
import { becomesTrue, type Ground, newEmail, password, patienceMs, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { type OwnPostgres, startOwnPostgres } from '../fixtures/own-postgres.js'
import { findPgbouncer, startPgbouncer } from '../fixtures/pgbouncer.js'
import { findPostgresPrograms } from '../fixtures/postgres-programs.js'
import { createTestDatabase, findRedis, hasRedisServer, openSql, startRedis } from '../fixtures/servers.js'

const bin = findPostgresPrograms()
const redisUrl = await findRedis()

const groundAt = (
  url: string,
  poolSize = 10
): Ground =>
  ({
    name: 'PostgreSQL of its own',
    databaseUrl: url,
    redisUrl,
    healthy: false,
    prefix: `lkt:${Math.random().toString(36).slice(2)}:`,
    database: async () => createPostgres(url, poolSize)
  })

async function ownPostgres (t: Test, settings: string[] = []): Promise<OwnPostgres | null> {
  if (bin === null) {
    skipMissing(t, 'needs initdb and postgres: install PostgreSQL')
    return null
  }
  const server = await startOwnPostgres(bin, settings)
  t.teardown(server.stop)
  return server
}

t.test('TLS to PostgreSQL', async t => {
  const server = await ownPostgres(t)
  if (server === null) return
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const { ca, certificate, key, caFile } = makeCertificates(folder)
  server.place({ 'server.crt': certificate, 'server.key': key })
  const admin = createPostgres(server.url, 1)
  for (const setting of [
    sql`alter system set ssl_cert_file = 'server.crt'`,
    sql`alter system set ssl_key_file = 'server.key'`,
    sql`alter system set ssl = on`,
    sql`select pg_reload_conf()`
  ]) await admin.query(db => db.execute(setting))
  await admin.close()
  const otherFile = join(folder, 'other.pem')
  writeFileSync(otherFile, makeCertificates(mkdtempSync(join(folder, 'other-'))).ca)

  async function attempt (query: string, host = 'localhost'): Promise<string> {
    const url = server?.url.replace('127.0.0.1', host) + query
    const database = createPostgres(url, 1)
    try {
      const [row] = await database.prepared<{ ssl: boolean }>('select ssl from pg_stat_ssl where pid = pg_backend_pid()', [])
      return row?.ssl === true ? 'encrypted' : 'plain'
    } catch (error) {
      return (explainDatabase(loadConfig({ DATABASE_URL: url }), error) as Error).message
    } finally {
      await database.close()
    }
  }

  // PostgreSQL doesn't say when it has reloaded its settings.
  await becomesTrue(async () => await attempt(`?sslrootcert=${caFile}`) === 'encrypted', patienceMs)

  t.test('without sslmode nothing is encrypted', async t => {
    t.equal(await attempt(''), 'plain')
    t.equal(await attempt('?sslmode=disable'), 'plain')
  })

  t.test('V12.3.1, V12.3.2 a certificate that nobody vouches for is refused, whatever the mode, and the reason is told', async t => {
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      t.match(
        await attempt(`?sslmode=${mode}`),
        /at localhost:\d+ showed a certificate that cannot be verified \(\w+\): give the file of its CA as sslrootcert/,
        mode
      )
      t.match(await attempt(`?sslmode=${mode}&sslrootcert=${otherFile}`), /cannot be verified/, `${mode}, another CA`)
    }
  })

  t.test('with its CA it is accepted, for the name in the certificate only', async t => {
    for (const mode of [
      'require',
      'verify-ca',
      'verify-full'
    ]) t.equal(await attempt(`?sslmode=${mode}&sslrootcert=${caFile}`), 'encrypted', mode)
    t.equal(await attempt(`?sslrootcert=${caFile}`), 'encrypted', 'a CA alone means verify-full')
    t.match(
      await attempt(`?sslmode=verify-full&sslrootcert=${caFile}`, '127.0.0.1'),
      /ERR_TLS_CERT_ALTNAME_INVALID/,
      'an address that is not in it'
    )
    t.equal(await attempt(`?sslmode=verify-ca&sslrootcert=${caFile}`, '127.0.0.1'), 'encrypted', 'verify-ca asks for no name')
    t.equal(ca, readFileSync(caFile, 'utf8'))
  })

  t.test('modes that could fall back to plain text, and missing files, are refused by name', async t => {
    for (const [query, reason] of [
      ['?sslmode=prefer', /sslmode must be one of/],
      ['?sslmode=allow', /sslmode/],
      ['?sslmode=require&sslrootcert=/nowhere.pem', /sslrootcert cannot be read/]
    ] as const) {
      t.throws(() => connect(`postgres://u:secret@h/d${query}`, { max: 1 }), reason)
      t.throws(() => connect(`postgres://u:secret@h/d${query}`, { max: 1 }), ConfigError)
    }
  })

  t.test('a whole instance works over TLS', async t => {
    const { url } = await createTestDatabase(server.url)
    const one = await startApp(t, groundAt(`${url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full&sslrootcert=${caFile}`))
    const { token } = await one.account()
    t.equal((await one.me(token)).statusCode, 200)
    t.equal((await one.logout(token)).statusCode, 204)
    t.equal((await one.me(token)).statusCode, 401)
    await one.close()
  })
})

t.test('PgBouncer in transaction mode', async t => {
  const server = await ownPostgres(t)
  const program = findPgbouncer()
  if (server === null) return
  if (program === null) return skipMissing(t, 'needs pgbouncer: install it')
  const pgbouncer = await startPgbouncer(program, server.port)
  t.teardown(pgbouncer.stop)
  const through = (database: string) => `postgres://postgres@127.0.0.1:${pgbouncer.port}/${database}?prepare=false`

  t.test('prepared statements that it forgets are found before the first use, and told once', async t => {
    const lines: string[] = []
    const database = createPostgres(
      through('postgres').replace('?prepare=false', ''),
      5,
      { log: { warn: (_fields: object, text: string) => { lines.push(text) } } } as Parameters<typeof createPostgres>[2]
    )
    await database.migrate()
    const asked = Array.from({ length: 200 }, (_, n) => n)
    const answers = await Promise.all(asked.map(async n => await database.prepared('select $1::int4 as n', [n])))
    t.same(answers, asked.map(n => [{ n }]), 'each has its own answer, and none failed')
    t.match(lines, [/forgets prepared statements/])
    t.equal(lines.length, 1)
    await database.close()
  })

  t.test('no answer is lost where one connection has several statements to send', async t => {
    for (let round = 0; round < 20; round++) {
      const database = createPostgres(through('postgres'), 5)
      const asked = Array.from({ length: 100 }, (_, n) => n)
      const answers = await Promise.all(asked.map(async n => n % 10 === 0
        ? await database.prepared('select 0 as n', [])
        : await database.prepared('select $1::int4 as n', [n])))
      t.same(answers, asked.map(n => [{ n: n % 10 === 0 ? 0 : n }]))
      await database.close()
    }
  })

  const everything = [
    'bytea_output',
    'extra_float_digits',
    'IntervalStyle',
    'search_path',
    'statement_timeout',
    'lock_timeout',
    'idle_in_transaction_session_timeout',
    'default_transaction_isolation'
  ]

  t.test('settings that it neither passes on nor has are refused by name', async t => {
    const sql = openSql(server.url)
    await sql.unsafe('create database other')
    await sql.unsafe("alter database other set bytea_output = 'escape'")
    for (const ignored of [[], everything]) {
      const other = await startPgbouncer(program, server.port, ignored)
      t.teardown(other.stop)
      const database = createPostgres(`postgres://postgres@127.0.0.1:${other.port}/other`, 2)
      const error = await database.migrate().then(() => null, (error: unknown) => error)
      t.match(error, { statusCode: 503, problem: /^has bytea_output = escape: set it to hex for the role/ }, String(ignored))
      await database.close()
    }
    await sql.end()
  })

  t.test('a connection that it leads to a server connection with other settings is never used, and is refused by name', async t => {
    const sql = openSql(server.url)
    await sql.unsafe('create database changed')
    const other = await startPgbouncer(program, server.port, everything)
    t.teardown(other.stop)
    const lines: string[] = []
    const database = createPostgres(
      `postgres://postgres@127.0.0.1:${other.port}/changed`,
      5,
      { log: { warn: (_fields: object, text: string) => { lines.push(text) } } } as Parameters<typeof createPostgres>[2]
    )
    t.teardown(() => database.close())
    const occupied = 'select 1 as one from pg_sleep(0.5)'
    // Which opens a connection for each, and server connections that keep the settings of now.
    await Promise.all([1, 2].map(() => database.prepared(occupied, [])))
    await sql.unsafe("alter database changed set bytea_output = 'escape'")
    const answers = await Promise.all(Array.from({ length: 5 }, () => database.prepared(occupied, []).catch(error => error)))
    const refused = answers.filter(answer => !Array.isArray(answer))
    t.ok(refused.length > 0 && refused.length < 5, `${refused.length} of 5`)
    for (const error of refused) t.match(error, { statusCode: 503, detail: 'SETTINGS', problem: /^has bytea_output = escape: set it to hex/ })
    t.same(lines.filter(line => line.includes('bytea_output')).length, 1, String(lines))
    await sql.unsafe('alter database changed reset bytea_output')
    await sql.unsafe("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'changed'")
    const all = () => Promise.all(Array.from({ length: 5 }, () => database.prepared(occupied, []))).then(() => true, () => false)
    t.equal(await becomesTrue(all, patienceMs), true, 'once it is corrected, all five are used')
    await sql.end()
  })

  t.test('start-up parameters that it refuses are left out', async t => {
    const strict = await startPgbouncer(program, server.port, [])
    t.teardown(strict.stop)
    const url = `postgres://postgres@127.0.0.1:${strict.port}/postgres`
    const database = createPostgres(url, 2)
    t.same(await database.prepared('select 1 as one', []), [{ one: 1 }])
    await database.close()
    const asked = createPostgres(`${url}?options=-c%20geqo%3Doff`, 2)
    const error = await asked.prepared('select 1', []).then(() => null, (error: unknown) => error)
    t.match(error, { statusCode: 503, problem: /refuses options in DATABASE_URL/ }, 'those that the operator asked for are not')
    await asked.close()
  })

  t.test('instances that start together migrate once', async t => {
    const url = through('postgres')
    const databases = [1, 2, 3].map(() => createPostgres(url, 2))
    await Promise.all(databases.map(database => database.migrate()))
    t.same(await databases[0]?.prepared("select count(*)::int as n from secrets where name = 'password'", []), [{ n: 1 }])
    await Promise.all(databases.map(database => database.close()))
  })

  t.test('two instances register, read, refresh and revoke through it', async t => {
    const ground = groundAt(through('postgres'))
    const [one, two] = [await startApp(t, ground), await startApp(t, ground)]
    t.equal(await becomesTrue(() => one.epoch.state() === 'trusted', patienceMs), true, 'the poll works through it too')
    const email = newEmail()
    const { accessToken, refreshToken } = (await one.register(email, { refresh: true })).json()
    for (let i = 0; i < 30; i++) t.equal(
      (await Promise.all([one.me(accessToken), two.me(accessToken)])).every(reply => reply.statusCode === 200),
      true
    )
    const refreshed = await two.call('POST', '/v1/refresh', { body: { refreshToken } })
    t.equal(refreshed.statusCode, 200, refreshed.body)
    await Promise.all(Array.from({ length: 20 }, async () => {
      const { token } = await one.account()
      t.equal((await two.me(token)).statusCode, 200)
      t.equal((await two.logout(token)).statusCode, 204)
      t.equal((await one.me(token)).statusCode, 401)
    }))
    const { database } = one
    await database.query(db => db.execute(sql`update sessions set last_used_at = last_used_at`))
    t.equal((await one.call('POST', '/v1/logout-all', { token: refreshed.json().accessToken })).statusCode, 204)
    for (const instance of [one, two]) t.equal((await instance.me(accessToken)).statusCode, 401)
    t.match(await one.prune({ dryRun: false }), { skipped: false })
    await Promise.all([one.close(), two.close()])
  })
})

t.test('PostgreSQL restarted under load: 503 with Retry-After, then recovery without a restart, and nothing that was answered is lost', async t => {
  const server = await ownPostgres(t)
  if (server === null) return
  const { url } = await createTestDatabase(server.url)
  const one = await startApp(t, groundAt(url))
  const { token } = await one.account()
  const made: string[] = []
  const seen = new Map<number, number>()
  let running = true
  const others: string[] = []
  async function work (): Promise<void> {
    while (running) {
      const reply = await one.register(newEmail())
      seen.set(reply.statusCode, (seen.get(reply.statusCode) ?? 0) + 1)
      if (reply.statusCode === 201) made.push(reply.json().accessToken)
      else if (reply.statusCode !== 503 || reply.headers['retry-after'] === undefined) others.push(`${reply.statusCode} ${reply.body}`)
      const read = await one.me(token)
      if (read.statusCode !== 200 && read.statusCode !== 503) others.push(`me: ${read.statusCode}`)
      await delay(5)
    }
  }
  const workers = Array.from({ length: 8 }, work)
  await delay(500)
  for (let i = 0; i < 2; i++) {
    const before = made.length
    await server.halt()
    await delay(1_700)
    t.equal((await one.me(token)).statusCode, 503, 'once the last poll is too old, cached answers are no longer used')
    await server.resume()
    t.equal(await becomesTrue(() => made.length > before + 10, 60_000), true, 'registrations resume without a restart')
  }
  running = false
  await Promise.all(workers)
  t.same(others, [], 'nothing but 201, and 503 with Retry-After; never 401 or 500')
  t.ok((seen.get(503) ?? 0) > 0 && made.length > 20, `${made.length} registered, ${seen.get(503)} times 503`)
  for (const survivor of made) if ((await one.me(survivor)).statusCode !== 200) t.fail('an account that was answered 201 is lost')
  t.equal(await becomesTrue(() => one.epoch.state() === 'trusted', patienceMs), redisUrl !== null)
  await one.close()
})

t.test('a primary that became a standby answers 503, and works again once it is promoted', async t => {
  const primary = await ownPostgres(t, ['wal_level=replica', 'hot_standby=on'])
  if (primary === null) return
  const { url } = await createTestDatabase(primary.url)
  const first = await startApp(t, { ...groundAt(url), prefix: 'lkt:standby:' })
  const { token, email } = await first.account()
  await first.close()
  const standby = await primary.follow()
  t.teardown(standby.stop)
  const caughtUp = createPostgres(url.replace(String(primary.port), String(standby.port)), 1)
  t.equal(
    await becomesTrue(async () => (await caughtUp.prepared('select 1 from users where email = $1', [email])).length === 1, 60_000),
    true
  )
  await caughtUp.close()

  const standbyUrl = url.replace(String(primary.port), String(standby.port))
  const pauser = openSql(standbyUrl)
  await pauser`select pg_wal_replay_pause()`
  const writer = await startApp(t, groundAt(url))
  const { token: unseen } = await writer.account()
  await writer.close()
  const lagging = createPostgres(standbyUrl, 1)
  const epochStore = createEpochStore(lagging)
  await t.rejects(epochStore.waiting([randomUUID()]), UnavailableError, 'that a settlement is missing there says nothing')
  await epochStore.close()
  await lagging.close()

  const one = await startApp(t, groundAt(standbyUrl), { backend: real => real })
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const calls: Array<[string, () => ReturnType<TestApp['me']>]> = [
    ['revoke what the standby lacks', () => one.call('POST', '/oauth/revoke', { body: `token=${unseen}`, headers: form })],
    ['ready', () => one.call('GET', '/health/ready')],
    ['me', () => one.me(token)],
    ['login', () => one.login(email)],
    ['register', () => one.register()],
    ['logout', () => one.logout(token)],
    ['sessions', () => one.call('GET', '/v1/sessions', { token })]
  ]
  for (const [name, call] of calls) {
    const reply = await call()
    t.equal(reply.statusCode, 503, `${name}: ${reply.body}`)
    t.ok(reply.headers['retry-after'], name)
  }
  t.equal(await becomesTrue(() => one.epoch.state() === 'database-standby', patienceMs), true)
  await pauser`select pg_wal_replay_resume()`
  await pauser.end()
  await standby.promote()
  t.equal(await becomesTrue(async () => (await one.me(token)).statusCode === 200, 60_000), true, 'once it is the primary')
  t.equal((await one.login(email, { password })).statusCode, 200)
  t.equal((await one.me(token)).statusCode, 401, 'which ended the first session')
  await one.close()
})

t.test('an exhausted pool answers 503 and does not hang', async t => {
  const server = await ownPostgres(t)
  if (server === null || !hasRedisServer) return
  const redis = await startRedis()
  t.teardown(() => redis.kill())
  const { url } = await createTestDatabase(server.url)
  const one = await startApp(t, { ...groundAt(url, 1), redisUrl: redis.url })
  const { token } = await one.account()
  const holder = createPostgres(url, 1)
  let release = () => {}
  let locked = false
  const held = holder.transaction(async tx => {
    await within(tx).execute(sql`select set_config('idle_in_transaction_session_timeout', '0', true)`)
    await within(tx).execute(sql`lock table users in access exclusive mode`)
    locked = true
    await new Promise<void>(resolve => { release = resolve })
  }, 60_000).catch(() => {})
  t.equal(await becomesTrue(() => locked, 60_000), true)
  const startedAt = performance.now()
  const replies = await Promise.all(Array.from({ length: 120 }, () => one.login(newEmail())))
  const tookMs = performance.now() - startedAt
  release()
  await held
  await holder.close()
  t.ok(replies.every(reply => reply.statusCode === 503), `${[...new Set(replies.map(reply => reply.statusCode))]}`)
  t.ok(tookMs < 30_000, `all were answered within ${Math.round(tookMs)} ms`)
  t.equal(await becomesTrue(async () => (await one.me(token)).statusCode === 200, 60_000), true, 'and the pool works again')
  await one.close()
})

/** A CA, and a certificate for "localhost" signed by it. */
function makeCertificates (folder: string): { ca: string, certificate: string, key: string, caFile: string } {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  writeFileSync(join(folder, 'san'), 'subjectAltName=DNS:localhost')
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=Test CA',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem'
  )
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    '/CN=localhost',
    '-keyout',
    'server.key',
    '-out',
    'server.csr'
  )
  openssl(
    'x509',
    '-req',
    '-in',
    'server.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'san',
    '-out',
    'server.crt'
  )
  const text = (name: string) => readFileSync(join(folder, name), 'utf8')
  return { ca: text('ca.pem'), certificate: text('server.crt'), key: text('server.key'), caFile: join(folder, 'ca.pem') }
}
