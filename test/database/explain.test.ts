import { drizzle } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import type { Database, Parameter, Queries } from '../../src/database/database.js'
import { createPostgres } from '../../src/database/postgres.js'
import { runTransaction, type Tx } from '../../src/database/transaction.js'
import { password, serverGround, startApp } from '../fixtures/app.js'
import { openSql } from '../fixtures/servers.js'

/** `prepared`: kept under its text, so that PostgreSQL may plan it once for all parameters. */
interface Statement { text: string, parameters: unknown[], prepared?: true }

interface Node { 'Node Type': string, 'Relation Name'?: string, 'Index Name'?: string, Plans?: Node[] }

/** So many rows that a full scan is not the fastest plan, as in production. */
const rows = 60_000
const large = ['tokens', 'sessions', 'users']

t.test('every statement on tokens, sessions and users finds its rows through an index, and every index is needed', async t => {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return
  const sql = openSql(ground.databaseUrl)
  t.teardown(() => sql.end({ timeout: 1 }))
  await fill(sql)
  const { database, recorded } = recording(t, ground.databaseUrl)
  // Superseded by tokens_session, and left for instances of the version before.
  await sql.unsafe('drop index tokens_session_id')
  const statements = await record(t, { ...ground, database: async () => database }, recorded)
  t.ok(statements.size > 30, `${statements.size} statements were recorded`)

  const used = new Set<string>()
  for (const mode of ['force_custom_plan', 'force_generic_plan']) {
    await sql.unsafe(`set plan_cache_mode = ${mode}`)
    for (const [text, { operation, parameters, prepared }] of statements) {
      if (mode === 'force_generic_plan' && prepared !== true) continue
      const plan = await explain(sql, { text, parameters })
      t.same(scansOf(plan), [], `${operation}, ${mode}: ${text.replace(/\s+/g, ' ').slice(0, 160)}`)
      for (const node of plan) if (node['Index Name'] !== undefined) used.add(node['Index Name'])
    }
  }

  const indexes = await sql<Array<{ name: string }>>`select indexname as name from pg_indexes where schemaname = 'public' and tablename in ('tokens', 'sessions')`
  t.same(indexes.map(({ name }) => name).filter(name => !used.has(name)).sort(), [], 'indexes that no statement uses')
  t.ok(used.has('users_admins'), 'the last administrator is found through an index of administrators alone')

  await sql.unsafe('set plan_cache_mode = force_custom_plan')
  for (const { name } of [
    ...indexes,
    { name: 'users_admins' }
  ]) t.ok(await isMissed(sql, name, [...statements.values()]), `without ${name} a table is scanned`)
})

/** Old and new rows, ended and live; a tenth is due for pruning. */
async function fill (sql: Sql): Promise<void> {
  const age = (n: string) => `now() - interval '60 days' * (1 - ${n}::float8 / ${rows})`
  await sql.unsafe(`
    insert into users (id, email, password_hash, created_at) select md5('u' || n)::uuid, 'user-' || n || '@example.org', '', now() from generate_series(1, ${rows / 4}) n;
    insert into sessions (id, user_id, created_at, last_used_at, expires_at, ended_at)
      select md5('s' || n)::uuid, md5('u' || n % ${rows / 4} + 1)::uuid, ${age('n')}, ${age('n')}, ${age('n')} + interval '48 days', case when n % 20 = 0 then ${age('n')} + interval '1 day' end from generate_series(1, ${rows}) n;
    insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at, revoked_at)
      select md5('t' || n)::uuid, sha256(n::text::bytea), 'access', s.user_id, s.id, '{*}', s.created_at, s.expires_at, s.ended_at from generate_series(1, ${rows}) n join sessions s on s.id = md5('s' || n)::uuid;
    insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at, consumed_at)
      select md5('r' || n)::uuid, sha256(('r' || n)::bytea), 'refresh', md5('u' || n % ${rows / 4} + 1)::uuid, md5('s' || n)::uuid, '{*}', now(), now() + interval '7 days', now() from generate_series(1, ${rows / 10}) n;
    analyze`)
}

/** A database like the real one that records the statements it is sent. */
function recording (t: Test, url: string): { database: Database, recorded: Statement[] } {
  const recorded: Statement[] = []
  const client = openSql(url, { max: 10, fetch_types: false })
  const queries = drizzle(client, { logger: { logQuery: (text, parameters) => recorded.push({ text, parameters }) } }) as unknown as Queries
  const real = createPostgres(url, 1)
  t.teardown(async () => { await Promise.all([client.end({ timeout: 1 }), real.close()]) })
  return {
    recorded,
    database: {
      ...real,
      query: work => work(queries),
      transaction: work => runTransaction(begun => queries.transaction(tx => begun(tx as unknown as Tx)), work),
      async prepared<Row> (text: string, parameters: Parameter[]) {
        recorded.push({ text, parameters, prepared: true })
        return await real.prepared<Row>(text, parameters)
      },
      close: async () => {}
    }
  }
}

/** Every statement that a running server sends about these tables: each text once, with the parameters it first came with. */
async function record (t: Test, ground: Parameters<typeof startApp>[1], recorded: Statement[]) {
  const { account, admin, call, me, login, lastUse, prune, clock } = await startApp(
    t,
    ground,
    { env: { SESSION_LIMIT: '3', SESSION_IDLE_TTL: '5d' } }
  )
  const statements = new Map<string, Statement & { operation: string }>()
  const during = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    recorded.splice(0)
    const result = await work()
    for (const statement of recorded) {
      const { text } = statement
      if (/^\s*(select|insert|update|delete|with)/i.test(text) &&
        large.some(table => text.includes(table)) &&
        !statements.has(text)) statements.set(text, { ...statement, operation })
    }
    return result
  }
  const owner = await during('register', () => account({ refresh: true }))
  const other = await during('login', () => login(owner.email, { refresh: true })).then(
    reply => reply.json<{ accessToken: string, refreshToken: string, session: { id: string } }>(
  ))
  const personal = await during(
    'making a personal token',
    () => call('POST', '/v1/tokens', { token: owner.token, body: { name: 'backup' } })
  ).then(
    reply => reply.json<{ accessToken: string, token: { id: string } }>(
  ))
  const ok = (status: number, expected: number, what: string) => t.equal(status, expected, what)
  ok((await during('reading a token', () => me(personal.accessToken))).statusCode, 200, 'me')
  await during('noting last uses', lastUse.flush)
  ok((await during('listing sessions', () => call('GET', '/v1/sessions', { token: owner.token }))).statusCode, 200, 'sessions')
  for (const method of ['PUT', 'PATCH', 'GET'] as const) {
    const body = method === 'GET' ? {} : { body: { a: 1 } }
    const kept = await during(`${method} of session data`, () => call(method, '/v1/session/data', { token: owner.token, ...body }))
    ok(kept.statusCode, 200, method)
  }
  ok((await during('listing personal tokens', () => call('GET', '/v1/tokens', { token: owner.token }))).statusCode, 200, 'tokens')
  const refreshed = await during('refreshing', () => call('POST', '/v1/refresh', { body: { refreshToken: other.refreshToken } }))
  ok(refreshed.statusCode, 200, 'refresh')
  await during('refreshing again', () => call('POST', '/v1/refresh', { body: { refreshToken: other.refreshToken } }))
  ok(
    (await during('ending a personal token', () => call('DELETE', `/v1/tokens/${personal.token.id}`, { token: owner.token }))).statusCode,
    204,
    'delete token'
  )
  for (let i = 0; i < 4; i++) await during('a login past the limit', () => login(owner.email))
  const { token } = await account()
  const changed = await during(
    'changing the password',
    () =>
      call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: `${password}!`, revokePersonalTokens: true } })
  )
  ok(changed.statusCode, 200, 'password')
  const current = changed.json<{ accessToken: string, session: { id: string } }>()
  ok(
    (await during('ending the other sessions', () => call('DELETE', '/v1/sessions', { token: current.accessToken }))).statusCode,
    204,
    'delete sessions'
  )
  ok(
    (await during(
      'ending one session',
      () => call('DELETE', `/v1/sessions/${current.session.id}`, { token: current.accessToken })
    )).statusCode,
    204,
    'delete session'
  )
  const leaving = await account({ refresh: true })
  ok((await during('logging out', () => call('POST', '/v1/logout', { token: leaving.token }))).statusCode, 204, 'logout')
  const everywhere = await account()
  ok(
    (await during('logging out everywhere', () => call('POST', '/v1/logout-all', { token: everywhere.token }))).statusCode,
    204,
    'logout-all'
  )
  clock.advance(1_000)
  await during('pruning', () => prune({ dryRun: false }))
  for (const { userId } of [
    await account(),
    await account()
  ]) await during('making an administrator', () => admin.setRole(operator, userId, 'admin'))
  const { userId } = await account()
  await admin.setRole(operator, userId, 'admin')
  await during('asking for another administrator', () => admin.setRole(operator, userId, 'user'))
  return statements
}

/** All nodes of the plan. The parameters go in as literals: only prepared statements have generic plans. */
async function explain (sql: Sql, { text, parameters }: Statement): Promise<Node[]> {
  await sql.unsafe(`prepare looked_at as ${text}`)
  try {
    const [row] = await sql.unsafe<Array<{ 'QUERY PLAN': Array<{ Plan: Node }> }>>(
      `explain (format json) execute looked_at${parameters.length === 0 ? '' : ` (${parameters.map(literal).join(', ')})`}`
    )
    return flat((row as { 'QUERY PLAN': Array<{ Plan: Node }> })['QUERY PLAN'].map(({ Plan }) => Plan))
  } finally {
    await sql.unsafe('deallocate looked_at')
  }
}

function flat (nodes: Node[]): Node[] {
  return nodes.flatMap(node => [node, ...flat(node.Plans ?? [])])
}

const scansOf = (plan: Node[]) =>
  plan.filter(node => node['Node Type'] === 'Seq Scan' && large.includes(node['Relation Name'] ?? '')).map(node =>
    `Seq Scan on ${node['Relation Name']}`)

function literal (value: unknown): string {
  if (value === null || value === undefined) return 'null'
  const text = Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : value instanceof Date ? value.toISOString() : String(value)
  return `'${text.replaceAll("'", "''")}'`
}

/** Whether any statement scans a table once the index is gone. */
async function isMissed (sql: Sql, index: string, statements: Statement[]): Promise<boolean> {
  let missed = false
  await sql.begin(async tx => {
    const [constraint] = await tx<Array<{ table: string }>>`select conrelid::regclass::text as table from pg_constraint where conname = ${index}`
    await tx.unsafe(constraint === undefined ? `drop index ${index}` : `alter table ${constraint.table} drop constraint ${index} cascade`)
    for (const statement of statements) missed ||= scansOf(await explain(tx as unknown as Sql, statement).catch(() => [])).length > 0
    throw new Error('rolled back')
  }).catch((error: Error) => { if (error.message !== 'rolled back') throw error })
  return missed
}
