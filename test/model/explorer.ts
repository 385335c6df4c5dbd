import type { Moment, Tally } from './moment.js'
import { type Rules, rulesWithout } from './rules.js'
import type { Scenario } from './scenarios.js'
import { World } from './state.js'
import { steps } from './steps.js'
import { Visited } from './visited.js'

export interface Line { actor: string, does: string, text: string }
export interface Violation { broken: string, trace: Line[] }
export interface Exploration { states: number, complete: boolean, violation: Violation | null, tally: Tally }

/** Visits every state of a scenario, nearest first; stops at the first broken promise, whose trace is a shortest one. */
export function explore (scenario: Scenario, rules: Rules = rulesWithout(), maxStates = Infinity): Exploration {
  const world = new World(scenario)
  const visited = new Visited(world.words.length)
  const current = new Uint32Array(world.words.length)
  const tally = { hits: 0, fills: 0, answers: 0 }
  let at = 0
  let breaking: Line | null = null
  let broken = ''

  const moment: Moment = {
    world,
    rules,
    scenario,
    tally,
    next (actor, does, text, breaks) {
      if (breaks && !breaking) {
        breaking = { actor, does, text }
        broken = breaks
      }
      visited.add(world.words, at)
      world.words.set(current)
    }
  }

  visited.add(world.words, -1)
  for (; at < visited.count && !breaking && visited.count < maxStates; at++) {
    visited.load(at, current)
    world.words.set(current)
    steps(moment)
  }
  const complete = at === visited.count
  if (!breaking) return { states: visited.count, complete, violation: null, tally }
  const trace = [...traceTo(visited, at - 1, moment), breaking]
  return { states: visited.count, complete: false, violation: { broken, trace }, tally }
}

/** The steps from the first state to this one, in words, found by taking them again. */
function traceTo (visited: Visited, index: number, moment: Moment): Line[] {
  const path = visited.pathTo(index)
  const state = new Uint32Array(moment.world.words.length)
  return path.slice(1).map((target, position) => {
    let line: Line | undefined
    visited.load(path[position]!, state)
    moment.world.words.set(state)
    steps({
      ...moment,
      next (actor, does, text) {
        if (!line && visited.holds(target, moment.world.words)) line = { actor, does, text }
        moment.world.words.set(state)
      }
    })
    if (!line) throw new Error('a step could not be taken again')
    return line
  })
}
