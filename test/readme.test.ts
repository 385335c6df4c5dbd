import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { environmentSchema } from '../src/config/environment.js'
import { embeddedGround, startApp } from './fixtures/app.js'
import { openShell, pattern, readBlocks } from './fixtures/document.js'
import { compile, root, startCompiled } from './fixtures/programs.js'

const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The rows of the table below `heading`, as lists of cells without their backquotes. */
function table (heading: string): string[][] {
  const [, section = ''] = readme.split(`\n## ${heading}\n`)
  const rows = (section.split('\n## ', 1)[0] as string).split('\n').filter(line => line.startsWith('| '))
  return rows.slice(2).map(row => row.split(' | ').map(cell => cell.replace(/^\| | \|$/g, '').replace(/^`(.*)`$/, '$1')))
}

t.test('the walk runs line by line as it is printed', { timeout: 230_000 }, async t => {
  const blocks = readBlocks('README.md').filter(({ info }) => info === 'bash').map(({ text }) => text)
  t.ok(blocks.length >= 6, 'register, call, list, change, watch, log out')
  await compile()
  const { base, end } = await startCompiled(t, { LOG_LEVEL: 'error' })
  const type = openShell(t)

  for (const block of blocks) {
    const lines = block.trimEnd().split('\n')
    const { printed } = await type(lines.map(line => line.replaceAll('http://localhost:3000', base)))
    const promised = lines.filter(line => line.startsWith('# → ')).map(line => line.slice('# → '.length))
    t.ok(promised.length > 0, 'every step says what it prints')
    t.match(printed.join('\n'), pattern(promised.join('\n')), promised.join(', then '))
  }
  t.equal(await end(), 0, 'and the server ends in order')
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
  const real = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods as object).map(method => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`))
  t.same(table('Endpoints').map(([route]) => route).sort(), real.sort())
})
