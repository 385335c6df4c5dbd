import t from 'tap'
import { explore } from './explorer.js'
import { comfortNames, ruleNames, rules, rulesWithout } from './rules.js'
import { scenarioNames, scenarios } from './scenarios.js'
import { printTrace } from './trace.js'

const longestTrace = 25
let total = 0

t.test('with every rule, no revoked token is accepted and no live one refused', async t => {
  for (const name of scenarioNames) {
    const { states, complete, violation, tally } = explore(scenarios[name])
    total += states
    t.ok(complete, `${scenarios[name].name}: ${states} states`, violation ? { trace: printTrace(violation) } : {})
    t.ok(tally.hits > 0 && tally.fills > 0 && tally.answers > 0,
      `${name}: ${tally.fills} fills, ${tally.hits} hits and ${tally.answers} answered revocations are among its steps`)
  }
})

for (const rule of ruleNames) {
  const { goesWrong, shownIn } = rules[rule]
  t.test(`without ${rule}, ${goesWrong}`, async t => {
    const { states, violation } = explore(scenarios[shownIn], rulesWithout(rule))
    total += states
    t.ok(violation, `a counterexample is found where ${scenarios[shownIn].name}`)
    if (!violation) return
    const lines = printTrace(violation)
    t.ok(lines.length <= longestTrace, 'the counterexample is short')
    t.comment(`\n${lines.join('\n')}`)
  })
}

t.test('an instance that registers nothing, as verifiers do, needs the rules of reading too', async t => {
  for (const rule of ['fillOnlyOverOwnLease', 'trustNeedsRegisteredIncarnation', 'infoOnEachConnection', 'bumpOnRegistering'] as const) {
    const { states, violation } = explore(scenarios.verifier, rulesWithout(rule))
    total += states
    t.ok(violation, `without ${rule} a counterexample is found in ${states} states`)
  }
})

t.test('the promise needs none of the comforts', async t => {
  for (const name of ['race', 'repeat', 'twoPolls', 'restart', 'revokerMoves', 'readerMoves', 'swap'] as const) {
    const { states, complete } = explore(scenarios[name], rulesWithout(...comfortNames))
    total += states
    t.ok(complete, `${scenarios[name].name}: ${states} states without ${comfortNames.length} rules`)
  }
})

t.test('all of it is at most three and a half million states', async t => {
  t.ok(total <= 3_500_000, `${total} states`)
})
