import type { Rules } from './rules.js'
import type { Scenario } from './scenarios.js'
import type { SystemState } from './state.js'

/** What a step gets: a state to change, and `next`, which records the changed state and restores the old one. */
export interface Moment {
  state: SystemState
  rules: Rules
  scenario: Scenario
  /** Records the state as it now is as a successor; `broken` says which promise the step broke. */
  next: (actor: string, does: string, text: string, broken?: string) => void
  /** Counts events that an exploration must contain to mean anything. */
  tally: Tally
}

export interface Tally { hits: number, fills: number, answers: number }

export const api = (index: number) => `api${index + 1}`
export const redis = (connection: number) => `redis${connection}`
