import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { becomesTrue, skipMissing } from '../fixtures/app.js'
import { type Block, openShell, pattern, readBlocks } from '../fixtures/document.js'
import { findPostgresPrograms } from '../fixtures/postgres-programs.js'
import { compile, root } from '../fixtures/programs.js'
import { hasRedisServer } from '../fixtures/servers.js'
import { startRunbook } from './runbook.js'

/** Runs docs/OPERATIONS.md from top to bottom in one shell, causing each fault that its comments name. */

t.setTimeout(600_000)

const blocks = readBlocks('docs/OPERATIONS.md')
const bin = findPostgresPrograms()
const programs = ['psql', 'redis-cli', 'curl'].filter(name => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)

t.test('every block is a command with its output, or log lines', async t => {
  for (const [i, { info, line, flags }] of blocks.entries()) {
    t.ok(['sh', 'text', 'log', ''].includes(info), `line ${line}: ${info} is run, or is a promise`)
    if (info === 'sh') t.equal(blocks[i + 1]?.info, 'text', `line ${line}: says what it prints`)
    if (info === 'text') t.equal(blocks[i - 1]?.info, 'sh', `line ${line}: is printed by a command`)
    t.ok(flags.every(flag => info === 'sh' && /^exit=\d+$/.test(flag)), `line ${line}: nothing else stands beside it`)
  }
  t.ok(blocks.filter(({ info }) => info === 'sh').length >= 30)
})

t.test('every link within the document leads to a heading', async t => {
  const text = readFileSync(join(root, 'docs/OPERATIONS.md'), 'utf8')
  const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading.toLowerCase().replace(/[^a-z0-9 -]/g, '').replaceAll(' ', '-'))
  for (const [, anchor = ''] of text.matchAll(/\]\(#([^)]*)\)/g)) t.ok(anchors.includes(anchor), anchor)
})

t.test('every command does what the document says', async t => {
  if (bin === null ||
    !hasRedisServer ||
    programs.length > 0) return skipMissing(
      t,
      `needs initdb, postgres, redis-server, psql, redis-cli and curl: install PostgreSQL, Redis and curl (missing: ${programs.join(', ') ||
        'a server'})`
    )
  await compile()
  const { shellEnv, addresses, faults, log } = await startRunbook(t, bin)
  const type = openShell(t, { env: shellEnv })
  const here = (text: string) => Object.entries(addresses).reduce((line, [theirs, ours]) => line.replaceAll(theirs, ours), text)
  let from = 0
  let run = 0

  for (const [section, own] of sections(blocks)) {
    await t.test(section, async t => {
      for (const [i, { info, line, text, flags, given }] of own.entries()) {
        for (const name of given) {
          from = log().length
          const fault = faults[name]
          if (fault === undefined) throw new Error(`startRunbook has no fault named: ${name}`)
          await fault()
        }
        if (info === 'sh') {
          const { printed, exitCode } = await type(here(text).trimEnd().split('\n'))
          run++
          t.equal(exitCode, Number(flags[0]?.slice('exit='.length) ?? 0), `line ${line} ends with its exit code`, { printed })
          t.match(
            printed.join('\n').trimEnd(),
            pattern(here(own[i + 1]?.text ?? '').trimEnd()),
            `line ${line} prints what the document shows`
          )
        }
        if (info === 'log') {
          for (const promised of here(text).trimEnd().split('\n')) {
            const said = await becomesTrue(() => log().slice(from).some(entry => pattern(promised).test(entry)), 15_000)
            t.ok(said, `line ${line}: ${promised}`, said ? {} : { log: log().slice(from).slice(-12) })
          }
        }
      }
    })
  }
  t.equal(run, blocks.filter(({ info }) => info === 'sh').length, 'no command was left out')
})

/** The blocks of each section, in order. */
function sections (all: Block[]): Map<string, Block[]> {
  const found = new Map<string, Block[]>()
  for (const block of all) found.set(block.section, [...found.get(block.section) ?? [], block])
  return found
}
