import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { root } from '../fixtures/programs.js'
import { securityFile } from './render.js'

/** The rows of SECURITY.md's table of faults: what happens, what is guaranteed, and what shows it. */
const rows = /\| fault \| after the 2xx \| shown by \|\n\|[- |]+\n((?:\|.*\n)+)/.exec(readFileSync(securityFile, 'utf8'))?.[1]?.trim().split('\n')
  .map(line => line.slice(1, -1).split(' | ').map(cell => cell.trim()) as [fault: string, after: string, shown: string]) ?? []

const textsOf = (folder: string) => readdirSync(join(root, folder)).filter(name => name.endsWith('.ts'))
  .map(name => readFileSync(join(root, folder, name), 'utf8')).join('\n')

t.test('what shows each guarantee is there: the file, the name of the test, the fault', async t => {
  t.ok(rows.length > 25, `${rows.length} rows`)
  const faults = textsOf('test/faults')
  for (const [fault, , shown] of rows) {
    const files = [...shown.matchAll(/(test\/[\w/.-]+\.ts)(?: \(([^)]*)\))?/g)]
    t.ok(files.length > 0, fault)
    for (const [, file = '', titles] of files) {
      if (!t.ok(existsSync(join(root, file)), file)) continue
      // The names of schedules stand beside the test that runs them.
      const texts = file.startsWith('test/scheduler/') ? textsOf(dirname(file)) : readFileSync(join(root, file), 'utf8')
      for (const title of titles?.split('; ') ?? []) t.ok(texts.includes(title), `${file}: ${title}`)
    }
    for (const [, name = ''] of shown.matchAll(/`([\w-]+)`/g)) t.ok(new RegExp(`['{ ]${name}'?[:,']`).test(faults), `fault ${name}`)
  }
})
