import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { migrationHashes } from '../../db/migrate.js'
import { createPostgres } from '../../src/database/postgres.js'
import { becomesTrue, patienceMs, serverGround, startApp } from '../fixtures/app.js'
import { openSql } from '../fixtures/servers.js'

/** Migrations run while instances of the previous version are serving: CONTRIBUTING says what follows from that. */

const folder = new URL('../../db/migrations/', import.meta.url)
const files = readdirSync(folder).filter(name => name.endsWith('.sql')).sort()
/** Written before there was a release that could run alongside them. */
const beforeRelease = files.slice(0, 5)

const rules: Array<[reason: string, pattern: RegExp]> = [
  ['what the version before reads or writes is gone', /\bDROP (TABLE|COLUMN|SCHEMA|TYPE|VIEW|FUNCTION)\b/i],
  ['the version before knows it by its old name', /\bRENAME\b/i],
  ['the table is rewritten, and nobody reads it meanwhile', /\bALTER COLUMN\b.*\b(SET DATA )?TYPE\b/i],
  ['the version before leaves it empty', /\bSET NOT NULL\b/i],
  ['the version before leaves it empty', /\bADD COLUMN\b(?!.*\bDEFAULT\b).*\bNOT NULL\b/i],
  ['the table is rewritten: the default is another one for each row', /\bADD COLUMN\b.*\bDEFAULT\b.*\(/i],
  ['the version before relies on it', /\bDROP (DEFAULT|CONSTRAINT|INDEX)\b/i],
  [
    'the version before may write what it refuses, and every row is checked under a lock: NOT VALID first',
    /^ALTER TABLE\b.*\bADD CONSTRAINT\b(?!.*\bNOT VALID\b)/i
  ],
  ['every row is checked under a lock', /\bADD COLUMN\b.*\b(UNIQUE|REFERENCES|CHECK)\b/i],
  ['where there are many rows it has to be there before, made CONCURRENTLY: IF NOT EXISTS', /^CREATE (UNIQUE )?INDEX (?!IF NOT EXISTS\b)/i],
  ['no index can be made CONCURRENTLY in the transaction of a migration', /\bCONCURRENTLY\b/i],
  ['all rows at once: nobody else writes them meanwhile', /^(UPDATE|DELETE|TRUNCATE)\b/i],
  ['it would wait for everybody, and everybody for it', /^(LOCK|VACUUM|CLUSTER|REINDEX)\b/i]
]

/** Statements that are allowed anyway, with the version since which nothing needs what they remove. */
const excused = new Map<string, string>([])

/** What in `text` endangers instances that are serving; tables created in the same file are not in use yet. */
function dangers (text: string): string[] {
  const statements = text.split(/--> statement-breakpoint|;\s*$/m).map(statement =>
    statement.replace(/^\s*--.*$/gm, '').replace(/\s+/g, ' ').trim())
    .filter(statement => statement !== '')
  const made = new Set(statements.map(statement => /^CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)"?/i.exec(statement)?.[1]).filter(name =>
    name !== undefined))
  return statements.flatMap(statement => {
    const [, table] = /^(?:ALTER TABLE|CREATE (?:UNIQUE )?INDEX .*? ON) (?:ONLY )?"?(\w+)"?/i.exec(statement) ?? []
    if (excused.has(statement) || (table !== undefined && made.has(table))) return []
    return rules.filter(([, pattern]) => pattern.test(statement)).map(([reason]) => `${statement}: ${reason}`)
  })
}

t.test('a migration lets the previous version keep working', async t => {
  for (const file of files.filter(name => !beforeRelease.includes(name))) t.strictSame(
    dangers(readFileSync(new URL(file, folder), 'utf8')),
    [],
    file
  )
})

t.test('a migration that would not is detected', async t => {
  for (const statement of [
    'DROP TABLE "users";', 'ALTER TABLE "tokens" DROP COLUMN "name";', 'ALTER TABLE "tokens" RENAME COLUMN "name" TO "title";', 'ALTER TABLE "users" RENAME TO "accounts";',
    'ALTER TABLE "tokens" ALTER COLUMN "kind" SET DATA TYPE uuid;', 'ALTER TABLE "tokens" ALTER COLUMN "name" SET NOT NULL;', 'ALTER TABLE "tokens" ADD COLUMN "x" text NOT NULL;', 'ALTER TABLE "tokens" ADD COLUMN "x" uuid DEFAULT gen_random_uuid() NOT NULL;',
    'ALTER TABLE "tokens" ALTER COLUMN "kind" DROP DEFAULT;', 'ALTER TABLE "users" DROP CONSTRAINT "users_email_unique";', 'DROP INDEX "tokens_user_id";', 'ALTER TABLE "tokens" ADD CONSTRAINT "x" CHECK (kind <> \'\');', 'ALTER TABLE "tokens" ADD COLUMN "x" uuid REFERENCES "users" ("id");',
    'CREATE INDEX "x" ON "tokens" ("name");', 'CREATE UNIQUE INDEX "x" ON "tokens" ("name");', 'CREATE INDEX CONCURRENTLY IF NOT EXISTS "x" ON "tokens" ("name");',
    'UPDATE "tokens" SET "name" = \'\';', 'DELETE FROM "tokens";', 'LOCK TABLE "tokens";', '-- why\nDROP TABLE "users";', 'CREATE TABLE "a" ("id" uuid);--> statement-breakpoint\nCREATE INDEX "x" ON "tokens" ("name");'
  ]) t.equal(dangers(statement).length > 0, true, statement)
  for (const statement of [
    'ALTER TABLE "tokens" ADD COLUMN "x" text;', 'ALTER TABLE "tokens" ADD COLUMN "x" boolean DEFAULT false NOT NULL;', 'CREATE INDEX IF NOT EXISTS "x" ON "tokens" ("name");', 'ALTER TABLE "tokens" ALTER COLUMN "user_id" DROP NOT NULL;',
    'CREATE TABLE "a" ("id" uuid PRIMARY KEY NOT NULL);--> statement-breakpoint\nCREATE INDEX "a_x" ON "a" ("id");--> statement-breakpoint\nALTER TABLE "a" ADD CONSTRAINT "a_y" FOREIGN KEY ("id") REFERENCES "users"("id");', 'ALTER TABLE "tokens" ADD CONSTRAINT "x" CHECK (kind <> \'\') NOT VALID;'
  ]) t.strictSame(dangers(statement), [], statement)
})

t.test('with PostgreSQL', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return
  const url = ground.databaseUrl
  const sql = openSql(url, { max: 2 })
  t.teardown(() => sql.end({ timeout: 1 }))

  t.test('a running instance and a starting one both work with the schema of a later version', async t => {
    const running = await startApp(t, ground)
    const before = await running.account({ refresh: true })
    t.equal((await running.me(before.token)).statusCode, 200)
    for (const table of ['users', 'sessions', 'tokens', 'events', 'cache_epoch', 'cache_settlements']) {
      await sql.unsafe(`alter table ${table} add column newer text, add column newest boolean default false not null`)
    }
    await sql.unsafe('create table newer (id uuid primary key references users (id))')
    await sql`insert into latchkey_migrations (hash) values ('of a later version')`

    const starting = await startApp(t, ground)
    await starting.database.migrate()
    for (const app of [running, starting]) {
      const { token, email } = await app.account({ refresh: true })
      const { accessToken, refreshToken } = (await app.login(email, { refresh: true })).json<{
        accessToken: string
        refreshToken: string
      }>()
      t.equal((await app.me(token)).statusCode, 401, 'the login ended it')
      const refreshed = await app.call('POST', '/v1/refresh', { body: { refreshToken } })
      t.equal(refreshed.statusCode, 200, refreshed.body)
      t.equal((await app.logout(accessToken)).statusCode, 204)
      t.equal((await running.me(accessToken)).statusCode, 401)
    }
    t.equal((await starting.me(before.token)).statusCode, 200, 'a token from before')
  })

  t.test('a migration that would wait for a table lets other queries through, and tries again', async t => {
    await sql`delete from latchkey_migrations where hash = ${migrationHashes()[5] as string}`
    await sql`drop index users_admins`
    const database = createPostgres(url, 1)
    t.teardown(() => database.close())
    let release = () => {}
    let migrated = false
    let held = false
    const holding = sql.begin(async tx => {
      await tx`update users set name = name`
      held = true
      await new Promise<void>(resolve => { release = resolve })
    })
    await becomesTrue(() => held, patienceMs)
    const migrating = database.migrate().then(() => { migrated = true })
    t.equal(
      await becomesTrue(
        async () =>
          (await sql`select from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'create index%' and datname = current_database()`).length === 1,
        patienceMs
      ),
      true,
      'it waits'
    )
    const startedAt = performance.now()
    await sql`update users set name = name where false`
    t.ok(performance.now() - startedAt < 20_000, 'a query behind it does not wait long')
    t.equal(migrated, false)
    release()
    await holding
    await migrating
    t.equal((await sql`select from pg_indexes where indexname = 'users_admins'`).length, 1, 'then it is done')
  })
})
