import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { alone, compile, root } from '../fixtures/programs.js'

const home = { HOME: process.env.HOME ?? '' }

/** Packs Latchkey, as compiled, into `folder`; returns the file's name. */
function pack (folder: string): string {
  const [{ filename }] = JSON.parse(execFileSync(
    ...alone(home, 'npm', 'pack', '--json', '--silent', '--ignore-scripts', '--pack-destination', folder),
    { cwd: root, encoding: 'utf8' }
  )) as [{ filename: string }]
  return filename
}

/** Writes the files that docs/EMBEDDING.md shows to `project`, with a tsconfig.json for the one in TypeScript; returns their names. */
function writeShown (project: string): string[] {
  const files = [...readFileSync(join(root, 'docs/EMBEDDING.md'), 'utf8').matchAll(/^```[jt]s\n\/\/ (\S+)\n(.*?)^```$/gms)]
  for (const [, name, text] of files) writeFileSync(join(project, name as string), text as string)
  const compilerOptions = { target: 'es2023', module: 'nodenext', strict: true, types: ['node'] }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['orders.ts'] }))
  return files.map(([, name]) => name as string)
}

function runIn (folder: string, program: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(...alone(home, program, ...args), { cwd: folder, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

/** A user of cart.js, in the application of app.js. */
const useCart = `
  import { authenticate } from 'latchkey'
  import { actingAs, inMemory } from 'latchkey/testing'
  import { buildApp } from './app.js'
  import { addCart } from './cart.js'
  const app = await buildApp(inMemory())
  await addCart(app, authenticate)
  const { inject } = await actingAs(app)
  const bodies = [await inject('/cart'), await inject({ method: 'PUT', url: '/cart/tea', payload: { count: 2 } }), await inject('/cart')]
  process.stdout.write(bodies.map(({ body }) => body).join(' '))
  await app.close()`

t.test('what docs/EMBEDDING.md says runs in a project of its own', { timeout: 230_000 }, async t => {
  const project = mkdtempSync(join(tmpdir(), 'latchkey-project-'))
  t.teardown(() => rmSync(project, { recursive: true, force: true }))
  const installed = join(project, 'node_modules')
  mkdirSync(installed)
  for (const name of readdirSync(join(
    root,
    'node_modules'
  ))) if (name !== 'latchkey') symlinkSync(join(root, 'node_modules', name), join(installed, name))
  await compile()
  const filename = pack(project)
  mkdirSync(join(installed, 'latchkey'))
  execFileSync('tar', ['-xzf', join(project, filename), '-C', join(installed, 'latchkey'), '--strip-components=1'])

  const files = writeShown(project)
  t.strictSame(files, ['app.js', 'server.js', 'cart.js', 'app.test.js', 'orders.ts'])
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
  const run = (program: string, ...args: string[]) => runIn(project, program, ...args)
  const tests = run(process.execPath, '--test')
  t.equal(tests.status, 0, tests.output)
  t.match(tests.output, /pass 2/)
  const compiled = run(join(root, 'node_modules/.bin/tsc'), '-p', '.')
  t.equal(compiled.status, 0, compiled.output.slice(0, 2_000))
  t.match(run(process.execPath, 'orders.js'), { status: 0, output: 'the owner' })
  t.match(run(process.execPath, '--input-type=module', '-e', useCart), { status: 0, output: '{} {"tea":2} {"tea":2}' })
  t.equal(
    run(
      process.execPath,
      '--input-type=module',
      '-e',
      "import('latchkey/dist/src/app.js').then(() => process.exit(3), error => process.exit(error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED' ? 0 : 4))"
    ).status,
    0,
    'other files cannot be imported'
  )
})

t.test('runs on the Fastify of the application that installs it, down to the oldest that package.json allows', { timeout: 600_000 }, async t => {
  const project = mkdtempSync(join(tmpdir(), 'latchkey-installed-'))
  t.teardown(() => rmSync(project, { recursive: true, force: true }))
  await compile()
  const { peerDependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Dependencies>
  const oldest = String(peerDependencies?.fastify).replace('^', '')
  const own = JSON.parse(readFileSync(join(root, 'node_modules/fastify/package.json'), 'utf8')) as { version: string }
  t.not(oldest, own.version)
  writeShown(project)
  const dependencies = {
    latchkey: `file:${pack(project)}`,
    fastify: oldest,
    typescript: devDependencies?.typescript,
    '@types/node': devDependencies?.['@types/node']
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module', dependencies }))
  const installed = runIn(project, 'npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts')
  t.equal(installed.status, 0, installed.output)

  const copies = new Set(runIn(project, 'npm', 'ls', 'fastify').output.match(/fastify@\S+/g))
  t.same([...copies], [`fastify@${oldest}`], 'there is one copy')
  const compiled = runIn(project, join(project, 'node_modules/.bin/tsc'), '-p', '.')
  t.equal(compiled.status, 0, compiled.output.slice(0, 2_000))
  t.match(runIn(project, process.execPath, 'orders.js'), { status: 0, output: 'the owner' })
})

type Dependencies = Record<string, string>
