import { randomBytes, randomUUID } from 'node:crypto'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { schedulePrune } from '../../src/retention/schedule.js'
import type { Progress } from '../../src/shared/progress.js'
import { becomesTrue, onEachGround, patienceMs, startApp, type TestApp } from '../fixtures/app.js'
import { openSql } from '../fixtures/servers.js'

const dayMs = 86_400_000
/** The default PRUNE_RETENTION. */
const retentionDays = 7

/** Days before now (negative: after now); null: never. */
interface Ended { expired: number, revoked?: number | null }

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)
  const two = ground.databaseUrl === null ? one : await startApp(t, ground)
  const { userId } = await one.account()
  const at = (daysAgo: number) => new Date(one.clock.now() - daysAgo * dayMs).toISOString()
  const count = async (table: 'tokens' | 'sessions') =>
    (await one.database.prepared<{ rows: number }>(`select count(*)::int as rows from ${table}`, []))[0]?.rows ?? -1

  async function insertSession ({ expired, revoked = null }: Ended): Promise<string> {
    const id = randomUUID()
    await one.database.prepared(
      'insert into sessions (id, user_id, created_at, last_used_at, expires_at, ended_at) values ($1, $2, $3, $3, $4, $5)',
      [id, userId, at(40), at(expired), revoked === null ? null : at(revoked)])
    return id
  }

  async function insertToken (sessionId: string | null, { expired, revoked = null }: Ended): Promise<string> {
    const id = randomUUID()
    await one.database.prepared(
      "insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at, revoked_at) values ($1, decode($2, 'hex'), 'access', $3, $4, '{*}', $5, $6, $7)",
      [id, randomBytes(32).toString('hex'), userId, sessionId, at(40), at(expired), revoked === null ? null : at(revoked)])
    return id
  }

  /** `rows` sessions with one token each, all of which ended that long ago. */
  async function insertMany (rows: number, { expired, revoked = null }: Ended): Promise<void> {
    await one.database.prepared(`
      with made as (select gen_random_uuid() as id from generate_series(1, $1::int)),
      opened as (insert into sessions (id, user_id, created_at, last_used_at, expires_at, ended_at)
        select id, $2::uuid, $3::timestamptz, $3::timestamptz, $4::timestamptz, $5::timestamptz from made)
      insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at, revoked_at)
      select gen_random_uuid(), sha256(id::text::bytea), 'access', $2::uuid, id, '{*}', $3::timestamptz, $4::timestamptz, $5::timestamptz from made`,
    [rows, userId, at(40), at(expired), revoked === null ? null : at(revoked)])
  }

  t.test('exactly the rows that ended longer ago than the retention are deleted, and the dry run counts the same', async t => {
    const gone: string[] = []
    const kept: string[] = []
    const second = 1 / 86_400
    const cases: Array<[Ended, Array<[Ended, string[]]>, string[]]> = [
      [{ expired: 8 }, [[{ expired: 8 }, gone]], gone],
      [{ expired: 6 }, [[{ expired: 6 }, kept]], kept],
      [{ expired: -20, revoked: 8 }, [[{ expired: -20, revoked: 8 }, gone]], gone],
      [{ expired: -20, revoked: 6 }, [[{ expired: -20, revoked: 6 }, kept]], kept],
      [{ expired: -20 }, [[{ expired: -20 }, kept]], kept],
      [{ expired: retentionDays + second }, [[{ expired: retentionDays + second }, gone]], gone],
      [{ expired: retentionDays - second * 3_600 }, [[{ expired: retentionDays - second * 3_600 }, kept]], kept],
      [{ expired: 8, revoked: 6 }, [[{ expired: 8, revoked: 6 }, gone]], gone],
      // A session stays as long as one of its tokens stays, or as long as it is live.
      [{ expired: -20, revoked: 8 }, [[{ expired: -20, revoked: 8 }, gone], [{ expired: -20, revoked: 6 }, kept]], kept],
      [{ expired: -20 }, [[{ expired: 8 }, gone], [{ expired: -20 }, kept]], kept],
      [{ expired: -20 }, [[{ expired: 8 }, gone]], kept],
      [{ expired: -20 }, [], kept],
      [{ expired: -20, revoked: 8 }, [], gone],
      [{ expired: 8 }, [], gone],
      [{ expired: 6 }, [], kept]
    ]
    let tokens = 0
    for (const [session, issued, fate] of cases) {
      const sessionId = await insertSession(session)
      fate.push(sessionId)
      for (const [token, itsFate] of issued) {
        itsFate.push(await insertToken(sessionId, token))
        if (itsFate === gone) tokens++
      }
    }
    gone.push(await insertToken(null, { expired: 8 }))
    kept.push(await insertToken(null, { expired: -20 }))
    tokens++
    const expected = { tokens, sessions: gone.length - tokens, skipped: false }
    const before = [await count('tokens'), await count('sessions')]

    t.match(await one.prune({ dryRun: true }), { ...expected, dryRun: true })
    t.strictSame([await count('tokens'), await count('sessions')], before, 'a dry run deletes nothing')
    const report = await one.prune({ dryRun: false })
    t.match(report, { ...expected, dryRun: false })
    t.ok(Math.abs(Date.parse(report.before) - (one.clock.now() - retentionDays * dayMs)) < 5_000)
    const left = await one.database.prepared<{ id: string }>('select id from tokens union select id from sessions', [])
    const ids = new Set(left.map(row => row.id))
    t.strictSame(kept.filter(id => !ids.has(id)), [], 'the rest is kept')
    t.strictSame(gone.filter(id => ids.has(id)), [], 'nothing of it is left')
    t.match(await one.prune({ dryRun: false }), { tokens: 0, sessions: 0 }, 'a second run finds nothing')
  })

  t.test('used refresh tokens go with the session that ended, though they have not expired', async t => {
    const ended = await insertSession({ expired: -20, revoked: 8 })
    const live = await insertSession({ expired: -20 })
    const used = async (session: string) => {
      const id = await insertToken(session, { expired: -20 })
      await one.database.prepared("update tokens set kind = 'refresh', consumed_at = now() - interval '9 days' where id = $1", [id])
      return id
    }
    const [gone, kept] = [await used(ended), await used(live)]
    t.match(await one.prune({ dryRun: true }), { tokens: 1, sessions: 1 })
    t.match(await one.prune({ dryRun: false }), { tokens: 1, sessions: 1 })
    const left = await one.database.prepared<{ id: string }>('select id from tokens where id = any($1::uuid[])', [`{${gone},${kept}}`])
    t.strictSame(left.map(({ id }) => id), [kept])
  })

  t.test('rows beyond the size of one batch are all deleted', async t => {
    const before = await count('tokens')
    await insertMany(7_000, { expired: 8 })
    await insertMany(5_000, { expired: -20, revoked: 9 })
    t.match(await one.prune({ dryRun: true }), { tokens: 12_000, sessions: 12_000 })
    const told: Progress[] = []
    t.match(
      await one.prune({ dryRun: false, onProgress: progress => { told.push(progress) } }),
      { tokens: 12_000, sessions: 12_000, skipped: false }
    )
    t.ok(told.length > 1 && told.every(({ count }, i) => count > (told[i - 1]?.count ?? 0)), 'each batch is told')
    t.match(told.at(-1), { step: 'Deleting', unit: 'rows', fraction: null })
    t.ok((told.at(-1)?.count ?? 0) >= 24_000, 'with all that it deleted')
    t.equal(await count('tokens'), before)
  })

  t.test('a prune that is told to stop does so after a batch, and the next one deletes the rest', async t => {
    const before = await count('tokens')
    await insertMany(7_000, { expired: 8 })
    t.match(await one.prune({ dryRun: false, signal: AbortSignal.abort() }), { tokens: 5_000 })
    t.match(await one.prune({ dryRun: false }), { tokens: 2_000 })
    t.equal(await count('tokens'), before)
  })

  t.test('two concurrent prunes together delete every row once', async t => {
    await insertMany(6_000, { expired: 8 })
    const reports = await Promise.all([one.prune({ dryRun: false }), two.prune({ dryRun: false })])
    t.equal(reports.reduce((sum, report) => sum + report.tokens, 0), 6_000)
    t.equal(reports.reduce((sum, report) => sum + report.sessions, 0), 6_000)
    t.ok(reports.some(report => !report.skipped), 'one ran to the end')
    t.match(await one.prune({ dryRun: true }), { tokens: 0, sessions: 0 })
  })

  t.test('logins keep working while rows of the same user are pruned', async t => {
    const accounts = [await one.account(), await two.account(), await one.account()]
    for (const { userId: id } of accounts) {
      await insertMany(700, { expired: 8 })
      await one.database.prepared('update tokens set user_id = $1::uuid where user_id = $2::uuid and expires_at < now()', [id, userId])
      await one.database.prepared('update sessions set user_id = $1::uuid where user_id = $2::uuid and expires_at < now()', [id, userId])
    }
    let pruning = true
    const pruned = (async () => {
      let total = 0
      while (pruning) {
        total += (await two.prune({ dryRun: false })).tokens
        await turn()
      }
      return total
    })()
    const statuses: number[] = []
    for (let round = 0; round < 4; round++) {
      const replies = await Promise.all(accounts.flatMap(({ email }) => [one.login(email), two.login(email)]))
      statuses.push(...replies.map(reply => reply.statusCode))
    }
    pruning = false
    t.equal(await pruned + (await two.prune({ dryRun: false })).tokens, 2_100)
    t.strictSame([...new Set(statuses)], [200])
    t.strictSame(problems(one, two), [])
  })

  if (ground.databaseUrl === null) {
    t.test('the embedded database uses the space of pruned rows again', async t => {
      const pages = async () => (await one.database.prepared<{ pages: number }>(`
        select sum(pg_table_size(oid) / 8192)::int as pages from pg_class where relname in ('tokens', 'sessions')`, []))[0]?.pages ?? 0
      await insertMany(5_000, { expired: 8 })
      const filled = await pages()
      for (let round = 0; round < 3; round++) {
        await one.prune({ dryRun: false })
        await insertMany(5_000, { expired: 8 })
      }
      t.ok(await pages() < filled * 1.1, `${await pages()} pages after ${filled}`)
      await one.prune({ dryRun: false })
      t.ok(await pages() < filled, 'pages at the end of a table are given back')
    })
  }

  t.test('it runs on its own at PRUNE_SCHEDULE', async t => {
    const scheduled = await startApp(t, ground, { env: { PRUNE_SCHEDULE: '* * * * * *' } })
    const [row] = await scheduled.database.prepared<{ id: string }>(
      "insert into users (id, email, password_hash, created_at) values (gen_random_uuid(), 'scheduled@example.com', 'x', now()) returning id",
      []
    )
    await scheduled.database.prepared(
      "insert into tokens (id, hash, kind, user_id, abilities, created_at, expires_at) values (gen_random_uuid(), sha256('scheduled'), 'access', $1, '{*}', now() - interval '9 days', now() - interval '8 days')",
      [row?.id ?? '']
    )
    const gone = async () => (await scheduled.database.prepared("select 1 from tokens where hash = sha256('scheduled')", [])).length === 0
    t.ok(await becomesTrue(gone, patienceMs))
    t.ok(
      await becomesTrue(() => scheduled.log.some(line => line.includes('"msg":"pruned"') && line.includes('"tokens":1')), patienceMs),
      'and says so'
    )
  })

  if (ground.databaseUrl !== null) {
    const url = ground.databaseUrl

    t.test('a prune that finds another one running says so and deletes nothing', async t => {
      await insertMany(3, { expired: 8 })
      const other = openSql(url)
      t.teardown(() => other.end({ timeout: 1 }))
      await other`select pg_advisory_lock(7402319)`
      t.match(await one.prune({ dryRun: false }), { tokens: 0, sessions: 0, skipped: true })
      await other`select pg_advisory_unlock(7402319)`
      t.match(await one.prune({ dryRun: false }), { tokens: 3, sessions: 3, skipped: false })
    })

    t.test('locked rows are left for the next run', async t => {
      await insertMany(3, { expired: 8 })
      const other = openSql(url)
      t.teardown(() => other.end({ timeout: 1 }))
      await other.unsafe("begin; select from tokens where expires_at < now() - interval '7 days' limit 1 for update")
      t.match(await one.prune({ dryRun: false }), { tokens: 2, sessions: 2, skipped: false })
      await other.unsafe('rollback')
      t.match(await one.prune({ dryRun: false }), { tokens: 1, sessions: 1 })
    })
  }
})

t.test('in UTC it runs at 2 a.m. every night', async t => {
  t.strictSame(
    await runsOf('UTC', '2026-03-27T12:00:00Z', 3),
    ['2026-03-28T02:00:00.000Z', '2026-03-29T02:00:00.000Z', '2026-03-30T02:00:00.000Z']
  )
})

t.test('PRUNE_TIMEZONE decides when 2 a.m. is', async t => {
  t.strictSame(await runsOf('Asia/Kolkata', '2026-03-27T12:00:00Z', 2), ['2026-03-27T20:30:00.000Z', '2026-03-28T20:30:00.000Z'])
})

t.test('on the night when 2 a.m. comes twice it runs once', async t => {
  t.strictSame(
    await runsOf('Europe/Berlin', '2026-10-23T12:00:00Z', 4),
    ['2026-10-24T00:00:00.000Z', '2026-10-25T01:00:00.000Z', '2026-10-26T01:00:00.000Z', '2026-10-27T01:00:00.000Z']
  )
})

t.test('on the night without a 2 a.m. it does not run twice, and it runs the night after', async t => {
  const runs = await runsOf('Europe/Berlin', '2026-03-27T12:00:00Z', 4)
  t.equal(runs[0], '2026-03-28T01:00:00.000Z')
  t.ok(runs.filter(run => run.startsWith('2026-03-29')).length <= 1)
  t.strictSame(runs.slice(-2), ['2026-03-30T00:00:00.000Z', '2026-03-31T00:00:00.000Z'])
})

/** When the default schedule ran in `timezone` within that number of days from `from`. */
async function runsOf (timezone: string, from: string, days: number): Promise<string[]> {
  const runs: string[] = []
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: Date.parse(from) })
  try {
    const prune = async () => {
      runs.push(new Date().toISOString())
      return { tokens: 0, sessions: 0, events: 0, failures: 0, challenges: 0, mailTokens: 0, registrations: 0, before: '', dryRun: false, skipped: false }
    }
    const schedule = schedulePrune({ prune, expression: '0 2 * * *', timezone, log: { info: () => {}, warn: () => {}, error: () => {} } })
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

/** Log lines that report an error. */
function problems (...apps: TestApp[]): string[] {
  return apps.flatMap(app => app.log).filter(line => (JSON.parse(line) as { level: number }).level >= 50)
}
