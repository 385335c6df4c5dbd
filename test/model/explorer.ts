import type { Moment, Tally } from './moment.js'
import { type Rules, rulesWithout } from './rules.js'
import type { Scenario } from './scenarios.js'
import { SystemState } from './state.js'
import { prepare, steps } from './steps.js'
import { Visited } from './visited.js'

export interface Line { actor: string, does: string, text: string }
export interface Violation { broken: string, trace: Line[] }
export interface Exploration { states: number, complete: boolean, violation: Violation | null, tally: Tally }

/** Visits every state of a scenario, nearest first; stops at the first broken promise, whose trace is a shortest one. */
export function explore (scenario: Scenario, rules: Rules = rulesWithout(), maxStates = Infinity): Exploration {
  const state = new SystemState(scenario)
  const visited = new Visited(state.words.length)
  const current = new Uint32Array(state.words.length)
  const tally = { hits: 0, fills: 0, answers: 0 }
  let at = 0
  let breaking: Line | null = null
  let broken = ''

  const moment: Moment = {
    state,
    rules,
    scenario,
    tally,
    next (actor, does, text, breaks) {
      if (breaks && !breaking) {
        breaking = { actor, does, text }
        broken = breaks
      }
      visited.add(state.words, at)
      state.words.set(current)
    }
  }

  prepare(moment)
  visited.add(state.words, -1)
  for (; at < visited.count && !breaking && visited.count < maxStates; at++) {
    visited.load(at, current)
    state.words.set(current)
    steps(moment)
  }
  const complete = at === visited.count
  if (!breaking) return { states: visited.count, complete, violation: null, tally }
  const trace = [...traceTo(visited, at - 1, moment), breaking]
  return { states: visited.count, complete: false, violation: { broken, trace }, tally }
}

/** the steps from the first state to this one, as text, found by taking them again. */
function traceTo (visited: Visited, index: number, moment: Moment): Line[] {
  const path = visited.pathTo(index)
  const words = new Uint32Array(moment.state.words.length)
  return path.slice(1).map((target, position) => {
    let line: Line | undefined
    visited.load(path[position]!, words)
    moment.state.words.set(words)
    steps({
      ...moment,
      next (actor, does, text) {
        if (!line && visited.holds(target, moment.state.words)) line = { actor, does, text }
        moment.state.words.set(words)
      }
    })
    if (!line) throw new Error('a step could not be taken again')
    return line
  })
}
