import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as migrateByDrizzle } from 'drizzle-orm/postgres-js/migrator'
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { migrationHashes } from '../../db/migrate.js'
import { loadConfig } from '../../src/config/config.js'
import { NoDatabaseError, openExisting, openMigrated } from '../../src/database/open.js'
import { createPostgres } from '../../src/database/postgres.js'
import { createRetentionStore } from '../../src/retention/store.js'
import { type Ground, newEmail, serverGround, startApp } from '../fixtures/app.js'
import { createEmptyDatabase, findPostgres, openSql } from '../fixtures/servers.js'

/** A database that others use too: other applications, an earlier version, another installation, a role that may not change tables. */

const folder = fileURLToPath(new URL('../../db/migrations', import.meta.url))

async function emptyDatabase (t: Test): Promise<{ url: string, sql: Sql } | null> {
  const server = await findPostgres()
  if (server === null) return null
  const url = await createEmptyDatabase(t, server)
  const sql = openSql(url)
  t.teardown(() => sql.end({ timeout: 1 }))
  return { url, sql }
}

async function migrateAt (url: string, schema?: string): Promise<void> {
  const database = createPostgres(url, 1, schema === undefined ? {} : { schema })
  try {
    await database.migrate()
  } finally {
    await database.close()
  }
}

const journalOf = async (sql: Sql) => (await sql`select hash from latchkey_migrations`).map(({ hash }) => hash as string).sort()

t.test('tables are made beside those of another application with drizzle, whose journal says later dates', async t => {
  const place = await emptyDatabase(t)
  if (place === null) return
  const { url, sql } = place
  await sql.unsafe('create schema drizzle')
  await sql.unsafe('create table drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)')
  await sql`insert into drizzle.__drizzle_migrations (hash, created_at) values ('of another application', ${Date.now() + 86_400_000})`
  await migrateAt(url)
  t.strictSame(await journalOf(sql), migrationHashes().sort())
  t.equal((await sql`select from secrets`).length, 3, 'the tables and keys are there')
  t.equal((await sql`select from drizzle.__drizzle_migrations`).length, 1, 'its journal is as it was')
})

t.test('tables of an earlier version, which kept drizzle\'s journal, get what they lack and nothing twice', async t => {
  const place = await emptyDatabase(t)
  if (place === null) return
  const { url, sql } = place
  const earlier = mkdtempSync(join(tmpdir(), 'latchkey-migrations-'))
  t.teardown(() => rmSync(earlier, { recursive: true }))
  cpSync(folder, earlier, { recursive: true })
  const file = join(earlier, 'meta/_journal.json')
  const journal = JSON.parse(readFileSync(file, 'utf8')) as { entries: unknown[] }
  writeFileSync(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, 7) }))
  await migrateByDrizzle(drizzle(sql), { migrationsFolder: earlier })
  await sql`insert into users (id, email, password_hash, created_at) values (gen_random_uuid(), 'anna@example.com', 'none', now())`

  await migrateAt(url)
  t.strictSame(await journalOf(sql), migrationHashes().sort())
  t.equal((await sql`select from users`).length, 1)
  t.equal((await sql`select from drizzle.__drizzle_migrations`).length, 7, 'the earlier version still finds its own')
  await migrateAt(url)
  t.strictSame(await journalOf(sql), migrationHashes().sort(), 'and a second start changes nothing')
})

t.test('a role that may only read and write rows', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return
  const owner = openSql(ground.databaseUrl)
  const role = `latchkey_test_${randomBytes(6).toString('hex')}`
  t.teardown(async () => {
    await owner.unsafe(`drop owned by ${role}; drop role ${role}`).simple()
    await owner.end({ timeout: 1 })
  })
  await owner.unsafe(`
    create role ${role} login;
    grant select, insert, update, delete on all tables in schema public to ${role};
    grant usage on all sequences in schema public to ${role}`).simple()
  const url = new URL(ground.databaseUrl)
  url.username = role

  t.test('can run a server', async t => {
    const config = loadConfig({ DATABASE_URL: url.href, REDIS_URL: ground.redisUrl as string })
    const one = await startApp(t, { ...ground, databaseUrl: url.href, database: () => openMigrated(config, 'server') })
    const { token, email } = await one.account()
    t.equal((await one.me(token)).statusCode, 200)
    t.equal((await one.login(email)).statusCode, 200)
    t.equal((await one.me(token)).statusCode, 401)
    await one.close()
  })

  t.test('is told what to do where migrations are missing', async t => {
    await owner`delete from latchkey_migrations where hash = ${migrationHashes().at(-1) as string}`
    const starting = openMigrated(loadConfig({ DATABASE_URL: url.href }), 'server')
    await t.rejects(starting, {
      name: 'OtherVersionError',
      message: /may not change tables, and 1 of \d+ migrations are missing: run npm run db:migrate as the owner/
    })
  })
})

t.test('DATABASE_SCHEMA', async t => {
  const ground = await serverGround(t)
  const place = await emptyDatabase(t)
  if (ground === null || place === null) return
  const { url, sql } = place
  const groundIn = (schema: string): Ground => ({ ...ground, databaseUrl: url, database: async () => createPostgres(url, 4, { schema }) })
  const configOf = (schema: string) => loadConfig({ DATABASE_URL: url, DATABASE_SCHEMA: schema })

  t.test('a command makes no schema', async t => {
    await t.rejects(openExisting(configOf('other')), NoDatabaseError)
    await t.rejects(openExisting(configOf('other')), /schema other has no tables/)
    t.equal((await sql`select from pg_namespace where nspname = 'other'`).length, 0)
  })

  t.test('two installations share a database, a Redis and a prefix, and know nothing of each other', async t => {
    await Promise.all(['one', 'user'].map(schema => migrateAt(url, schema)))
    const [tables] = await sql`select count(*)::int as n from pg_tables where schemaname = 'public'`
    t.equal(tables?.n, 0, 'nothing is in public')
    const foreign = await sql`
      select from pg_constraint where contype = 'f' and connamespace <> (select relnamespace from pg_class where oid = confrelid)`
    t.equal(foreign.length, 0, 'tables refer to those of their own schema')

    const [one, other] = [await startApp(t, groundIn('one')), await startApp(t, groundIn('user'))]
    const email = newEmail()
    const [mine, theirs] = [await one.register(email), await other.register(email)].map(reply => {
      t.equal(reply.statusCode, 201, reply.body)
      return reply.json<{ accessToken: string }>().accessToken
    }) as [string, string]
    for (const [app, token] of [[one, mine], [other, theirs]] as const) t.equal(await app.cached(token), true)
    t.equal((await other.me(mine)).statusCode, 401)
    t.equal((await one.me(theirs)).statusCode, 401)
    t.equal((await one.logout(mine)).statusCode, 204)
    t.equal((await one.me(mine)).statusCode, 401)
    t.equal((await other.me(theirs)).statusCode, 200)
    t.equal(one.epoch.trust() !== null && other.epoch.trust() !== null, true, 'both use the cache')

    await sql.begin(async tx => {
      await tx`select pg_advisory_xact_lock(7402319)`
      t.not(await createRetentionStore(other.database).delete(new Date(0), 1), null, 'each prunes by itself')
    })
    await one.close()
    await other.close()
  })

  t.test('tables move there as DEPLOYING says, and tokens live on', async t => {
    const before = await startApp(t, ground)
    const { token } = await before.account()
    await before.close()
    const text = readFileSync(new URL('../../docs/DEPLOYING.md', import.meta.url), 'utf8')
    const [, statements] = /```sql\n(create schema latchkey;.*?)```/s.exec(text) ?? []
    const owner = openSql(ground.databaseUrl as string)
    await owner.unsafe(statements as string).simple()
    const left = await owner`select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'S')`
    t.strictSame([...left], [], 'nothing of ours is left')
    await owner.end({ timeout: 1 })
    await migrateAt(ground.databaseUrl as string, 'latchkey')
    const moved = await startApp(t, { ...ground, database: async () => createPostgres(ground.databaseUrl as string, 4, { schema: 'latchkey' }) })
    t.equal((await moved.me(token)).statusCode, 200)
    t.equal((await moved.logout(token)).statusCode, 204)
    t.equal((await moved.me(token)).statusCode, 401)
    await moved.close()
  })

  t.test('a name that PostgreSQL would read as another one is refused', async t => {
    for (const name of ['Mixed', 'pg_own', 'information_schema', 'a b', '1st', 'a"; drop schema public; --', 'x'.repeat(64)]) {
      t.throws(() => configOf(name), /DATABASE_SCHEMA/, name)
    }
    t.equal(configOf('latchkey_2').databaseSchema, 'latchkey_2')
  })
})
