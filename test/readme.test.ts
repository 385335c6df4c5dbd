import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { environmentSchema } from '../src/config.js'
import { embeddedGround, startApp } from './fixtures/app.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The rows of the table below `heading`, as lists of cells without their backquotes. */
function table (heading: string): string[][] {
  const [, section = ''] = readme.split(`\n## ${heading}\n`)
  const rows = (section.split('\n## ', 1)[0] as string).split('\n').filter(line => line.startsWith('| '))
  return rows.slice(2).map(row => row.split(' | ').map(cell => cell.replace(/^\| | \|$/g, '').replace(/^`(.*)`$/, '$1')))
}

t.test('the walk runs line by line as it is printed', { timeout: 60_000 }, async t => {
  const blocks = [...readme.matchAll(/^```bash\n(.*?)^```$/gms)].map(match => match[1] as string)
  t.ok(blocks.length >= 6, 'register, call, list, change, watch, log out')
  const base = await startCompiled(t)
  const type = openShell(t)

  for (const block of blocks) {
    const lines = block.trimEnd().split('\n')
    const printed = await type(lines.map(line => line.replaceAll('http://127.0.0.1:3000', base)))
    const promised = lines.filter(line => line.startsWith('# → ')).map(line => line.slice('# → '.length))
    t.ok(promised.length > 0, 'every step says what it prints')
    t.match(printed.join('\n'), pattern(promised.join('\n')), promised.join(', then '))
  }
})

t.test('the configuration table names every variable with its default, and no other', async t => {
  const written = table('Configuration').map(([name, value]) => [name, value])
  const real = Object.entries(environmentSchema.properties).map(([name, schema]) => {
    const { default: value } = schema as { default?: unknown }
    return [name, value === undefined || value === '' ? 'none' : String(value)]
  })
  t.same(written.sort(), real.sort())
})

t.test('the endpoint table names the routes of OpenAPI, and no other', async t => {
  const { app } = await startApp(t, await embeddedGround())
  const { paths = {} } = app.swagger()
  const real = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods as object).map(method => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`))
  t.same(table('Endpoints').map(([route]) => route).sort(), real.sort())
})

/** `npm start` with a folder of its own, on a free port; returns where it listens. */
async function startCompiled (t: Test): Promise<string> {
  const built = spawnSync('npx', ['tsc', '-b', 'tsconfig.build.json'], { cwd: root, encoding: 'utf8' })
  if (built.status !== 0) throw new Error(`the build failed:\n${built.stdout}`)
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-readme-'))
  const server = spawn(process.execPath, [join(root, 'dist/src/server.js')], {
    env: { PATH: process.env.PATH, PORT: '0', DATA_DIR: folder, BCRYPT_COST: '4', LOG_LEVEL: 'error' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const gone = once(server, 'exit')
  t.teardown(async () => {
    server.kill()
    const [code] = await gone
    rmSync(folder, { recursive: true, force: true })
    if (code !== 0) throw new Error(`the server ended with ${code}`)
  })
  for await (const line of createInterface({ input: server.stdout })) {
    const [, base] = /^Latchkey listens on (\S+)$/.exec(line) ?? []
    if (base !== undefined) return base
  }
  throw new Error('the server never listened')
}

/** One bash for the whole walk; the returned function types lines and resolves to what they printed. */
function openShell (t: Test): (lines: string[]) => Promise<string[]> {
  const shell = spawn('bash', ['--norc'], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => shell.kill())
  const end = 'this step is over'
  const output = createInterface({ input: shell.stdout })[Symbol.asyncIterator]()
  return async lines => {
    shell.stdin.write([...lines, `echo '${end}'`, ''].join('\n'))
    const printed: string[] = []
    for (let { value, done } = await output.next(); value !== end; { value, done } = await output.next()) {
      if (done === true) throw new Error(`bash ended after:\n${printed.join('\n')}`)
      printed.push(value)
    }
    return printed
  }
}

/** What is promised, as a pattern: `…` is anything within a line. */
function pattern (promised: string): RegExp {
  return new RegExp(`^${promised.split('…').map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`)
}
