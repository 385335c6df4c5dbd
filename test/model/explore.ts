import { parseArgs } from 'node:util'
import { readArguments } from '../fixtures/arguments.js'
import { explore } from './explorer.js'
import { comfortNames, type Rule, ruleNames, rulesWithout } from './rules.js'
import { scenarioNames, scenarios, widen } from './scenarios.js'
import { printTrace } from './trace.js'

/** Explores the model from the command line. */
const usage = `npm run test:model -- [options]
  --bound N          room beyond the suite's (1): see \`widen\`
  --without RULE     may be given several times; \`comforts\` removes all of those
  --scenario NAME    one scenario only, may be given several times
  --states N         where to stop a scenario, 12 million unless given
  --trace            prints the counterexamples`

const { values, removed } = readArguments(usage, readOptions)

function readOptions () {
  const { values } = parseArgs({
  options: {
    bound: { type: 'string', default: '1' },
    without: { type: 'string', multiple: true, default: [] },
    scenario: { type: 'string', multiple: true, default: scenarioNames },
    states: { type: 'string', default: '12000000' },
    trace: { type: 'boolean', default: false }
  }
})

  const known: string[] = [...ruleNames, ...comfortNames]
  const removed = values.without.flatMap(name => name === 'comforts' ? comfortNames : [name as Rule])
  for (const name of removed) if (!known.includes(name)) throw new Error(`no rule ${name}; there are ${known.join(', ')}`)
  const scenes: string[] = scenarioNames
  for (const name of values.scenario) if (!scenes.includes(name)) throw new Error(`no scenario ${name}; there are ${scenes.join(', ')}`)
  return { values, removed }
}

let broken = false
let total = 0
for (const name of scenarioNames.filter(name => values.scenario.includes(name))) {
  const began = performance.now()
  const scenario = widen(scenarios[name], Number(values.bound))
  const { states, complete, violation, tally } = explore(scenario, rulesWithout(...removed), Number(values.states))
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  const verdict = violation ? `${violation.broken}, in ${violation.trace.length} steps` : complete ? 'complete' : 'stopped'
  const size = `${name.padEnd(20)}${String(states).padStart(9)} states${seconds.padStart(7)} s`
  console.log(`${size}  ${tally.hits} hits, ${tally.answers} answers  ${verdict}`)
  if (violation && values.trace) console.log(`\n${printTrace(violation).join('\n')}\n`)
  broken ||= violation !== null
  total += states
}
console.log(`${total} states at bound ${values.bound}, ${removed.length} rules removed`)
process.exitCode = broken ? 1 : 0
