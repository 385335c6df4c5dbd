import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { securityFile, withChecklist } from './render.js'
import { inputs, rows, type Shown } from './table.js'

const folder = fileURLToPath(new URL('..', import.meta.url))
const namesByFile = new Map<string, string[]>()

/** The names of the tests in a file, as its source has them; those that are put together at run time are not among them. */
function namesIn (file: string): string[] {
  const known = namesByFile.get(file)
  if (known !== undefined) return known
  const found: string[] = []
  const path = join(folder, file)
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === 'test') {
      const [name] = node.arguments
      if (name !== undefined && ts.isStringLiteralLike(name)) found.push(name.text)
    }
    ts.forEachChild(node, visit)
  }
  if (existsSync(path)) visit(ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ESNext, true))
  namesByFile.set(file, found)
  return found
}

const isThere = ([file, name]: Shown) => namesIn(file).filter(one => one === name).length === 1

t.test('every test of the checklist is there, once, under the name that the table gives it', async t => {
  for (const { tests } of [...rows, ...inputs]) for (const shown of tests) t.ok(isThere(shown), shown.join(': '))
  t.notOk(isThere(['checklist/table.test.ts', 'no such test']))
})

t.test('every ID of a row begins the name of a test, in a list with others if need be', async t => {
  for (const { ids, tests, deviation } of rows) {
    if (tests.length === 0) {
      t.match(deviation, /^Open: /, `${ids.join(', ')} is shown by nothing, and says so`)
      continue
    }
    for (const id of ids) {
      const begins = new RegExp(`^(V[\\d.]+, )*${id.replaceAll('.', '\\.')}(\\.\\d+)?(,| )`)
      t.ok(tests.some(([, name]) => begins.test(name)), `${id}: ${tests.map(([, name]) => name).join('; ')}`)
    }
  }
})

t.test('every input stands in the names of its tests', async t => {
  for (const { input, carried, tests } of inputs) {
    t.ok(tests.length > 0, input)
    for (const [, name] of tests) t.ok(name.includes(carried), `${input}: ${name}`)
  }
})

t.test('no test of the checklist is left out of the table', async t => {
  const listed = new Set([...rows, ...inputs].flatMap(({ tests }) => tests).map(([file, name]) => `${file}: ${name}`))
  const others = ['passwords', 'sessions', 'http', 'limits', 'data', 'accounts', 'factors'].map(name => `checklist/${name}.test.ts`).flatMap(file =>
    namesIn(file).filter(name => /^(V\d|63B|RFC)/.test(name)).map(name => `${file}: ${name}`))
  t.ok(others.length > 50)
  t.same(others.filter(name => !listed.has(name)), ['checklist/http.test.ts: V16.5 nothing of it was an error of the server'])
})

t.test('SECURITY.md has this table', async t => {
  const text = readFileSync(securityFile, 'utf8')
  t.equal(text, withChecklist(text), 'else: npx tsx test/checklist/render.ts')
  t.match(text, /^## Checklist$/m)
})
