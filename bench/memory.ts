import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Sql } from 'postgres'
import type { TokenMint } from '../src/tokens/token.js'
import { createClient, eachOf } from './client.js'
import { figure, table } from './format.js'
import { memoryGrowsAtMost } from './goals.js'
import { createSeeder, password, startLatchkey } from './latchkey.js'
import { bestGenerator, createLoad, writeHeaders } from './load.js'
import type { Machinery } from './machinery.js'
import type { Options } from './options.js'
import { median } from './statistics.js'

/** Users that log in and out meanwhile; their tokens are not among those read. */
const people = 200
/** Requests per second of each other kind. */
const perSecond = 5
/**
 * At full speed so many connections would measure how requests wait in the client's and the system's queues. With a pause before each
 * request, as real clients have, the load is steady at a good part of what the server can do.
 */
const pauseMs = 1_000

/** Prints the server's memory over time under a mixed load, and whether it stayed flat. Linux only. */
export async function measureMemory (machinery: Machinery, { tokens, memoryConnections, minutes }: Options): Promise<void> {
  const databaseUrl = await machinery.database()
  const redis = await machinery.redis()
  const seeder = await createSeeder(machinery, databaseUrl, 4)
  console.error(`making ${tokens} tokens`)
  const plain = await seedMany(seeder.sql, seeder.mint, tokens)
  const others = await seeder.seed(people)
  const { base, pid } = await startLatchkey(
    machinery,
    { databaseUrl, redisUrl: redis.url, core: machinery.cores.server, env: { BCRYPT_COST: '4' } }
  )

  console.error('reading each of them once')
  const client = createClient(base, 64)
  await eachOf(plain, 64, async token => { await client.expect(200, 'GET', '/v1/me', { token }) })

  const load = createLoad(machinery, bestGenerator())
  const headersFile = writeHeaders(machinery, 'memory', plain.map(token => `Authorization: Bearer ${token}`))
  console.error(`${memoryConnections} connections for ${minutes} minutes`)
  const samples: Array<{ atMs: number, mebibytes: number }> = []
  let over = false
  const startedAt = performance.now()
  const reading = load(
    { url: `${base}/v1/me`, headersFile, expected: 200, pauseMs },
    memoryConnections,
    minutes * 60
  ).finally(() => { over = true })
  const sampling = (async () => {
    for (; !over; await delay(500)) samples.push({ atMs: performance.now() - startedAt, mebibytes: residentMebibytes(pid) })
  })()
  const beside = mixWith(client, others.map(({ email }) => email), () => over)
  const [outcome] = await Promise.all([reading, sampling, beside])
  client.close()

  const within = (
    from: number,
    to: number
  ) => samples.filter(({ atMs }) => atMs >= from * minutes * 60_000 && atMs < to * minutes * 60_000).map(({ mebibytes }) => mebibytes)
  const fifths = [0, 1, 2, 3, 4].map(i => within(i / 5, (i + 1) / 5))
  const growth = median(fifths[4] as number[]) / median(fifths[1] as number[])
  console.log(table(
    ['fifth of the run', 'resident MiB (median)', 'spread'],
    fifths.map((each, i) => [String(i + 1), figure(median(each)), `${figure(Math.min(...each))} – ${figure(Math.max(...each))}`])
  ))
  console.log(`${figure(outcome.perSecond)} requests/s over ${memoryConnections} connections, ${tokens} tokens, ${minutes} minutes`)
  console.log(
    `last fifth of second fifth: ${growth.toFixed(3)}; wanted at most ${memoryGrowsAtMost}: ${growth <= memoryGrowsAtMost
      ? 'met'
      : 'NOT MET'}`
  )
}

/** Logins, lists and logouts at a low rate, until `stopped` returns true. */
async function mixWith (client: ReturnType<typeof createClient>, emails: readonly string[], stopped: () => boolean): Promise<void> {
  for (let i = 0; !stopped(); i++) {
    const { body } = await client.expect(200, 'POST', '/v1/login', { body: { email: emails[i % emails.length], password } })
    const { accessToken: token } = JSON.parse(body) as { accessToken: string }
    await client.expect(200, 'GET', '/v1/sessions', { token })
    await client.expect(204, 'POST', '/v1/logout', { token })
    await delay(1000 / perSecond)
  }
}

/** `count` tokens, each in its own session, of a tenth as many users. */
async function seedMany (sql: Sql, mint: TokenMint, count: number): Promise<string[]> {
  const users = Math.ceil(count / 10)
  await sql`insert into users (id, email, password_hash, created_at) select md5('u' || n)::uuid, 'many-' || n || '@example.com', '', now() from generate_series(0, ${users - 1}) n`
  const all: string[] = []
  while (all.length < count) {
    const part = Array.from({ length: Math.min(50_000, count - all.length) }, () => mint.issue('access'))
    const from = sql`unnest(${part.map(token => token.hash().hex())}::text[]) with ordinality as h (hex, n)`
    const number = sql`(n + ${all.length})::bigint`
    await sql`insert into sessions (id, user_id, created_at, last_used_at, expires_at) select md5('s' || ${number})::uuid, md5('u' || (${number} % ${users}))::uuid, now(), now(), now() + interval '30 days' from ${from}`
    await sql`insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at)
      select md5('t' || ${number})::uuid, decode(hex, 'hex'), 'access', md5('u' || (${number} % ${users}))::uuid, md5('s' || ${number})::uuid, '{*}', now(), now() + interval '30 days' from ${from}`
    all.push(...part.map(token => token.reveal()))
  }
  await sql`analyze`
  return all
}

function residentMebibytes (pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}
