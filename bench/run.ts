import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { readArguments } from '../test/fixtures/arguments.js'
import { type Contender, createContenders } from './contenders.js'
import { type ContenderName, goals } from './goals.js'
import { bestGenerator, createLoad } from './load.js'
import { describeMachine, processorMs } from './machine.js'
import { withMachinery } from './machinery.js'
import { measureMemory } from './memory.js'
import { hasNginx } from './nginx.js'
import { type Options, readOptions, usage } from './options.js'
import { draw } from './picture.js'
import { judge, type Measured, print, type Report, toResults } from './report.js'
import { shuffled } from './statistics.js'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** `npm run bench`: measures all contenders in one run, prints tables, and writes figures and a picture to files. */
async function main (options: Options): Promise<void> {
  if (options.only.includes('memory')) return await withMachinery(machinery => measureMemory(machinery, options))
  installPeers()
  await withMachinery(async machinery => {
    const generator = options.generator ?? bestGenerator()
    if (generator === 'autocannon') console.error(
      'wrk is not installed: autocannon, which may be slower than what it measures, takes its place'
    )
    if (!hasNginx) console.error('nginx is not installed: forward auth is left out')
    const contenders = choose(createContenders(machinery, createLoad(machinery, generator), options.connections), options.only)
    const results = toResults(contenders, await measure(contenders, options))
    const report: Report = {
      at: new Date().toISOString(),
      machine: describeMachine(machinery.cores),
      generator,
      rounds: options.rounds,
      seconds: options.seconds,
      connections: options.connections,
      results,
      goals: judge(results)
    }
    console.log(print(report))
    write('results/latest', report)
    if (options.publish) write('../docs/bench', report)
  })
}

/** Measures every contender once per round, in a new order each time; the first round only warms up. */
async function measure (contenders: readonly Contender[], { rounds, seconds }: Options): Promise<Map<string, Measured[]>> {
  const values = new Map<string, Measured[]>(contenders.map(({ name }) => [name, []]))
  const ready = []
  for (const { name, start } of contenders) ready.push({
    name,
    ...await start().catch((error: unknown) => { throw new Error(`${name} does not start`, { cause: error }) })
  })
  for (let round = 0; round <= rounds; round++) {
    console.error(round === 0 ? 'warming up' : `round ${round} of ${rounds}`)
    for (const { name, once, pid } of shuffled(ready)) {
      const before = processorMs(pid)
      const value = await once(seconds).catch((error: unknown) => { throw new Error(`${name} could not be measured`, { cause: error }) })
      if (round > 0) values.get(name)?.push({
        value,
        processorMicroseconds: before === null ? null : ((processorMs(pid) ?? 0) - before) * 1000 / (value * Math.ceil(seconds))
      })
    }
  }
  return values
}

/** The contenders named, and those that the named goals compare; always with bare Fastify, the denominator. */
function choose (contenders: Contender[], only: readonly string[]): Contender[] {
  if (only.length === 0) return contenders
  const wanted = new Set<string>()
  for (const name of only) {
    const parts: ContenderName[] = goals.filter(goal => goal.name === name).flatMap(({ of, against }) => [of, ...against])
    const chosen = parts.length > 0 ? parts : contenders.filter(contender => contender.name === name).map(contender => contender.name)
    if (chosen.length === 0) throw new RangeError(
      `--only ${name}: there are ${[...new Set([...goals, ...contenders].map(each => each.name))].join(', ')}, memory`
    )
    for (const part of chosen) wanted.add(part)
  }
  const speeds = contenders.some(({ name, unit }) => wanted.has(name) && unit === 'requests/s')
  return contenders.filter(({ name }) => wanted.has(name) || (speeds && (name === 'bare' || name === 'deferred')))
}

/** Installs the peers' packages, which the project itself doesn't need, on first use. */
function installPeers (): void {
  if (existsSync(file('node_modules/better-auth'))) return
  console.error('installing the peers in bench/')
  execFileSync('npm', ['ci'], { cwd: file('.'), stdio: ['ignore', 'ignore', 'inherit'] })
}

function write (path: string, report: Report): void {
  mkdirSync(file('results'), { recursive: true })
  mkdirSync(file('../docs'), { recursive: true })
  writeFileSync(file(`${path}.json`), `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(file(`${path}.svg`), draw(report))
}

try {
  await main(readArguments(usage, () => readOptions(process.argv.slice(2))))
} catch (error) {
  console.error(error)
  process.exitCode = 1
}
