import type { Sql } from 'postgres'
import type { TokenMint } from '../../src/tokens/token.js'

/** Sessions per user: the first has long ended, the last two are live. */
const sessionsEach = 4

/** A live token of a user used only for this measurement. */
export interface Sample { email: string, userId: string, sessionId: string, token: string }

interface Definition { table: string, name: string, text: string }

/**
 * Inserts users, sessions and `rows` tokens with one statement each: four tokens per user, created over 41 days, so that a tenth is past
 * expiry and retention, and one in twenty of the newest revoked. `picked` users get tokens that are returned. Indexes and constraints are
 * dropped meanwhile and then restored.
 */
export async function fill (
  sql: Sql,
  { rows, picked, mint, passwordHash }: { rows: number, picked: number, mint: TokenMint, passwordHash: string }
): Promise<Sample[]> {
  const users = Math.floor(rows / sessionsEach)
  const numbers = new Set<number>()
  while (numbers.size < Math.min(picked, users)) numbers.add(Math.floor(Math.random() * users))
  const known = [...numbers].map(user => ({ user, row: user + users * (2 + Math.floor(Math.random() * 2)), token: mint.issue('access') }))

  await sql`set synchronous_commit = off`
  await sql`set maintenance_work_mem = '1GB'`
  await sql`create temporary table known (row int8, hash bytea)`
  await sql`insert into known select r, decode(h, 'hex') from unnest(${known.map(({ row }) =>
    String(row))}::int8[], ${known.map(({ token }) => token.hash().hex())}::text[]) as k (r, h)`
  const definitions = await takeOff(sql)
  await sql.unsafe(`
    insert into users (id, email, name, password_hash, created_at)
    select md5('u' || n)::uuid, 'user-' || n || '@example.com', 'Ada Lovelace', '${passwordHash}', now() - interval '60 days' from generate_series(0, ${users - 1}) n`)
  const createdAt = `now() - interval '41.111 days' * (1 - n::float8 / ${rows})`
  const endedAt = `case when n % 20 = 0 and n > ${Math.floor(rows * 0.9)} and k.row is null then now() - interval '1 day' end`
  const from = `generate_series(0, ${users * sessionsEach - 1}::int8) n left join known k on k.row = n`
  await sql.unsafe(`
    insert into sessions (id, user_id, device_name, user_agent, ip, created_at, last_used_at, expires_at, ended_at)
    select md5('s' || n)::uuid, md5('u' || n % ${users})::uuid, 'Phone', 'Mozilla/5.0 (X11; Linux x86_64) bench', '192.0.2.1', ${createdAt}, ${createdAt}, ${createdAt} + interval '30 days', ${endedAt} from ${from}`)
  await sql.unsafe(`
    insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at, revoked_at)
    select md5('t' || n)::uuid, coalesce(k.hash, sha256(('h' || n)::bytea)), 'access', md5('u' || n % ${users})::uuid, md5('s' || n)::uuid, '{*}', ${createdAt}, ${createdAt} + interval '30 days', ${endedAt} from ${from}`)
  for (const { table, name, text } of definitions) await sql.unsafe(
    name === '' ? text : `alter table ${table} add constraint "${name}" ${text}`
  )
  for (const table of ['users', 'sessions', 'tokens']) await sql.unsafe(`vacuum analyze ${table}`)

  const ids = await sql<Array<{
    row: string
    user_id: string
    session_id: string
  }>>`select k.row, t.user_id, t.session_id from known k join tokens t on t.hash = k.hash`
  const byRow = new Map(ids.map(found => [Number(found.row), found]))
  return known.map(({ user, row, token }) => ({
    email: `user-${user}@example.com`, userId: byRow.get(row)?.user_id ??
      '', sessionId: byRow.get(row)?.session_id ?? '', token: token.reveal()
  }))
}

/** Drops constraints and indexes of the three tables and foreign keys to them; returns the statements that recreate them, in order. */
async function takeOff (sql: Sql): Promise<Definition[]> {
  const constraints = await sql<Array<Definition & { foreign: boolean }>>`
    select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as text, contype = 'f' as foreign from pg_constraint
    where contype in ('p', 'u', 'f') and ${sql`('{users,sessions,tokens}'::regclass[] && array[conrelid::regclass, confrelid::regclass])`} order by contype = 'f'`
  const indexes = await sql<Definition[]>`
    select '' as table, indexname as name, indexdef as text from pg_indexes
    where schemaname = 'public' and tablename in ('users', 'sessions', 'tokens') and indexname not in (select conname from pg_constraint)`
  for (const { table, name } of [...constraints].reverse()) await sql.unsafe(`alter table ${table} drop constraint "${name}"`)
  for (const { name } of indexes) await sql.unsafe(`drop index "${name}"`)
  return [
    ...constraints.filter(({ foreign }) => !foreign),
    ...indexes.map(({ text }) => ({ table: '', name: '', text })),
    ...constraints.filter(({ foreign }) => foreign)
  ]
}
