import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { createPostgres } from '../../src/database/postgres.js'
import { serverGround, skipMissing, startApp } from '../fixtures/app.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

const floodSize = 100_000
const atOnce = 200
/** PostgreSQL publishes a session's statistics with its first statement that comes a second or more after the last report. */
const statisticsDelayMs = 1_100

t.test('a flood of made-up tokens causes no more Redis and PostgreSQL work than an idle period of the same length', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  const server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const single = async () => createPostgres(ground.databaseUrl as string, 1)
  const app = await startApp(t, { ...ground, database: single }, { env: { LOG_LEVEL: 'warn' } })
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const { token } = await app.account()
  await app.me(token)

  /** Redis commands except the polls' INFO and our own, scans of the tokens table, and the app's look-ups. */
  async function counters () {
    await delay(statisticsDelayMs)
    await app.database.prepared('select 1', [])
    const calls = [...(await redis.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
    const commands = calls.filter(([, name]) => name !== 'info').reduce((sum, [, , count]) => sum + Number(count), 0)
    const [row] = await app.database.prepared<{ scans: number }>(
      "select (seq_scan + coalesce(idx_scan, 0))::int as scans from pg_stat_user_tables where relname = 'tokens'",
      []
    )
    return { commands, scans: row?.scans ?? -1, reads: app.counters.databaseReads }
  }

  const before = await counters()
  const startedAt = performance.now()
  const answers = new Map<string, number>()
  for (let sent = 0; sent < floodSize; sent += atOnce) {
    const replies = await Promise.all(Array.from({ length: atOnce }, () => app.me(madeUpToken())))
    for (const reply of replies) {
      const answer = `${reply.statusCode} ${reply.json<{ code: string }>().code}`
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
    }
  }
  const tookMs = performance.now() - startedAt
  t.comment(`${floodSize} in ${Math.round(tookMs)} ms`)
  const flooded = await counters()
  await delay(tookMs)
  const idle = await counters()

  t.strictSame([...answers], [['401 AUTH_INVALID_TOKEN', floodSize]])
  const [{ scans: scanned, ...during }, { scans: resting, ...after }] = [difference(flooded, before), difference(idle, flooded)]
  t.strictSame(during, after, 'as in an idle while of the same length')
  // Refresh secrets are erased every few seconds, and PostgreSQL reports that late; look-ups would come by the hundred.
  t.ok(Math.abs(scanned - resting) < 50, `${scanned} and ${resting} scans`)

  await app.me(token)
  await redis.flushdb()
  await app.me(token)
  const moved = difference(await counters(), idle)
  t.ok(moved.commands > 0 && moved.scans > 0 && moved.reads > 0, 'one valid token raises all three figures')
})

type Counts = { commands: number, scans: number, reads: number }

function difference (after: Counts, before: Counts): Counts {
  return { commands: after.commands - before.commands, scans: after.scans - before.scans, reads: after.reads - before.reads }
}

function madeUpToken (): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  return `lk_${Array.from(randomBytes(50), byte => alphabet[byte % 62]).join('')}`
}
