import { randomBytes, randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import t, { type Test } from 'tap'
import { TokenMint } from '../../src/tokens/token.js'
import { serverGround, skipMissing } from '../fixtures/app.js'
import { compileServer, createInstance } from '../fixtures/instance.js'
import { median } from '../fixtures/ranks.js'
import { freePort, hasRedisServer, openSql, startRedis } from '../fixtures/servers.js'

const writers = 60
const rounds = 7
const roundMs = 4_000
const warmMs = 500
/** How much longer the 99th percentile of others may be while a large account is written to than while a small one is. */
const limit = 2

interface Session { accessToken: string, refreshToken: string }
interface Account { userId: string, sessions: Session[] }
/** Milliseconds of each request, by what it was. */
type Samples = Record<'reads' | 'writes', number[]>

t.setTimeout(300_000)

t.test('V2.4, V15.2.2 an account of 10,000 live rows with 60 parallel writers leaves the p99 of other users within 2x', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  await compileServer()
  const redis = await startRedis()
  t.teardown(() => redis.kill())
  const ground = await serverGround(t, { redisUrl: redis.url })
  if (ground?.databaseUrl == null) return
  const port = await freePort()
  const instance = createInstance(t, port, {
    PATH: process.env.PATH ?? '',
    DATABASE_URL: ground.databaseUrl,
    REDIS_URL: redis.url,
    BCRYPT_COST: '4',
    SESSION_LIMIT: '0',
    ADDRESS_LIMIT: '0',
    WRITE_LIMIT: '0',
    LOG_LEVEL: 'warn'
  })
  await instance.start()
  const accounts = await createAccounts(t, ground.databaseUrl)
  const [small, large, other] = [
    await accounts.add({ sessions: writers, accessTokens: 1 }),
    await accounts.add({ sessions: 990, accessTokens: 9 }),
    await accounts.add({ sessions: 1, accessTokens: 1 })
  ]
  t.ok(await accounts.liveRows(large) >= 10_000, `${await accounts.liveRows(large)} live rows`)
  const http = createHttp(port)
  t.teardown(http.close)

  const ratios: Record<keyof Samples, number[]> = { reads: [], writes: [] }
  const p99s: Record<'quiet' | 'small' | 'large', Samples> = {
    quiet: { reads: [], writes: [] },
    small: { reads: [], writes: [] },
    large: { reads: [], writes: [] }
  }
  const answered: Record<string, number> = {}
  for (let i = 0; i < rounds; i++) {
    for (const [name, account] of [['quiet', null], ['small', small], ['large', large]] as const) {
      const load = account === null ? null : write(http, account, answered)
      const samples = await measure(http, other)
      await load?.stop()
      for (const what of ['reads', 'writes'] as const) p99s[name][what].push(p99(samples[what]))
    }
    for (const what of ['reads', 'writes'] as const) {
      ratios[what].push((p99s.large[what].at(-1) as number) / (p99s.small[what].at(-1) as number))
    }
  }

  t.ok((answered['200'] ?? 0) + (answered['201'] ?? 0) > 200, 'the writers wrote')
  t.strictSame(Object.keys(answered).filter(status => !['200', '201', '204', '429'].includes(status)), [], 'and were answered')
  for (const what of ['reads', 'writes'] as const) {
    const ms = (name: keyof typeof p99s) => `${median(p99s[name][what]).toFixed(1)} ms`
    t.ok(median(ratios[what]) <= limit, `${what}: ${median(ratios[what]).toFixed(2)}`)
    t.comment(`p99 of others' ${what}: ${ms('quiet')} with nobody else, ${ms('small')} beside a small account, ${ms('large')} beside a large one;` +
      ` large to small, by rounds: ${ratios[what].map(ratio => ratio.toFixed(2)).join(', ')}`)
  }
  t.comment(JSON.stringify(answered))
})

/** Accounts made by their rows: by requests, ten thousand tokens would take too long. */
async function createAccounts (t: Test, url: string) {
  const sql = openSql(url)
  t.teardown(() => sql.end({ timeout: 1 }))
  const [key] = await sql<Array<{ value: Buffer }>>`select value from secrets where name = 'token-check'`
  const mint = new TokenMint(Buffer.from((key as { value: Buffer }).value))
  return {
    async add ({ sessions: count, accessTokens }: { sessions: number, accessTokens: number }): Promise<Account> {
      const userId = randomUUID()
      await sql`insert into users (id, email, password_hash, created_at) values (${userId}, ${`${userId}@example.com`}, 'x', now())`
      const sessions: Session[] = []
      for (let i = 0; i < count; i++) {
        const id = randomUUID()
        await sql`insert into sessions (id, user_id, created_at, last_used_at, expires_at, refreshes)
          values (${id}, ${userId}, now(), now(), now() + interval '1 day', true)`
        const [refresh, ...access] = [mint.issue('refresh'), ...Array.from({ length: accessTokens }, () => mint.issue('access'))] as const
        for (const { hash, kind } of [refresh, ...access].map(plain => ({ hash: plain.hash().hex(), kind: plain.kind }))) {
          await sql`insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at)
            values (${randomUUID()}, decode(${hash}, 'hex'), ${kind}, ${userId}, ${id}, '{*}', now(), now() + interval '1 day')`
        }
        sessions.push({ accessToken: access.at(-1)?.reveal() ?? '', refreshToken: refresh.reveal() })
      }
      await sql`analyze`
      return { userId, sessions }
    },

    async liveRows ({ userId }: Account): Promise<number> {
      const [row] = await sql<Array<{ live: number }>>`select (select count(*) from sessions where user_id = ${userId} and ended_at is null)::int
        + (select count(*) from tokens where user_id = ${userId} and revoked_at is null and expires_at > now())::int as live`
      return row?.live ?? 0
    }
  }
}

function createHttp (port: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: writers + 4 })
  return {
    ask: (method: string, path: string, token: string | null, body?: object) =>
      new Promise<{ status: number, body: string }>((resolve, reject) => {
        const text = body === undefined ? '' : JSON.stringify(body)
        const headers = {
          ...token === null ? {} : { authorization: `Bearer ${token}` },
          ...body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
        }
        const sent = request({ agent, port, host: '127.0.0.1', method, path, headers }, reply => {
          let said = ''
          reply.setEncoding('utf8')
          reply.on('data', chunk => { said += String(chunk) })
          reply.on('end', () => resolve({ status: reply.statusCode ?? 0, body: said }))
        })
        sent.on('error', reject)
        sent.end(text)
      }),
    close: () => agent.destroy()
  }
}

type Http = ReturnType<typeof createHttp>

/** Sixty clients of the account that refresh, make and end personal tokens, and change the name, until they are stopped. */
function write (http: Http, { sessions }: Account, answered: Record<string, number>) {
  let running = true
  const count = (reply: { status: number, body: string }) => {
    answered[reply.status] = (answered[reply.status] ?? 0) + 1
    return reply
  }

  async function writer (session: Session, i: number): Promise<void> {
    for (let turn = i; running; turn++) {
      const { accessToken: token } = session
      if (turn % 3 === 0) {
        const refreshed = count(await http.ask('POST', '/v1/refresh', null, { refreshToken: session.refreshToken }))
        if (refreshed.status === 200) Object.assign(session, JSON.parse(refreshed.body))
      } else if (turn % 3 === 1) {
        const made = count(await http.ask('POST', '/v1/tokens', token, { name: 'program' }))
        const { token: { id } } = made.status === 201 ? JSON.parse(made.body) as { token: { id: string } } : { token: { id: null } }
        if (id !== null) count(await http.ask('DELETE', `/v1/tokens/${id}`, token))
      } else count(await http.ask('PATCH', '/v1/me', token, { name: randomBytes(4).toString('hex') }))
    }
  }

  const working = Promise.all(sessions.slice(0, writers).map(writer))
  return {
    async stop () {
      running = false
      await working
    }
  }
}

/** What clients of another account wait for: two read, and one makes and ends personal tokens. */
async function measure (http: Http, { sessions: [session] }: Account): Promise<Samples> {
  const mine = session as Session
  const samples: Samples = { reads: [], writes: [] }
  const startedAt = performance.now()
  const over = () => performance.now() - startedAt > warmMs + roundMs
  const timed = async (what: keyof Samples, work: () => Promise<{ status: number, body: string }>) => {
    const sentAt = performance.now()
    const reply = await work()
    const tookMs = performance.now() - sentAt
    if (reply.status !== 200 && reply.status !== 201) throw new Error(`${what} of another user: ${reply.status} ${reply.body}`)
    if (sentAt - startedAt > warmMs) samples[what].push(tookMs)
    return reply
  }
  async function read (): Promise<void> {
    while (!over()) {
      await timed('reads', () => http.ask('GET', '/v1/me', mine.accessToken))
      await new Promise(resolve => setTimeout(resolve, 2))
    }
  }
  async function make (): Promise<void> {
    while (!over()) {
      const made = await timed('writes', () => http.ask('POST', '/v1/tokens', mine.accessToken, { name: 'program' }))
      await http.ask('DELETE', `/v1/tokens/${(JSON.parse(made.body) as { token: { id: string } }).token.id}`, mine.accessToken)
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
  await Promise.all([read(), read(), make()])
  return samples
}

const p99 = (ms: number[]): number => [...ms].sort((a, b) => a - b)[Math.floor(ms.length * 0.99)] ?? Number.POSITIVE_INFINITY
