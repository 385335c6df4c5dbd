import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { alone, compile, root } from '../fixtures/programs.js'

const home = { HOME: process.env.HOME ?? '' }

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
  const [{ filename }] = JSON.parse(execFileSync(
    ...alone(home, 'npm', 'pack', '--json', '--silent', '--ignore-scripts', '--pack-destination', project),
    { cwd: root, encoding: 'utf8' }
  ))
  mkdirSync(join(installed, 'latchkey'))
  execFileSync('tar', ['-xzf', join(project, filename), '-C', join(installed, 'latchkey'), '--strip-components=1'])

  const files = [...readFileSync(join(root, 'docs/EMBEDDING.md'), 'utf8').matchAll(/^```[jt]s\n\/\/ (\S+)\n(.*?)^```$/gms)]
  t.strictSame(files.map(([, name]) => name), ['app.js', 'server.js', 'app.test.js', 'orders.ts'])
  for (const [, name, text] of files) writeFileSync(join(project, name as string), text as string)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { target: 'es2023', module: 'nodenext', strict: true, types: ['node'] }, files: ['orders.ts'] })
  )

  const run = (program: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(...alone(home, program, ...args), { cwd: project, encoding: 'utf8' })
    return { status, output: stdout + stderr }
  }
  const tests = run(process.execPath, '--test')
  t.equal(tests.status, 0, tests.output)
  t.match(tests.output, /pass 2/)
  const compiled = run(join(root, 'node_modules/.bin/tsc'), '-p', '.')
  t.equal(compiled.status, 0, compiled.output.slice(0, 2_000))
  t.match(run(process.execPath, 'orders.js'), { status: 0, output: 'the owner' })
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
