import { mock } from 'node:test'
import t from 'tap'
import type { Database } from '../../src/database/database.js'
import { runTransaction, type Tx } from '../../src/database/transaction.js'
import type { PruneReport } from '../../src/retention/prune.js'
import { schedulePrune } from '../../src/retention/schedule.js'
import { createTestClock, newEmail, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'

interface Opened { accessToken: string, refreshToken: string, user: { id: string, email: string }, session: { id: string } }

/** What begins a statement of a transaction. */
const beginnings = new Set<string | symbol>(['select', 'selectDistinct', 'insert', 'update', 'delete', 'execute'])

/** A database of which the statement numbered `next` of a transaction fails. */
function createBreaker (real: Database) {
  const state = { next: Number.POSITIVE_INFINITY, failed: false, statements: 0 }
  const breaking = (tx: Tx): Tx => new Proxy(tx as unknown as object, {
    get (target, name) {
      const own = Reflect.get(target, name, target) as unknown
      if (!beginnings.has(name)) return own
      return (...args: unknown[]) => {
        state.statements++
        if (--state.next === 0) {
          state.failed = true
          throw new Error('this statement was made to fail')
        }
        return (own as (...args: unknown[]) => unknown).apply(target, args)
      }
    }
  }) as unknown as Tx
  const database: Database = {
    ...real,
    transaction: (work, ...more) => runTransaction(begun => real.transaction(tx => begun(breaking(tx)), ...more), work)
  }
  return { state, database }
}

t.test('data', async t => {
  const ground = await serverGround(t)
  if (ground === null) return

  t.test('V2.3.3 transactional: with every statement failed in turn no half state is left', async t => {
    const breaker = createBreaker(await ground.database())
    const clock = createTestClock()
    const one = await startApp(t, { ...ground, database: async () => breaker.database }, { env: { REFRESH_GRACE: '1h' }, clock })

    /** All rows of all that a transaction may touch, but for what is written beside it. */
    async function snapshot (): Promise<string> {
      const tables = await one.database.prepared<{ name: string }>(
        "select table_name as name from information_schema.tables where table_schema = 'public' and table_name in ('users', 'sessions', 'tokens', 'events', 'cache_settlements', 'session_data') order by 1",
        []
      )
      const rows = await Promise.all(tables.map(async ({ name }) =>
        (await one.database.prepared<{ rows: string }>(
          `select coalesce(string_agg(((to_jsonb(t) - 'last_used_at')::text), E'\\n' order by t::text), '') as rows from ${name} t`,
          []
        ))[0]?.rows))
      return rows.join('\n--\n')
    }

    const acts: Array<[name: string, prepare: () => Promise<() => ReturnType<TestApp['call']>>, success: number]> = [
      ['register', async () => () => one.register(newEmail(), { refresh: true }), 201],
      ['a login that replaces a session', async () => {
        const { user } = (await one.register()).json<Opened>()
        return () => one.login(user.email)
      }, 200],
      ['refresh', async () => {
        const { refreshToken } = (await one.register(newEmail(), { refresh: true })).json<Opened>()
        return () => one.call('POST', '/v1/refresh', { body: { refreshToken } })
      }, 200],
      ['session data', async () => {
        const { token } = await one.account()
        await one.call('PUT', '/v1/session/data', { token, body: { a: 1 } })
        return () => one.call('PATCH', '/v1/session/data', { token, body: { b: 2 } })
      }, 200],
      ['logout', async () => {
        const { token } = await one.account()
        await one.call('PUT', '/v1/session/data', { token, body: { a: 1 } })
        return () => one.logout(token)
      }, 204],
      ['logout-all', async () => {
        const { token } = await one.account()
        return () => one.call('POST', '/v1/logout-all', { token })
      }, 204],
      ['a password change', async () => {
        const { token } = await one.account({ refresh: true })
        return () =>
          one.call(
            'PUT',
            '/v1/password',
            { token, body: { currentPassword: password, newPassword: 'kq7vzx3mpwty', revokePersonalTokens: true } }
          )
      }, 200],
      ['a personal token', async () => {
        const { token } = await one.account()
        return () => one.call('POST', '/v1/tokens', { token, body: { name: 'x' } })
      }, 201]
    ]
    for (const [name, prepare, success] of acts) {
      const act = await prepare()
      let statements = 0
      for (let nth = 1; ; nth++) {
        const before = await snapshot()
        Object.assign(breaker.state, { next: nth, failed: false, statements: 0 })
        const reply = await act()
        const { failed } = breaker.state
        Object.assign(breaker.state, { next: Number.POSITIVE_INFINITY })
        if (!failed) {
          t.equal(reply.statusCode, success, `${name} succeeds once nothing fails: ${reply.body}`)
          break
        }
        statements = nth
        t.ok(reply.statusCode >= 500, `${name}: with statement ${nth} failed it answers ${reply.statusCode}`)
        t.equal(await snapshot(), before, `${name}: and nothing has changed`)
      }
      t.ok(statements >= 2, `${name}: ${statements} statements were failed`)
    }
  })

  t.test('V16.3.1 authentication events are recorded: who, what, when, from where', async t => {
    const one = await startApp(t, ground)
    const headers = { 'user-agent': 'checklist' }
    const { user, accessToken } = (await one.call(
      'POST',
      '/v1/register',
      { body: { email: newEmail(), password }, headers }
    )).json<Opened>()
    await one.logout(accessToken)
    const login = (await one.call('POST', '/v1/login', { body: { email: user.email, password }, headers })).json<Opened>()
    const rows = await one.database.prepared<{ type: string, ip: string, userAgent: string, recent: boolean }>(
      "select type, ip, user_agent as \"userAgent\", created_at > now() - interval '10 minutes' as recent from events where user_id = $1 order by created_at",
      [user.id]
    )
    for (const type of ['registered', 'session_ended', 'login_succeeded']) t.ok(rows.some(row => row.type === type), type)
    t.match(rows.find(({ type }) => type === 'login_succeeded'), { ip: '127.0.0.1', userAgent: 'checklist', recent: true })
    const listed = await one.call('GET', '/v1/events', { token: login.accessToken })
    t.equal(listed.statusCode, 200)
    t.equal(listed.json<{ events: unknown[] }>().events.length, rows.length, 'and shown to the user')
  })

  t.test('V2.3.3 prune on two instances at once deletes everything once', async t => {
    const [one, two] = await Promise.all([startApp(t, ground), startApp(t, ground)])
    const { userId } = await one.account()
    await one.database.prepared(`insert into tokens (id, hash, kind, user_id, abilities, created_at, expires_at)
      select gen_random_uuid(), sha256(n::text::bytea), 'personal', $1, '{*}', now() - interval '40 days', now() - interval '30 days' from generate_series(1, 12000) n`, [userId])
    const live = (await one.account()).token
    const reports = await Promise.all([one, two, one, two].map(app => app.prune({ dryRun: false })))
    t.equal(reports.reduce((sum, { tokens }) => sum + tokens, 0), 12_000)
    t.match(await two.prune({ dryRun: true }), { tokens: 0, sessions: 0 })
    t.equal((await two.me(live)).statusCode, 200)
  })

  t.test('V2.3.3 prune at 2 AM on the day the clocks change runs at most once, and goes on the night after', async t => {
    t.same(
      await runsOf('Europe/Berlin', '2026-10-24T12:00:00Z', 2),
      ['2026-10-25T01:00:00.000Z', '2026-10-26T01:00:00.000Z'],
      'the night with two of them'
    )
    const spring = await runsOf('Europe/Berlin', '2026-03-28T12:00:00Z', 2)
    t.ok(spring.filter(run => run.startsWith('2026-03-29')).length <= 1, 'the night without')
    t.equal(spring.at(-1), '2026-03-30T00:00:00.000Z')
  })
})

/** When a prune at two at night ran in so many days, by timers that are set forward. */
async function runsOf (timezone: string, from: string, days: number): Promise<string[]> {
  const runs: string[] = []
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: Date.parse(from) })
  try {
    const prune = async () => {
      runs.push(new Date().toISOString())
      return { skipped: false } as PruneReport
    }
    const schedule = schedulePrune({ prune, expression: '0 2 * * *', timezone, log: { info () {}, warn () {}, error () {} } })
    for (let minute = 0; minute < days * 24 * 60; minute++) {
      mock.timers.tick(60_000)
      for (let turn = 0; turn < 5; turn++) await null
    }
    await schedule.stop()
  } finally {
    mock.timers.reset()
  }
  return runs
}
