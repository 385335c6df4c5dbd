import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { becomesTrue, newEmail, password, skipMissing } from '../fixtures/app.js'
import { alone, cliFile, compile, root, serverFile } from '../fixtures/programs.js'

/** The compiled programs at a terminal, as people see them. */

t.setTimeout(600_000)

await compile()
const hasTerminal = spawnSync('script', ['-qec', 'test -t 0 -a -t 1', '/dev/null'], { stdio: 'ignore' }).status === 0

/** A program at a terminal of its own. */
class Terminal {
  output = ''
  readonly #child: ChildProcess
  readonly exited: Promise<number | null>

  constructor (t: Test, env: Record<string, string>, ...words: string[]) {
    this.#child = spawn(
      ...alone(
        { TERM: 'xterm', BCRYPT_COST: '4', LOG_LEVEL: 'info', ...env },
        'script',
        '-qec',
        ['exec', process.execPath, ...words].join(' '),
        '/dev/null'
      ),
      { stdio: ['pipe', 'pipe', 'inherit'] }
    )
    this.#child.stdout?.on('data', chunk => { this.output += String(chunk) })
    this.exited = once(this.#child, 'close').then(([code]) => code as number | null)
    t.teardown(() => { this.#child.kill('SIGKILL') })
  }

  async sees (text: RegExp): Promise<void> {
    if (!await becomesTrue(() => text.test(this.output), 90_000)) throw new Error(`${text} was not printed: ${this.output}`)
  }

  type (text: string): void {
    this.#child.stdin?.write(text)
  }
}

t.test('the server greets people, and logs lines that they can read', async t => {
  if (!hasTerminal) return skipMissing(t, 'needs script: install util-linux')
  const dir = newFolder(t)
  const env = { PORT: '0', DATA_DIR: dir }
  const server = new Terminal(t, env, serverFile)
  await server.sees(/\r\nLatchkey listens on http:\/\/localhost:\d+\r\n/)
  await server.sees(
    /\r\nSessions: a user may have 1 at a time, and a login past that ends the oldest \(SESSION_LIMIT=1; 0: no limit\)\.\r\n/
  )
  t.match(server.output, /\[\d\d:\d\d:\d\d\].*INFO.*creating an embedded database in/)
  t.match(server.output, /INFO.*Server listening at http:\/\/localhost:\d+/)
  t.notMatch(server.output, '"level"')
  server.type('\u0003')
  t.equal(await server.exited, 0)

  const plain = new Terminal(t, { ...env, NO_COLOR: '1' }, serverFile)
  await plain.sees(/Latchkey listens on/)
  t.match(plain.output, /\[\d\d:\d\d:\d\d\] INFO: /)
  t.equal(plain.output.includes('\u001b['), false)
  plain.type('\u0003')
  await plain.exited
})

t.test('a command asks before what cannot be undone, and does not show the password that is typed', async t => {
  if (!hasTerminal) return skipMissing(t, 'needs script: install util-linux')
  const env = { DATA_DIR: newFolder(t) }
  const email = newEmail()
  const migrate = new Terminal(t, env, cliFile, 'db:migrate')
  t.equal(await migrate.exited, 0)
  t.equal(migrate.output, `Database: embedded in ${env.DATA_DIR}\r\nThe database is at the newest schema.\r\n`)
  const create = new Terminal(t, env, cliFile, 'users:create', '--email', email, '--password-stdin')
  await create.sees(/Password: $/)
  create.type(`${password}\r`)
  t.equal(await create.exited, 0)
  t.match(create.output, `Created the account of ${email}.\r\n`)
  t.notMatch(create.output, password)

  for (const [answer, code, outcome] of [
    ['n\r', 1, 'Nothing was done.'],
    ['\u0004', 1, 'Nothing was done.'],
    ['y\r', 0, `Deleted the account of ${email}.`]
  ] as const) {
    const remove = new Terminal(t, env, cliFile, 'users:delete', '--email', email)
    await remove.sees(/^Database: embedded in .*\r\nDelete the account .*\? \[y\/N\] $/)
    remove.type(answer)
    t.equal(await remove.exited, code, outcome)
    t.match(remove.output, outcome)
  }
})

t.test('npm run dev goes on with what is changed in the pages and in the server, and Ctrl-C ends it in order', async t => {
  if (!hasTerminal) return skipMissing(t, 'needs script: install util-linux')
  const copy = newFolder(t)
  for (const name of ['src', 'db', 'pages', 'clients', 'scripts', 'package.json', 'package-lock.json', 'tsconfig.json']) {
    cpSync(join(root, name), join(copy, name), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  const dev = new Terminal(t, { PORT: '0', DATA_DIR: join(copy, 'data') }, join(copy, 'scripts/dev.js'))
  const change = (file: string, from: string, to: string) => {
    const text = readFileSync(join(copy, file), 'utf8')
    t.ok(text.includes(from), file)
    writeFileSync(join(copy, file), text.replace(from, to))
  }
  await dev.sees(/INFO.*Server listening at http/)
  await dev.sees(/Latchkey listens on http/)
  t.notMatch(dev.output, '"level"', 'lines for people')
  t.notMatch(dev.output, /Restarting/, 'and it starts once')
  const page = async () => {
    const address = [...dev.output.matchAll(/listens on (http:\/\/\S+)/g)].at(-1)?.[1]
    return await fetch(`${address}/account`).then(reply => reply.text(), () => '')
  }
  t.match(await page(), 'This page needs JavaScript')
  change('pages/texts/en.json', 'This page needs JavaScript', 'This page wants JavaScript')
  t.ok(await becomesTrue(async () => /This page wants JavaScript/.test(await page()), 90_000))
  change('src/pages/shell.ts', '<meta name="robots" content="noindex">', '<meta name="robots" content="none">')
  t.ok(await becomesTrue(async () => /content="none"/.test(await page()), 90_000))
  dev.type('\u0003')
  t.equal(await dev.exited, 0)
  t.notMatch(dev.output, /Force killing/)
  t.equal(await page(), '', 'nothing is left behind')
})

t.test('progress is a bar in a terminal, that of a running server too', async t => {
  if (!hasTerminal) return skipMissing(t, 'needs script: install util-linux')
  const folder = newFolder(t)
  const env = { PORT: '0', DATA_DIR: join(folder, 'data') }
  const file = join(folder, 'users.jsonl')
  writeFileSync(file, Array.from({ length: 2_500 }, () => JSON.stringify({ email: newEmail(), passwordHash: `$2b$04$${'a'.repeat(53)}` })).join('\n'))
  t.equal(await new Terminal(t, env, cliFile, 'db:migrate').exited, 0)
  const full = `\\[#{24}\\] (Checking|Importing): 100%, 2500 lines`
  const alone = new Terminal(t, env, cliFile, 'users:import', file, '--progress', '--dry-run')
  t.equal(await alone.exited, 0)
  t.match(alone.output, new RegExp(`\r\\[#{9}-{15}\\] Checking: \\d+%, 1000 lines\u001b\\[K\r.*${full}.*\r\nWould import 2500 users`, 's'))

  const server = new Terminal(t, env, serverFile)
  await server.sees(/Latchkey listens on/)
  const served = new Terminal(t, env, cliFile, 'users:import', file, '--progress')
  t.equal(await served.exited, 0)
  t.match(served.output, new RegExp(`${full}\u001b\\[K\r\n.*${full}\u001b\\[K\r\nImported 2500 users`, 's'))
  server.type('\u0003')
  t.equal(await server.exited, 0)
})

t.test('the build says that it is building where that takes long, and passes on how it ended', async t => {
  const dir = newFolder(t)
  const compiler = join(dir, 'node_modules/typescript/bin')
  mkdirSync(compiler, { recursive: true })
  const build = (code: number, ms: number) => {
    writeFileSync(join(compiler, 'tsc'), `setTimeout(() => { process.exitCode = ${code} }, ${ms})`)
    const { status, stdout, stderr } = spawnSync(
      ...alone({}, process.execPath, join(root, 'scripts/build.js')),
      { cwd: dir, encoding: 'utf8' }
    )
    return { status, stdout, stderr }
  }
  t.match(build(0, 2_500), { status: 0, stdout: '', stderr: /^Building…\nBuilt in [2-9]\.\d s\.\n$/ })
  t.strictSame(build(2, 2_500), { status: 2, stdout: '', stderr: 'Building…\n' })
})

function newFolder (t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-terminal-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true, maxRetries: 20 }))
  return dir
}
