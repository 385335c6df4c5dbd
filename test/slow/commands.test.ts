import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import bcrypt from 'bcrypt'
import t, { type Test } from 'tap'
import { commandNames } from '../../src/commands/index.js'
import { newEmail, password, serverGround, skipMissing, startApp } from '../fixtures/app.js'
import { alone, cliFile, compile, root, serverFile } from '../fixtures/programs.js'
import { createEmptyDatabase, findPostgres } from '../fixtures/servers.js'

/** Each command as a process of its own, as an operator runs it. */

await compile()

/** Runs a command, and takes the line off stderr that names the database, which has to be there whatever else happens. */
async function cli (t: Test, env: Record<string, string>, args: string[], input: string | Buffer = '', folder = '.') {
  const ended = await shell(t, args, { BCRYPT_COST: '4', ...env }, input, folder)
  const [, place = null, stderr = ended.stderr] = /^Database: (.*)\n([\s\S]*)$/.exec(ended.stderr) ?? []
  if (/^Usage|\nUsage/.test(ended.stdout + ended.stderr)) t.equal(place, null, 'there is nothing to do')
  else t.equal(place, placeOf(env, folder), `${args.join(' ')} names its database`)
  return { ...ended, stderr }
}

function placeOf ({ DATABASE_URL: url, DATA_DIR: dir = '.latchkey' }: Record<string, string>, folder: string): string {
  return url === undefined ? `embedded in ${resolve(folder, dir)}` : `${new URL(url).pathname.slice(1)} at ${new URL(url).host}`
}

t.test('a command without Redis takes effect on all running instances with Redis before it returns', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const env = { DATABASE_URL: ground.databaseUrl as string }
  const withRedis = { ...env, REDIS_URL: ground.redisUrl as string, REDIS_KEY_PREFIX: ground.prefix }
  const [one, two] = await Promise.all([startApp(t, ground), startApp(t, ground)])
  // These instances poll, as servers do: one of them settles for the process without Redis.
  const codes = async (
    token: string,
    path = '/v1/me'
  ) => (await Promise.all([one, two].map(app => app.call('GET', path as '/v1/me', { token })))).map(reply => reply.statusCode)
  const cached = async (token: string) => { for (const app of [one, two]) t.ok(await app.cached(token)) }

  for (const [name, environment] of [['without Redis', env], ['with Redis', withRedis]] as const) {
    const [mine, theirs] = [await one.account(), await two.account()]
    const personal = await one.personal(mine.token)
    for (const token of [mine.token, theirs.token, personal]) await cached(token)
    t.strictSame(
      await cli(t, environment, ['users:promote', '--email', mine.email]),
      { code: 0, stdout: `${mine.email} has the role admin now.\n`, stderr: '' },
      name
    )
    t.same(await codes(mine.token, '/v1/admin/users'), [200, 200], name)
    t.match(await cli(t, environment, ['tokens:revoke', '--email', mine.email, '--yes']), { code: 0, stderr: '' })
    t.same([...await codes(mine.token), ...await codes(personal), ...await codes(theirs.token)], [401, 401, 401, 401, 200, 200], name)
    t.match(await cli(t, environment, ['cache:clear', '--json']), { code: 0, stdout: '{"cleared":true}\n', stderr: '' })
    await cached(theirs.token)
    const figures = async () => JSON.parse((await cli(t, environment, ['tokens:stats', '--json'])).stdout).cache
    let cache = await figures()
    // A command tries Redis once, with the same short timeout as a server.
    while (name === 'with Redis' && cache.keys === null) cache = await figures()
    t.match(cache, { openSettlements: 0, registered: true, hitRatio: null, keys: name === 'with Redis' ? Number : null })
    t.match(await cli(t, environment, ['tokens:revoke', '--all', '--yes', '--json']), { code: 0, stderr: '' })
    t.same(await codes(theirs.token), [401, 401], name)
  }
  await Promise.all([one.close(), two.close()])
  t.match(await cli(t, env, ['users:create', '--email', newEmail(), '--admin', '--json']), { code: 0, stderr: '' })
  t.match(await cli(t, env, ['cache:clear']), { code: 0 }, 'with no instance running')
})

t.test('without a terminal a command that would ask is refused, and a password is read from standard input', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-commands-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const env = { DATA_DIR: dir }
  t.match(await cli(t, env, ['db:migrate']), { code: 0, stdout: 'The database is at the newest schema.\n', stderr: '' })
  for (const answer of [
    '',
    'yes\n'
  ]) t.match(await cli(t, env, ['tokens:revoke', '--all'], answer), { code: 2, stdout: '', stderr: /pass --yes\.\n$/ })
  const [first, second] = [newEmail(), newEmail()]
  t.strictSame(
    await cli(t, env, ['users:create', '--email', first, '--admin', '--password-stdin'], `${password}\nmore\n`),
    { code: 0, stdout: `Created the account of ${first}, an administrator.\n`, stderr: '' }
  )
  t.match(await cli(t, env, ['users:create', '--email', first]), { code: 1, stdout: '', stderr: 'An account with this email exists\n' })
  t.match(await cli(t, env, ['users:promote', '--email', first]), { code: 0 }, 'on the embedded database, after its last server has ended')

  const base = await startServer(t, env)
  t.match(await cli(t, env, ['users:create', '--email', second, '--password-stdin'], `${password}\r\n`), { code: 0, stderr: '' })
  for (const email of [first, second]) {
    const reply = await logIn(base, email)
    t.equal(reply.status, 200)
    const { accessToken } = await reply.json() as { accessToken: string }
    const authorization = `Bearer ${accessToken}`
    t.equal((await fetch(`${base}/v1/me`, { headers: { authorization } })).status, 200)
    t.match(await cli(t, env, ['tokens:revoke', '--email', email, '--yes']), { code: 0 }, 'by the running server')
    t.equal((await fetch(`${base}/v1/me`, { headers: { authorization } })).status, 401)
  }
  const figures = async () => JSON.parse((await cli(t, env, ['tokens:stats', '--json'])).stdout)
  let stats = await figures()
  while (!stats.cache.trusted) stats = await figures()
  t.match(stats, { cache: { trusted: true, hitRatio: Number } }, 'the server tells its own')
  t.match(await cli(t, env, ['users:promote', '--email', newEmail()]), { code: 1, stdout: '', stderr: /no account/ })
})

t.test('arguments are read before anything is done', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-arguments-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const env = { DATA_DIR: join(dir, 'data') }
  t.match(await cli(t, env, ['db:migrate', '--help']), { code: 0, stdout: /^Usage: npm run db:migrate -- \[--json\]\n/, stderr: '' })
  for (const args of [['db:migrate', 'nonsense'], ['db:migrate', '--force'], ['users:create', '--email', 'nonsense'], ['users:create']]) {
    t.match(await cli(t, env, args), { code: 2, stdout: '', stderr: /\nUsage: npm run / }, args.join(' '))
  }
  t.notOk(existsSync(env.DATA_DIR), 'no database was made')
})

t.test('the server takes no arguments, and says so before it makes a database', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-arguments-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const env = { DATA_DIR: join(dir, 'data'), PORT: '0' }
  const serve = (...args: string[]) => shell(t, args, env, '', dir, serverFile)
  t.match(await serve('--help'), { code: 0, stdout: /^Usage: npm start\n.*environment/, stderr: '' })
  for (const argument of ['nonsense', '--port']) {
    t.match(await serve(argument, '80'), { code: 2, stdout: '', stderr: `Unexpected argument "${argument}".\n\nUsage: npm start` })
  }
  t.strictSame(readdirSync(dir), [])
})

t.test('programs for developers explain themselves, and refuse what they do not know in one line', async t => {
  for (const [name, file] of [
    ['bench', 'bench/run.ts'], ['bench:scale', 'bench/scale/run.ts'], ['test:faults', 'test/faults/run.ts'], ['test:model', 'test/model/explore.ts']
  ] as const) {
    const run = (...args: string[]) => shell(t, [join(root, file), ...args], {}, '', '.', join(root, 'node_modules/tsx/dist/cli.mjs'))
    t.match(await run('--help'), { code: 0, stdout: `npm run ${name} -- [`, stderr: '' }, name)
    for (const wrong of ['--nonsense', 'nonsense']) {
      t.match(await run(wrong), { code: 2, stdout: '', stderr: new RegExp(`^[^\n]*'${wrong}'[^\n]*\n\nnpm run ${name} -- \\[`) }, `${name} ${wrong}`)
    }
  }
})

t.test('a database that is not there is told from a user who may not', async t => {
  const server = await findPostgres()
  if (server === null) return skipMissing(t, 'needs PostgreSQL: install and start it, or set TEST_DATABASE_URL')
  const url = new URL(server)
  url.pathname = '/latchkey_nowhere'
  const { host } = url
  for (const args of [['users:list'], ['db:migrate']]) {
    t.strictSame(await cli(t, { DATABASE_URL: url.href }, args), {
      code: 1, stdout: '', stderr: `PostgreSQL at ${host} has no database latchkey_nowhere: create it, or correct DATABASE_URL.\n`
    })
  }
  url.pathname = '/postgres'
  url.username = 'latchkey_nobody'
  t.match(await cli(t, { DATABASE_URL: url.href }, ['users:list']), {
    code: 1, stdout: '', stderr: `PostgreSQL at ${host} refused the user or password of DATABASE_URL, or this user in this database (SQLSTATE 28`
  })
})

/** Arguments with which each command that needs a database would do something. */
const complete: Record<string, string[]> = {
  'users:create': ['--email', newEmail()], 'users:promote': ['--email', newEmail()], 'users:disable': ['--email', newEmail()],
  'users:show': ['--email', newEmail()], 'services:delete': ['--name', 'orders', '--yes'],
  'users:enable': ['--email', newEmail()], 'users:delete': ['--email', newEmail(), '--yes'], 'users:import': ['/dev/null'],
  'services:create': ['--name', 'orders'], 'tokens:revoke': ['--all', '--yes']
}

t.test('no command but db:migrate makes a database', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-wrong-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true, maxRetries: 20 }))
  const env = { DATA_DIR: join(dir, 'data') }
  for (const name of commandNames.filter(name => !['db:migrate', 'config:check', 'verifier:role'].includes(name))) {
    t.strictSame(
      await cli(t, env, [name, ...complete[name] ?? []]),
      {
        code: 1,
        stdout: '',
        stderr: `There is no database in ${env.DATA_DIR}: correct DATA_DIR or DATABASE_URL, or make it with npm run db:migrate or by starting the server.\n`
      },
      name
    )
  }
  t.strictSame(readdirSync(dir), [], 'not even a folder')
  t.strictSame(await cli(t, env, ['db:migrate', '--json']), { code: 0, stdout: '{"migrated":true}\n', stderr: '' })
  t.match(await cli(t, env, ['services:create', '--name', 'orders', '--json']), { code: 0, stdout: /^\{.*"accessToken":"lkp_.*\}\n$/, stderr: '' })

  const server = await findPostgres()
  if (server === null) return skipMissing(t, 'needs PostgreSQL: install and start it, or set TEST_DATABASE_URL')
  const url = await createEmptyDatabase(t, server)
  const { pathname, host } = new URL(url)
  t.strictSame(await cli(t, { DATABASE_URL: url }, ['services:create', '--name', 'orders']), {
    code: 1,
    stdout: '',
    stderr: `The database ${pathname.slice(1)} at ${host} has no tables of Latchkey: correct DATABASE_URL, or make it with npm run db:migrate or by starting the server.\n`
  })
  t.match(await cli(t, { DATABASE_URL: url }, ['db:migrate']), { code: 0 })
  t.match(await cli(t, { DATABASE_URL: url }, ['services:list']), { code: 0, stdout: 'There are no services.\n' })
})

t.test('config:check shows what a server would use, and fails where none would start, without touching anything', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-check-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const check = (env: Record<string, string>, ...args: string[]) => shell(t, ['config:check', ...args], env, '', dir)
  const good = await check({ DATA_DIR: 'data', COOKIE_SECURE: 'false' })
  t.match(good, { code: 0, stderr: '', stdout: /^Database: embedded in (.*)\nCache: in the process\nMail: files in .*\nNo warnings\.\nVariables:\n/ })
  t.match(good.stdout, new RegExp(`^Database: embedded in ${join(realpathSync(dir), 'data')}\n`))
  t.match(good.stdout, /\n {2}COOKIE_SECURE +false\n/)
  t.match(good.stdout, /\n {2}PORT +3000 \(default\)\n/)
  const url = 'postgres://u:hidden-word@h:1/d?sslmode=perhaps'
  const bad = await check({ DATABASE_URL: url })
  t.match(bad, { code: 1, stdout: '', stderr: /^A server would not start:\n {2}DATABASE_URL: sslmode must be/ })
  t.match(await check({ NODE_ENV: 'production', DATABASE_URL: url.replace('sslmode=perhaps', 'sslrootcert=/nowhere.pem') }), {
    code: 1, stdout: '', stderr: /^A server would not start:\n {2}NODE_ENV=production needs SMTP_URL.*\n {2}DATABASE_URL: the file of sslrootcert/
  })
  const { code, stdout, stderr } = await check({ PORT: 'x' }, '--json')
  t.strictSame([code, stderr], [1, ''])
  t.match(JSON.parse(stdout), { valid: false, problems: [/^PORT/], uses: null, variables: [] })
  t.match(JSON.parse((await check({ DATABASE_URL: url.replace('perhaps', 'disable') }, '--json')).stdout), { valid: true, uses: { database: 'd at h:1' } })
  t.notMatch(good.stdout + bad.stderr, 'hidden-word')
  t.strictSame(readdirSync(dir), [])
})

t.test('a password that is not UTF-8, or no password at all, makes no account', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-passwords-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const email = newEmail()
  await cli(t, { DATA_DIR: dir }, ['db:migrate'])
  const create = (input: string | Buffer) => cli(t, { DATA_DIR: dir }, ['users:create', '--email', email, '--password-stdin'], input)
  t.match(
    await create(Buffer.from('müller und söhne\n', 'latin1')),
    { code: 1, stdout: '', stderr: 'The password is not UTF-8: set the terminal or the file to UTF-8.\n' }
  )
  t.match(await create(Buffer.from('müller und söhne', 'utf16le')), { code: 1, stdout: '' })
  t.match(await create('x'.repeat(100_000)), { code: 1, stdout: '', stderr: /too long/ })
  for (const nothing of ['', '\r\n']) t.match(await create(nothing), { code: 1, stdout: '', stderr: /no password/ })
  t.match(await create('\ufeffmüller und söhne\r\n'), { code: 0 }, 'with a byte order mark, as some editors put it there')
  const base = await startServer(t, { DATA_DIR: dir })
  t.equal((await logIn(base, email, 'müller und söhne')).status, 200)
})

t.test('users:import opens the database itself when no server runs, and hands the work to a running server', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-import-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const env = { DATA_DIR: join(folder, 'data') }
  await cli(t, env, ['db:migrate'])
  const [first, second] = [newEmail(), newEmail()]
  const passwordHash = await bcrypt.hash(password, 4)
  for (const [name, email] of [
    ['first', first],
    ['second', second]
  ] as const) writeFileSync(join(folder, `${name}.jsonl`), JSON.stringify({ email, passwordHash }))
  t.strictSame(await cli(t, env, ['users:import', 'first.jsonl'], '', folder), { code: 0, stdout: 'Imported 1 users.\n', stderr: '' })

  const base = await startServer(t, env)
  t.strictSame(
    await cli(t, env, ['users:import', 'second.jsonl', '--json'], '', folder),
    { code: 0, stderr: '', stdout: `${JSON.stringify({ users: 1, imported: 1, dryRun: false, problems: [] })}\n` }
  )
  for (const email of [first, second]) t.equal((await logIn(base, email)).status, 200)
})

t.test('progress goes to stderr in plain lines, whether a running server does the work or the command itself', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-progress-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const env = { DATA_DIR: join(folder, 'data') }
  await cli(t, env, ['db:migrate'])
  const passwordHash = await bcrypt.hash(password, 4)
  const importing = (name: string) => {
    writeFileSync(join(folder, name), JSON.stringify({ email: newEmail(), passwordHash }))
    return cli(t, env, ['users:import', '--progress', name], '', folder)
  }
  const told = { code: 0, stdout: 'Imported 1 users.\n', stderr: 'Checking: 100%, 1 lines\nImporting: 100%, 1 lines\n' }
  t.strictSame(await importing('alone.jsonl'), told)
  t.match(await cli(t, env, ['tokens:prune', '--progress']), { code: 0, stderr: '' }, 'nothing to delete, nothing to tell')
  await startServer(t, env)
  t.strictSame(await importing('served.jsonl'), told)
})

function logIn (base: string, email: string, secret = password): Promise<globalThis.Response> {
  return fetch(
    `${base}/v1/login`,
    { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email, password: secret }) }
  )
}

/** A command's exit code and output. */
async function shell (
  t: Test,
  args: string[],
  env: Record<string, string>,
  input: string | Buffer,
  cwd: string,
  program = cliFile
): Promise<{ code: number | null, stdout: string, stderr: string }> {
  const child = spawn(...alone(env, process.execPath, program, ...args), { stdio: 'pipe', cwd })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text: Buffer) => { stdout += text })
  child.stderr.on('data', (text: Buffer) => { stderr += text })
  child.stdin.on('error', () => t.comment('it reads nothing'))
  child.stdin.end(input)
  const [code] = await once(child, 'close') as [number | null]
  return { code, stdout, stderr }
}

/** The compiled server in a folder of its own, on a free port; returns where it listens. */
async function startServer (t: Test, env: Record<string, string>): Promise<string> {
  const server = spawn(
    ...alone({ PORT: '0', BCRYPT_COST: '4', LOG_LEVEL: 'error', ...env }, process.execPath, serverFile),
    { stdio: ['ignore', 'pipe', 'inherit'] }
  )
  const gone = once(server, 'exit')
  t.teardown(async () => {
    server.kill()
    await gone
  })
  for await (const line of createInterface({ input: server.stdout })) {
    const [, base] = /^Latchkey listens on (\S+)$/.exec(line) ?? []
    if (base !== undefined) return base
  }
  throw new Error('the server did not start listening')
}
