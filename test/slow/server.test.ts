import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createPglite } from '../../src/embedded/pglite.js'
import { becomesTrue, password, patienceMs, skipMissing } from '../fixtures/app.js'
import { alone, cliFile, compile, root, serverFile } from '../fixtures/programs.js'
import { createEmptyDatabase, createTestDatabase, findPostgres, freePort, hasRedisServer, openSql, startRedis } from '../fixtures/servers.js'

/** The real process, compiled, as an operator runs it. */

const hidden = 'hidden-word'
const scratch = mkdtempSync(join(tmpdir(), 'latchkey-server-mails-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
/** Without the tests' environment: neither its loaders nor a developer's DATABASE_URL. */
const clean = { PORT: '0', DRAIN_DELAY: '0', BCRYPT_COST: '4', PRUNE_SCHEDULE: '0 2 29 2 *', DATA_DIR: scratch }

// This starts many processes: half a minute on an idle machine.
t.setTimeout(400_000)

await compile()

t.test('with neither DATABASE_URL nor REDIS_URL', async t => {
  const dir = temporaryFolder(t)
  const env = { DATA_DIR: dir }
  let token = ''

  t.test('it starts, and the commands it suggests work', async t => {
    const server = await startServer(t, env)
    t.match(server.stdout(), `Latchkey listens on ${server.base}\n`)
    t.match(server.stdout(), `Documentation: ${server.base}/docs\n`)
    t.match(server.stdout(), /^Sessions: a user may have 1 at a time, .*SESSION_LIMIT=1; 0: no limit/m)
    t.match(server.stdout(), /for development, one process/)
    t.equal(new URL(server.base).hostname, 'localhost')
    t.equal((await fetch(`${server.base}/docs`)).status, 200)
    const [, page, setupToken] = /^There is no administrator yet\. .* within 30 minutes; it works once\.\n(\S+)#token=(lksu_\w+)\n$/.exec(server.stderr()) ?? []
    t.equal(page, `${server.base}/admin/setup`)
    t.equal((await fetch(page as string)).status, 200)
    t.notMatch(server.stdout(), /lksu_/)
    t.equal((await post(server, '/v1/admin/setup', { token: setupToken, email: 'boss@example.com', password })).status, 201)
    const line = /^Try: (curl .*)$/m.exec(server.stdout())?.[1] ?? 'no line to try'
    const { stdout } = await promisify(execFile)('sh', ['-c', line])
    token = JSON.parse(stdout).accessToken
    t.equal(await me(server, token), 200)

    await t.test('a second server on the same folder is refused, naming the pid of the first', async t => {
      const second = await run(serverFile, [], env)
      t.equal(second.code, 1)
      t.match(second.stderr, new RegExp(`in use by a running server \\(process ${server.pid}\\)`))
      t.notMatch(second.stderr, /\n\s+at /)
      t.equal(await me(server, token), 200, 'the first one goes on')
    })

    await t.test('a thousand clients connecting at once while it is busy are all served', {
      skip: mostWaiting() < 2_000 && 'net.core.somaxconn is too low'
    }, async t => {
      process.kill(server.pid, 'SIGSTOP')
      const clients = Array.from({ length: 1_000 }, () => connect(Number(new URL(server.base).port), '127.0.0.1').on('error', () => {}))
      t.teardown(() => { for (const client of clients) client.destroy() })
      let connected = 0
      for (const client of clients) client.on('connect', () => connected++)
      await becomesTrue(() => connected === clients.length, patienceMs)
      process.kill(server.pid, 'SIGCONT')
      t.equal(connected, clients.length)
      t.equal(await me(server, token), 200)
    })

    await server.end('SIGKILL')
  })

  t.test('after kill -9 the token still works, and SIGTERM lets a request finish', async t => {
    const server = await startServer(t, { ...env, BCRYPT_COST: '11', LOG_LEVEL: 'debug' })
    t.equal(server.stderr(), '', 'there is an administrator')
    t.equal(await me(server, token), 200)
    await drains(t, server)
    const after = await fetch(`${server.base}/v1/me`).catch(() => null)
    t.equal(after, null, 'nobody listens any more')
  })

  t.test('tokens:prune without a server opens the database itself', async t => {
    await insertDead(dir, [8, 9, 20, 30])
    const report = await run(cliFile, ['tokens:prune', '--json'], { ...env, PRUNE_RETENTION: '15d' })
    t.equal(report.code, 0, report.stderr)
    t.match(onlyJson(t, report.stdout), { tokens: 2, sessions: 2, dryRun: false, skipped: false })
  })

  t.test('tokens:prune hands the work to a running server', async t => {
    const server = await startServer(t, env)
    const dry = await run(cliFile, ['tokens:prune', '--dry-run', '--json'], env)
    t.equal(dry.code, 0, dry.stderr)
    t.match(onlyJson(t, dry.stdout), { tokens: 2, sessions: 2, dryRun: true })
    const real = await run(cliFile, ['tokens:prune'], env)
    t.equal(real.code, 0, real.stderr)
    t.match(
      real.stdout,
      /^Deleted 2 tokens and 2 sessions that ended before \d{4}-\d\d-\d\dT[\d:.]+Z, 0 old events, 0 old counts of failed logins, 0 expired tokens of mails and 0 unconfirmed registrations\.\n$/
    )
    t.match(onlyJson(t, (await run(cliFile, ['tokens:prune', '--json'], env)).stdout), { tokens: 0, sessions: 0 })
    t.equal(await me(server, token), 200, 'live tokens are left')
    t.equal((await server.end('SIGTERM')).code, 0)
  })

  t.test('services:create works with and without a running server', async t => {
    const alone = await run(cliFile, ['services:create', '--name', 'orders', '--json'], env)
    t.equal(alone.code, 0, alone.stderr)
    const server = await startServer(t, env)
    t.match(await run(cliFile, ['services:create', '--name', 'orders', '--json'], env), { code: 1, stdout: '', stderr: /There is a service named orders/ })
    const beside = await run(cliFile, ['services:create', '--name', 'billing', '--json'], env)
    t.equal(beside.code, 0, beside.stderr)
    for (const { stdout } of [alone, beside]) {
      const { accessToken } = onlyJson(t, stdout) as { accessToken: string }
      const reply = await fetch(
        `${server.base}/oauth/introspect`,
        { method: 'POST', body: new URLSearchParams({ token }), headers: { authorization: `Bearer ${accessToken}` } }
      )
      t.match(await reply.json(), { active: true, scope: '*' })
      t.notMatch(server.stdout(), accessToken)
    }
    const metadata = await (await fetch(`${server.base}/.well-known/oauth-authorization-server`)).json() as { issuer: string }
    t.equal(metadata.issuer, server.base, 'in development it derives its own URL')
    t.equal((await run(cliFile, ['services:create'], env)).code, 2)
    await server.end('SIGTERM')
  })

  t.test('NODE_ENV=production is refused', async t => {
    const refused = await run(serverFile, [], { ...env, NODE_ENV: 'production' })
    t.equal(refused.code, 1)
    t.match(refused.stderr, /NODE_ENV=production needs DATABASE_URL/)
    t.equal(oneLine(refused.stderr), true)
    const mailless = await run(
      serverFile,
      [],
      { ...env, NODE_ENV: 'production', DATABASE_URL: `postgres://127.0.0.1:${await freePort()}/x` }
    )
    t.equal(mailless.code, 1)
    t.match(mailless.stderr, /NODE_ENV=production needs SMTP_URL/)
    t.equal(oneLine(mailless.stderr), true)
  })
})

t.test('a bad environment is refused in one message that names every variable and shows no value', async t => {
  const bad = {
    PORT: 'many',
    BCRYPT_COST: '99',
    SESSION_LIMIT: '-1',
    TOKEN_TTL: '3 weeks',
    PRUNE_SCHEDULE: 'sometimes',
    PRUNE_TIMEZONE: 'Moon/Base',
    LOG_LEVEL: 'loud',
    DATABASE_URL: `mysql://u:${hidden}@h/d`
  }
  for (const [file, args, code] of [[serverFile, [], 1], [cliFile, ['tokens:prune'], 2]] as const) {
    const refused = await run(file, [...args], bad)
    t.equal(refused.code, code)
    t.equal(oneLine(refused.stderr), true)
    for (const name of Object.keys(bad)) t.match(refused.stderr, name)
    t.notMatch(refused.stdout + refused.stderr, hidden)
    t.equal(refused.stdout, '')
  }
})

t.test('tokens:prune --help explains its options', async t => {
  const help = await run(cliFile, ['tokens:prune', '--help'], {})
  t.equal(help.code, 0)
  t.match(help.stdout, /Usage: npm run tokens:prune -- \[--dry-run\] \[--progress\] \[--json\]/)
  for (const args of [['tokens:prune', '--dryrun'], ['tokens:plum']]) {
    const refused = await run(cliFile, args, {})
    t.equal(refused.code, 2, args.join(' '))
    t.equal(refused.stdout, '')
    t.notMatch(refused.stderr, /\n\s+at /)
  }
})

t.test('server and command end with one line when the database does not answer', async t => {
  const silent = await startSilent(t)
  const urls = [
    `postgres://latchkey:${hidden}@127.0.0.1:${await freePort()}/latchkey`,
    `postgres://latchkey:${hidden}@127.0.0.1:${silent}/latchkey`
  ]
  for (const url of urls) {
    await Promise.all([[serverFile], [cliFile, 'tokens:prune']].map(async ([file, ...args]) => {
      const ended = await run(file as string, args, { DATABASE_URL: url })
      t.equal(ended.code, 1)
      t.ok(ended.ms < 45_000, `${Math.round(ended.ms)} ms`)
      t.equal(oneLine(ended.stderr.replace(/^Database: .*\n/, '')), true)
      t.match(ended.stderr, new URL(url).host)
      t.match(ended.stderr, /DATABASE_URL/)
      t.notMatch(ended.stdout + ended.stderr, hidden)
      t.notMatch(ended.stdout + ended.stderr, /\n\s+at /)
    }))
  }
})

t.test('with PostgreSQL', async t => {
  const maintenance = await findPostgres()
  if (maintenance === null) return skipMissing(t, 'needs PostgreSQL: install and start it, or set TEST_DATABASE_URL')
  const { url, drop } = await createTestDatabase(maintenance)
  t.teardown(drop)

  t.test('four instances that start at once on an empty database migrate it once', async t => {
    const fresh = await createEmptyDatabase(t, maintenance)
    const servers = await Promise.all(Array.from({ length: 4 }, () => startServer(t, { DATABASE_URL: fresh })))
    const sql = openSql(fresh)
    const migrations = await sql`select hash from latchkey_migrations`
    const keys = await sql`select name from secrets`
    const epochs = await sql`select id from cache_epoch`
    await sql.end()
    t.equal(migrations.length, readdirSync(join(root, 'db/migrations')).filter(name => name.endsWith('.sql')).length)
    t.strictSame([keys.length, epochs.length], [3, 1])
    const token = await register(servers[0] as Running)
    t.strictSame(await Promise.all(servers.map(server => me(server, token))), [200, 200, 200, 200], 'and all of them know the same keys')
    const ends = await Promise.all(servers.map(server => server.end('SIGTERM')))
    t.strictSame(ends.map(end => end.code), [0, 0, 0, 0])
  })

  t.test('a missing database is named in one line', async t => {
    const nowhere = new URL(url)
    nowhere.pathname = '/latchkey_is_not_here'
    const ended = await run(serverFile, [], { DATABASE_URL: nowhere.href })
    t.equal(ended.code, 1)
    t.equal(oneLine(ended.stderr), true)
    t.match(ended.stderr, /latchkey_is_not_here|3D000/)
  })

  t.test('a Redis that refuses its credentials is named in one line, and the server does not start', async t => {
    if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
    const redis = await startRedis({ args: ['--requirepass', 'another'] })
    t.teardown(() => redis.kill())
    const ended = await run(serverFile, [], { DATABASE_URL: url, REDIS_URL: redis.url.replace('//', `//:${hidden}@`) })
    t.equal(ended.code, 1)
    t.equal(oneLine(ended.stderr), true)
    t.equal(
      ended.stderr.trim(),
      `Latchkey cannot start: Redis at 127.0.0.1:${redis.port} refuses user or password of REDIS_URL (WRONGPASS)`
    )
    t.notMatch(ended.stdout + ended.stderr, hidden)
    t.notMatch(ended.stdout, 'answering from the database')
  })

  t.test('with an unreachable REDIS_URL it serves without a cache', async t => {
    const server = await startServer(t, { DATABASE_URL: url, REDIS_URL: `redis://:${hidden}@127.0.0.1:${await freePort()}` })
    const ready = await fetch(`${server.base}/health/ready`)
    t.equal(ready.status, 200)
    t.match(await ready.json(), { status: 'degraded', cache: { status: 'unavailable', trusted: false } })
    const token = await register(server)
    t.equal(await me(server, token), 200)
    t.equal((await post(server, '/v1/logout', {}, token)).status, 204)
    t.equal(await me(server, token), 401)
    t.equal((await server.end('SIGTERM')).code, 0)
    t.notMatch(server.stdout() + server.stderr(), hidden)
  })

  t.test('after SIGTERM it reports not ready for DRAIN_DELAY, and answers every request meanwhile', async t => {
    const server = await startServer(t, { DATABASE_URL: url, DRAIN_DELAY: '8s' })
    const token = await register(server)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    t.match(await ask(server, agent, '/v1/me', token), { status: 200, connection: 'keep-alive' })
    // Browsers and balancers open connections before they need them.
    const silent = connect(Number(new URL(server.base).port), '127.0.0.1').on('error', () => {})
    t.teardown(() => silent.destroy())
    await once(silent, 'connect')

    const ended = server.end('SIGTERM')
    t.equal(await becomesTrue(async () => (await fetch(`${server.base}/health/ready`)).status === 503, 7_000), true)
    const ready = await fetch(`${server.base}/health/ready`)
    t.match(
      [ready.status, await ready.json(), ready.headers.get('retry-after')],
      [503, { status: 'stopping', database: { status: 'ok' } }, '2']
    )
    t.equal((await fetch(`${server.base}/health/live`)).status, 200, 'but alive')
    t.match(await ask(server, agent, '/v1/me', token), { status: 200, connection: 'close' }, 'on an existing connection, which then closes')
    t.equal((await post(server, '/v1/logout', {}, token)).status, 204, 'on a new one too')
    t.equal(await me(server, token), 401)
    const { code, ms } = await ended
    t.equal(code, 0, server.stderr())
    t.ok(ms >= 8_000 && ms < 13_000, `${Math.round(ms)} ms: not held up by a connection on which nothing was said`)
    t.equal(await fetch(`${server.base}/health/live`).catch(() => null), null)
  })

  t.test('in production the output is JSON alone, and says what the session limit is', async t => {
    const server = await startServer(
      t,
      {
        DATABASE_URL: url,
        NODE_ENV: 'production',
        SMTP_URL: 'smtp://127.0.0.1',
        PUBLIC_URL: 'https://auth.example.com',
        APP_URL: 'https://app.example.com',
        MAIL_FROM: 'auth@example.com',
        SESSION_LIMIT: '3',
        LOG_LEVEL: 'trace'
      }
    )
    await server.logged(/"sessionLimit":3.*a user may have 3 at a time/)
    t.ok(await becomesTrue(() => server.stderr() !== '', patienceMs))
    for (const line of server.stdout().trimEnd().split('\n')) t.type(JSON.parse(line).level, 'number', line)
    t.match(server.stderr(), /^There is no administrator yet\..*\nhttps:\/\/auth\.example\.com\/admin\/setup#token=lksu_\w+\n$/)
    t.notMatch(server.stdout(), /lksu_/)
    t.equal((await server.end('SIGTERM')).code, 0)
  })

  t.test('without pages there is no link that makes the first administrator', async t => {
    const server = await startServer(t, { DATABASE_URL: url, PAGES: 'false' })
    t.equal(await fetch(`${server.base}/admin/setup`).then(({ status }) => status), 404)
    t.equal((await server.end('SIGTERM')).code, 0)
    t.equal(server.stderr(), '')
  })

  t.test('Ctrl+C does not wait for a load balancer', async t => {
    const server = await startServer(t, { DATABASE_URL: url, DRAIN_DELAY: '1m' })
    const { code, ms } = await server.end('SIGINT')
    t.equal(code, 0, server.stderr())
    t.ok(ms < 30_000, `${Math.round(ms)} ms`)
  })

  t.test('an unfinished request does not delay shutdown', async t => {
    const server = await startServer(t, { DATABASE_URL: url })
    const half = connect(Number(new URL(server.base).port), '127.0.0.1').on('error', () => {})
    t.teardown(() => half.destroy())
    half.write('POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{')
    t.equal(await me(server, await register(server)), 200)
    const { code, ms } = await server.end('SIGTERM')
    t.equal(code, 0, server.stderr())
    t.ok(ms < 10_000, `${Math.round(ms)} ms`)
  })

  t.test('SIGTERM ends it while PostgreSQL is down', async t => {
    const proxy = await startProxy(t, url)
    const server = await startServer(t, { DATABASE_URL: proxy.url })
    const token = await register(server)
    t.equal(await me(server, token), 200)
    proxy.stop('closed')
    t.equal(await me(server, token), 503)
    const end = await server.end('SIGTERM')
    t.equal(end.code, 0, server.stderr())
    t.ok(end.ms < 10_000, `${Math.round(end.ms)} ms`)
  })

  t.test('SIGTERM ends it while requests wait for a PostgreSQL that stopped answering', async t => {
    const proxy = await startProxy(t, url)
    const server = await startServer(t, { DATABASE_URL: proxy.url, BCRYPT_COST: '11', LOG_LEVEL: 'debug' })
    const email = `${Math.random()}@example.com`
    const token = await register(server, email)
    const login = post(server, '/v1/login', { email, password })
    await server.logged(/"url":"\/v1\/login".*incoming request/s)
    proxy.stop('silent')
    const look = me(server, token)
    await server.logged(/"url":"\/v1\/me".*incoming request/s)
    const end = await server.end('SIGTERM')
    t.equal(end.code, 0, server.stderr())
    t.ok(end.ms < 10_000, `${Math.round(end.ms)} ms`)
    t.strictSame([(await login).status, await look], [503, 503], 'and they are told so')
  })

  t.test('with a Redis of its own', async t => {
    if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')

    t.test('SIGTERM lets a request finish while Redis is frozen', async t => {
      const redis = await startRedis()
      t.teardown(() => redis.kill())
      const server = await startServer(
        t,
        { DATABASE_URL: url, REDIS_URL: redis.url, DRAIN_DELAY: '2s', BCRYPT_COST: '11', LOG_LEVEL: 'debug' }
      )
      await drains(t, server, () => { process.kill(redis.pid, 'SIGSTOP') })
    })

    t.test('SIGTERM lets a request finish while Redis is down', async t => {
      const redis = await startRedis()
      const server = await startServer(
        t,
        { DATABASE_URL: url, REDIS_URL: redis.url, DRAIN_DELAY: '2s', BCRYPT_COST: '11', LOG_LEVEL: 'debug' }
      )
      await drains(t, server, () => redis.kill())
    })
  })
})

/**
 * A login in progress when SIGTERM arrives is answered, and the process exits with 0 within DRAIN_DELAY plus 10 s; `meanwhile` runs just
 * before the signal.
 */
async function drains (t: Test, server: Running, meanwhile: () => void | Promise<void> = () => {}): Promise<void> {
  const email = `${Math.random()}@example.com`
  await register(server, email)
  const login = post(server, '/v1/login', { email, password })
  await server.logged(/"url":"\/v1\/login".*incoming request/s)
  await meanwhile()
  const ended = server.end('SIGTERM')
  const reply = await login
  t.equal(reply.status, 200)
  t.match(await tokenOf(reply), /^lk_/)
  const { code, ms } = await ended
  t.equal(code, 0, server.stderr())
  t.ok(ms < 12_000, `${Math.round(ms)} ms`)
}

type Running = Awaited<ReturnType<typeof startServer>>

/** Starts a server and waits until it prints its address. */
async function startServer (t: Test, env: Record<string, string>) {
  const child = spawn(...alone({ ...clean, ...env }, process.execPath, serverFile), { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const { exited, stdout, stderr } = follow(child)
  t.teardown(() => { child.kill('SIGKILL') })
  const base = () => /(?:^Latchkey listens on |Server listening at )(http:[^\s"]+)/m.exec(stdout())?.[1]
  if (!await becomesTrue(() => base() !== undefined || child.exitCode !== null, 60_000) ||
    base() === undefined) throw new Error(`the server did not start: ${stderr()}`)
  return {
    base: base() as string,
    pid: child.pid as number,
    stdout,
    stderr,
    /** Resolves when the log has a line like this. */
    async logged (line: RegExp) {
      if (!await becomesTrue(() => stdout().split('\n').some(text => line.test(text)), 60_000)) throw new Error(`not logged: ${line}`)
    },
    async end (signal: NodeJS.Signals) {
      const sentAt = performance.now()
      child.kill(signal)
      return { code: await exited, ms: performance.now() - sentAt }
    }
  }
}

/** Runs a program until it exits. */
async function run (file: string, args: string[], env: Record<string, string>) {
  const startedAt = performance.now()
  const child = spawn(
    ...alone({ ...clean, ...env }, process.execPath, file, ...args),
    { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 }
  )
  const { exited, stdout, stderr } = follow(child)
  const code = await exited
  return { code, stdout: stdout(), stderr: stderr(), ms: performance.now() - startedAt }
}

function follow (child: ChildProcess) {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const exited = once(child, 'close').then(([code]) => code as number | null)
  return { exited, stdout: () => stdout, stderr: () => stderr }
}

async function post (server: Running, path: string, body: object, token?: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', ...token === undefined ? {} : { authorization: `Bearer ${token}` } }
  return await fetch(
    `${server.base}${path}`,
    { method: 'POST', headers, ...Object.keys(body).length > 0 ? { body: JSON.stringify(body) } : {} }
  )
}

async function register (server: Running, email = `${Math.random()}@example.com`): Promise<string> {
  const reply = await post(server, '/v1/register', { email, password })
  if (reply.status !== 201) throw new Error(`register answered ${reply.status}`)
  return await tokenOf(reply)
}

async function tokenOf (reply: Response): Promise<string> {
  return (await reply.json() as { accessToken: string }).accessToken
}

async function me (server: Running, token: string): Promise<number> {
  return (await fetch(`${server.base}/v1/me`, { headers: { authorization: `Bearer ${token}` } })).status
}

/** One request through `agent`: its status and Connection header. */
async function ask (
  server: Running,
  agent: Agent,
  path: string,
  token: string
): Promise<{ status: number | undefined, connection: string | undefined }> {
  return await new Promise((resolve, reject) => {
    get(`${server.base}${path}`, { agent, headers: { authorization: `Bearer ${token}` } }, reply => {
      reply.resume().on('end', () => resolve({ status: reply.statusCode, connection: reply.headers.connection }))
    }).on('error', reject)
  })
}

/** The system's limit on connections waiting to be accepted; 0 if unknown. */
function mostWaiting (): number {
  const file = '/proc/sys/net/core/somaxconn'
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
}

function oneLine (text: string): boolean {
  return /^[^\n]+\n$/.test(text)
}

/** Parses standard output that must be exactly one line of JSON. */
function onlyJson (t: Test, stdout: string): unknown {
  t.equal(oneLine(stdout), true)
  return JSON.parse(stdout)
}

function temporaryFolder (t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-server-'))
  t.teardown(() => { rmSync(dir, { recursive: true, force: true }) })
  return dir
}

/** Inserts a session with one token per entry of `ages`, expired that many days ago, into a data folder that no process has open. */
async function insertDead (dir: string, ages: number[]): Promise<void> {
  const database = await createPglite(join(dir, 'postgres'))
  await database.prepared(`
    with dead as (select gen_random_uuid() as id, (select id from users limit 1) as user_id, now() - make_interval(days => age) as ended from unnest($1::int[]) age),
    opened as (insert into sessions (id, user_id, created_at, last_used_at, expires_at) select id, user_id, ended, ended, ended from dead)
    insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at)
    select gen_random_uuid(), sha256(id::text::bytea), 'access', user_id, id, '{*}', ended, ended from dead`, [`{${ages.join(',')}}`])
  await database.close()
}

/** A port that accepts connections and never answers. */
async function startSilent (t: Test): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => { sockets.add(socket.on('error', () => {})) })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close(); for (const socket of sockets) socket.destroy() })
  return portOf(server)
}

/** A proxy to the database at `url` that can close, or go silent with its connections open. */
async function startProxy (t: Test, url: string) {
  const { hostname, port } = new URL(url)
  const pairs: Array<[Socket, Socket]> = []
  let silent = false
  const server = createServer(near => {
    const far = connect({ host: hostname, port: Number(port || 5432) })
    pairs.push([near, far])
    for (const [from, to] of [[near, far], [far, near]] as const) {
      from.on('data', chunk => { if (!silent) to.write(chunk) }).on('error', () => to.destroy()).on('close', () => to.destroy())
    }
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const destroy = () => {
    server.close()
    for (const sockets of pairs) for (const socket of sockets) socket.destroy()
  }
  t.teardown(destroy)
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String(portOf(server))
  return {
    url: through.href,
    stop (how: 'closed' | 'silent') {
      if (how === 'closed') destroy()
      else silent = true
    }
  }
}

function portOf (server: ReturnType<typeof createServer>): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
