import t, { type Test } from 'tap'
import { users } from '../../db/schema.js'
import { loadConfig } from '../../src/config/config.js'
import { parseBytea } from '../../src/database/bytea.js'
import { connect } from '../../src/database/connect.js'
import { within } from '../../src/database/database.js'
import { explainDatabase } from '../../src/database/open.js'
import { createPostgres } from '../../src/database/postgres.js'
import { requireSettings } from '../../src/database/server-check.js'
import type { Log } from '../../src/observability/logger.js'
import { createEpochStore } from '../../src/revocation/store.js'
import { createTokenLookUp } from '../../src/tokens/lookup-store.js'
import { becomesTrue, newEmail, password, patienceMs, serverGround, startApp } from '../fixtures/app.js'
import { openSql } from '../fixtures/servers.js'

/** A database that has `settings` as its defaults. */
async function databaseWith (t: Test, settings: Record<string, string>) {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return null
  const name = new URL(ground.databaseUrl).pathname.slice(1)
  const sql = openSql(ground.databaseUrl)
  t.teardown(() => sql.end({ timeout: 1 }))
  for (const [setting, value] of Object.entries(settings)) await sql.unsafe(`alter database ${name} set ${setting} = '${value}'`)
  return { ...ground, url: ground.databaseUrl, sql }
}

/** What `work` rejects with; null if it doesn't reject. */
const failure = (work: Promise<unknown>) => work.then(() => null, (error: unknown) => error)

t.test('whatever the defaults of a database, what is written is what is read', async t => {
  const ground = await databaseWith(t, {
    bytea_output: 'escape', datestyle: 'Postgres, MDY', timezone: 'Asia/Tokyo', intervalstyle: 'sql_standard', extra_float_digits: '-15',
    default_transaction_isolation: 'repeatable read', search_path: 'pg_catalog'
  })
  if (ground === null) return
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  const email = newEmail()
  const before = Date.now()
  const { accessToken, refreshToken, session } = (await one.register(email, { refresh: true })).json()
  t.ok(Math.abs(Date.parse(session.createdAt) - before) < 60_000, `created at ${session.createdAt}`)
  t.equal((await one.me(accessToken)).statusCode, 200)
  t.equal((await one.login(email, { password })).statusCode, 200, 'keys are read as they were written')
  t.equal((await one.call('POST', '/v1/refresh', { body: { refreshToken } })).statusCode, 200)
  const { token } = await one.account()
  t.ok(await one.cached(token))
  t.equal((await one.logout(token)).statusCode, 204)
  t.equal((await one.me(token)).statusCode, 401, 'the cache entry of that exact hash was overwritten')
  t.equal(one.counters.bumps, 0)
})

t.test('a setting that cannot be overridden is refused by name, at startup and on new connections', async t => {
  const ground = await databaseWith(t, { default_transaction_read_only: 'on' })
  if (ground === null) return
  const lines: string[] = []
  const database = createPostgres(
    ground.url,
    2,
    { log: { warn: (_fields: object, text: string) => { lines.push(text) } } } as Parameters<typeof createPostgres>[2]
  )
  t.teardown(() => database.close())
  for (let i = 0; i < 2; i++) {
    const error = await failure(database.migrate())
    t.match(
      explainDatabase(loadConfig({ DATABASE_URL: ground.url }), error),
      {
        name: 'DatabaseUnreachableError',
        message: /^PostgreSQL at \S+ has default_transaction_read_only = on: set it to off for the database and the role/
      }
    )
  }
  t.equal(lines.length, 1, 'one line for the operator')

  await ground.sql.unsafe(`alter database ${new URL(ground.url).pathname.slice(1)} reset default_transaction_read_only`)
  t.same(await database.prepared('select 1 as one', []), [{ one: 1 }], 'once it is corrected')

  await ground.sql.unsafe(`alter database ${new URL(ground.url).pathname.slice(1)} set default_transaction_read_only = on`)
  await ground.sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'latchkey' and datname = current_database()`
  const refused = async () => (await failure(database.prepared('select 1', [])) as { detail?: string } | null)?.detail === 'SETTINGS'
  await failure(database.prepared('select 1', []))
  t.ok(await becomesTrue(refused, patienceMs), 'new connections are checked')
})

t.test('each setting that reading rests on is refused by name, where a pooler let another value through', async t => {
  const ground = await databaseWith(t, {})
  if (ground === null) return
  const name = new URL(ground.url).pathname.slice(1)
  const wrong = {
    default_transaction_read_only: 'on', default_transaction_isolation: 'repeatable read', bytea_output: 'escape', DateStyle: 'German, DMY',
    TimeZone: 'Asia/Tokyo', IntervalStyle: 'sql_standard', extra_float_digits: '-15', standard_conforming_strings: 'off', search_path: 'pg_catalog'
  }
  for (const [setting, value] of Object.entries(wrong)) {
    await ground.sql.unsafe(`alter database ${name} set ${setting} = '${value}'`)
    const client = connect(ground.url, { max: 1, settings: false })
    const problem = ((await failure(requireSettings(client, 'public'))) as { problem?: string } | null)?.problem ?? ''
    t.match(problem, setting === 'search_path' ? /^has current_schema = pg_catalog: set search_path to public/ : `has ${setting} = ${value}: set it to`)
    await client.end()
    await ground.sql.unsafe(`alter database ${name} reset ${setting}`)
  }
})

t.test('each connection that is opened is checked before its first statement', async t => {
  const ground = await databaseWith(t, {})
  if (ground === null) return
  const name = new URL(ground.url).pathname.slice(1)
  const lines: string[] = []
  const log = { warn: (_fields: object, text: string) => { lines.push(text) } } as unknown as Log
  const database = createPostgres(ground.url, 2, { log })
  t.teardown(() => database.close())
  await database.prepared('select 1', [])
  await ground.sql.unsafe(`alter database ${name} set default_transaction_read_only = on`)
  await database.transaction(async () => {
    // The only connection is in use, so this opens another one.
    for (let i = 0; i < 2; i++) t.match(await failure(database.prepared('select 1 as one', [])), { statusCode: 503, detail: 'SETTINGS' })
    t.match(lines, [/^PostgreSQL has default_transaction_read_only = on: set it to off/])
    t.equal(lines.length, 1)
    await ground.sql.unsafe(`alter database ${name} reset default_transaction_read_only`)
    t.same(await database.prepared('select 1 as one', []), [{ one: 1 }], 'once it is corrected')
  })
  const answers = await Promise.all(Array.from({ length: 50 }, () => database.prepared('select 1 as one', [])))
  t.equal(answers.length, 50)
})

t.test('a database that cannot store every character is refused at startup', async t => {
  const ground = await databaseWith(t, {})
  if (ground === null) return
  const name = `${new URL(ground.url).pathname.slice(1)}_latin1`
  await ground.sql.unsafe(`create database ${name} template template0 encoding 'LATIN1' locale 'C'`)
  t.teardown(() => ground.sql.unsafe(`drop database ${name} with (force)`))
  const url = new URL(ground.url)
  url.pathname = `/${name}`
  const database = createPostgres(url.href, 1)
  t.match(
    await failure(database.migrate()),
    { statusCode: 503, problem: "has server_encoding = LATIN1: create the database with ENCODING 'UTF8'" }
  )
  await database.close()
})

t.test('transactions are READ COMMITTED, whatever the session is set to by then', async t => {
  const ground = await databaseWith(t, {})
  if (ground === null) return
  const database = createPostgres(ground.url, 1)
  t.teardown(() => database.close())
  await database.prepared("select set_config('default_transaction_isolation', 'repeatable read', false)", [])
  await database.transaction(async tx => {
    const [row] = await within(tx).execute("select current_setting('transaction_isolation') as level") as unknown as [{ level: string }]
    t.equal(row.level, 'read committed')
  })
})

t.test('a time in a format other than ISO is answered with 503', async t => {
  const ground = await databaseWith(t, {})
  if (ground === null) return
  const database = createPostgres(ground.url, 1)
  t.teardown(() => database.close())
  await ground.sql`insert into users (id, email, password_hash, created_at) values (gen_random_uuid(), 'ada@example.com', '', '2026-02-01T00:00:00Z')`
  const read = () => database.query(db => db.select({ at: users.createdAt }).from(users))
  t.same(await read(), [{ at: new Date('2026-02-01T00:00:00Z') }])
  for (const style of ['German', 'SQL, MDY', 'Postgres, MDY']) {
    const reading = database.transaction(async tx => {
      await within(tx).execute(`set local datestyle = '${style}'`)
      return await within(tx).select({ at: users.createdAt }).from(users)
    })
    t.match(await failure(reading), { statusCode: 503, detail: 'CONNECTION_SETTINGS' }, style)
  }
})

t.test('a bump and a registration are durable even where the server does not wait for the disk', async t => {
  const ground = await databaseWith(t, { synchronous_commit: 'off' })
  if (ground === null) return
  const database = createPostgres(ground.url, 1)
  t.teardown(() => database.close())
  // A deferred trigger runs at the COMMIT, and sees the setting that applies to it.
  await ground.sql.unsafe(`
    create table commits (setting text);
    create function note_commit () returns trigger language plpgsql as $$ begin insert into commits values (current_setting('synchronous_commit')); return null; end $$;
    create constraint trigger noted after update on cache_epoch deferrable initially deferred for each row execute function note_commit ()`)
  const store = createEpochStore(database)
  t.teardown(() => store.close())
  await store.bump()
  const { generation } = await store.poll(5_000)
  t.equal(await store.register('another', generation, 5_000), true)
  t.same((await ground.sql`select setting from commits`).map(row => row.setting), ['on', 'on'])
  t.same(
    await database.prepared("select current_setting('synchronous_commit') as setting", []),
    [{ setting: 'off' }],
    'other statements keep the default'
  )
})

t.test('a look-up rejects the answer to another query', async t => {
  const hash = 'ab'.repeat(32)
  const answering = (row: object) =>
    createTokenLookUp(
      {
        prepared: async <Row>(
          _text: string,
          [, question]: unknown[]
        ) => [{ standby: false, question, hash: null, json: '', ...row }] as Row[]
      },
      null
    )
  t.equal((await answering({}).find([hash], 0)).size, 0)
  t.match(await failure(answering({ hash: 'cd'.repeat(32) }).find([hash], 0)), { statusCode: 503 }, 'a row for a hash nobody asked for')
  t.match(await failure(answering({ question: '0' }).find([hash], 0)), { statusCode: 503 }, 'the empty result of another look-up')
})

t.test('bytea is read the same in both of its formats', async t => {
  const ground = await databaseWith(t, {})
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  t.same(parseBytea(`\\x${bytes.toString('hex')}`), bytes)
  t.same(parseBytea(''), Buffer.alloc(0))
  if (ground === null) return
  await ground.sql.unsafe("set bytea_output = 'escape'")
  for (const value of [bytes, Buffer.from('\\x00'), Buffer.from('\\134')]) {
    const [row] = await ground.sql.unsafe('select $1::bytea::text as text', [value])
    t.same(parseBytea(row?.text), value)
  }
})
