import { spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { readArguments } from '../fixtures/arguments.js'
import type { Scene } from './faults.js'
import { createLoad } from './load.js'
import { isMutant, type Mutant, mutants } from './mutants.js'
import { createOracle } from './oracle.js'
import { type Check, checksOf, checksOfAll, header, row, totals, totalsByKind, trace, trustWithinMs, violationsOf } from './report.js'
import { type Setup, type SetupName, setupNames, setups } from './setups.js'
import { createTestbed, MissingServerError } from './testbed.js'

/** The setups of a run without --minutes. */
const selected = new Set<SetupName>(['server', 'sentinel', 'cluster'])

const setupOf = (name: SetupName): Setup => setups[name]

const usage = `npm run test:faults -- [--minutes N] [--setup name] [--only fault,…] [--mutant name]
  --minutes  repeats all faults for so long; without it, a selection once: about two minutes
  --setup    ${setupNames.join(', ')}; without it and with --minutes, all of them
  --only     ${setupNames.map(name => `${name}: ${Object.keys(setupOf(name).faults).join(', ')}`).join('\n             ')}
  --mutant   ${Object.keys(mutants).join(', ')}: runs without that rule until a violation shows`

/** A mutant without a violation after this long counts as not caught. */
const mutantMs = 120_000
const say = (line: string) => { process.stdout.write(`${line}\n`) }

interface Options { minutes: number | null, setup: SetupName, only: string[] | null, mutant: Mutant | null }

function readOptions (): Options & { names: SetupName[] } {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string' },
      setup: { type: 'string' },
      only: { type: 'string' },
      mutant: { type: 'string' }
    }
  })
  const minutes = values.minutes === undefined ? null : Number(values.minutes)
  const only = values.only?.split(',') ?? null
  const mutant = values.mutant ?? null
  const names = setupNames.filter(name =>
    name === (values.setup ?? (only === null && mutant === null && (minutes !== null || selected.has(name)) ? name : 'server')))
  const [setup = 'server'] = names
  const wrong = (minutes !== null && !(minutes > 0)) ||
    names.length === 0 ||
    only?.some(name => !Object.hasOwn(setupOf(setup).faults, name)) === true ||
    (mutant !== null && !isMutant(mutant))
  if (wrong) throw new RangeError('There is no such setup, fault or mutant, or --minutes is not above zero.')
  return { minutes, setup, names, only, mutant: mutant as Mutant | null }
}

/** The order of faults: the selection once, or all of them in shuffled rounds until the time is over. */
function * schedule ({ minutes, setup, only, mutant }: Options): Generator<string> {
  const all = setupOf(setup).faults
  const names = only ??
    (mutant !== null ? mutantFaults(mutant, setup) : Object.keys(all).filter(name => minutes !== null || all[name]?.short === true))
  const until = performance.now() + (mutant !== null ? mutantMs : (minutes ?? 0) * 60_000)
  yield * names
  while (performance.now() < until) {
    for (const name of mutant !== null ? names : [...names].sort(() => Math.random() - 0.5)) {
      if (performance.now() < until) yield name
    }
  }
}

/** The faults under which a mutant breaks the promise soonest. */
function mutantFaults (mutant: Mutant, setup: SetupName): string[] {
  return setup === 'server' ? [...mutants[mutant]] : Object.keys(setupOf(setup).faults)
}

async function runFaults (options: Options): Promise<Check[]> {
  const testbed = await createTestbed(options.mutant, setupOf(options.setup))
  const oracle = createOracle()
  const load = createLoad(testbed, oracle)
  for (const api of testbed.members) api.onCrash = oracle.crashed
  let closing: Promise<void> | null = null
  const close = () => closing ??= testbed.close()
  const interrupt = () => { void close().finally(() => process.exit(130)) }
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  const stretch = options.minutes === null ? 1 : 1.5
  const scene: Scene = { testbed, load, oracle, thorough: options.minutes !== null, hold: ms => delay(ms * stretch) }
  // One violation is enough to catch a mutant.
  const enough = () => options.mutant !== null ? oracle.violations.some(({ kind }) => kind === 'accepted') : oracle.violations.length >= 20
  const told = new Set<unknown>()

  /** Waits for `work`; if `stops`, only until there are enough violations. */
  async function orEnough (work: Promise<void> | undefined, stops: boolean): Promise<void> {
    let over = false
    const done = Promise.resolve(work).finally(() => { over = true })
    while (!over && !(stops && enough())) await Promise.race([done, delay(20)])
  }

  async function tell (): Promise<void> {
    for (const violation of oracle.violations) {
      if (told.has(violation) || told.size >= 10) continue
      told.add(violation)
      say(trace(violation))
      if (violation.token !== null) say(`    ${await testbed.describe(violation.token.hash)}`)
    }
  }

  try {
    load.start()
    await delay(500)
    say(`Setup: ${options.setup}`)
    say(header)
    for (const name of schedule(options)) {
      oracle.enter(name)
      const stats = oracle.statsOf(name)
      if (!await load.warm(60_000)) stats.cold = true
      load.revoking(true)
      await delay(200)
      await orEnough(setupOf(options.setup).faults[name]?.strike(scene), options.mutant !== null)
      const backMs = await testbed.trustReturns(trustWithinMs)
      stats.trustBackMs = backMs === null || stats.trustBackMs === null ? null : Math.max(stats.trustBackMs, backMs)
      await orEnough(delay(options.mutant === null ? 300 : 3_000), true)
      load.revoking(false)
      say(row(name, stats))
      await tell()
      if (backMs === null) say(testbed.members.map(({ index, log }) => `    API ${index}: ${log.slice(-3).join('\n           ')}`).join('\n'))
      if (enough()) break
    }
    await load.stop(options.mutant === null ? 5_000 : 0)
    await tell()
    if (oracle.violations.length > 0) for (const { index, log } of testbed.members) say(
      `API ${index} logged last:\n${log.slice(-6).map(line => `    ${line}`).join('\n')}`
    )
    const all = [...oracle.byFault.values()]
    const { verified, hits } = await testbed.verifierStats()
    say(totals(all))
    say(`verifier: ${verified} checks since it was started, ${hits} of them by the cache`)
    say(totalsByKind(all))
    const checks = [...oracle.byFault].flatMap(([name, stats]) => name === 'start' ? violationsOf(name, stats) : checksOf(name, stats))
    const verifiersChecked = { fault: 'the whole run', claim: 'a verifier was answered by the cache', held: hits > 0 }
    // A single fault may end before any token is old enough for reuse.
    return options.only === null && options.mutant === null ? [...checks, ...checksOfAll(all), verifiersChecked] : checks
  } finally {
    await close()
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
}

/** Runs once more without one rule, in a process of its own: it must find a token accepted after its revocation. */
async function catchMutant (name: Mutant): Promise<Check> {
  const startedAt = performance.now()
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', fileURLToPath(import.meta.url), '--mutant', name],
    { stdio: ['ignore', 'pipe', 'inherit'] }
  )
  const stop = () => { child.kill('SIGTERM') }
  process.once('exit', stop)
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  process.off('exit', stop)
  const caught = code === 1 && /accepted [\d.]+ ms after its revocation/.test(output)
  say(`mutant ${name}: ${caught ? 'caught' : `NOT caught\n${output}`} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  return { fault: `mutant ${name}`, claim: 'is caught', held: caught }
}

async function main (): Promise<void> {
  const { names, ...options } = readArguments(usage, readOptions)
  const checks: Check[] = []
  for (const setup of names) {
    const { share, missing, optional = false } = setupOf(setup)
    if (missing !== null) {
      if (process.env.CI === 'true' && !optional) checks.push({ fault: setup, claim: `there is ${missing}`, held: false })
      say(`Setup: ${setup}: skipped, needs ${missing}`)
      continue
    }
    const minutes = options.minutes === null ? null : options.minutes * (names.length === 1 ? 1 : share)
    checks.push(...await runFaults({ ...options, setup, minutes }))
  }
  if (names.includes('server') &&
    options.mutant === null &&
    options.only === null) for (const name of Object.keys(mutants)) checks.push(await catchMutant(name as Mutant))
  const failed = checks.filter(({ held }) => !held)
  for (const { fault, claim } of failed) say(`failed: ${fault}: ${claim}`)
  say(`${checks.length - failed.length} passed, ${failed.length} failed`)
  // A reset connection may never be reported as closed, and nothing else is left to wait for.
  process.exit(failed.length > 0 ? 1 : 0)
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof MissingServerError ? error.message : error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(error instanceof MissingServerError && process.env.CI !== 'true' ? 0 : 3)
})
