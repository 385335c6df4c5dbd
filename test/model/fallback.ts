import { reachable, wrote } from './database.js'
import { see } from './epoch.js'
import type { Moment } from './moment.js'
import {
  answered, bumped, bumping, forget, helpWanted, over, settled, sharing, sleepAfterBump, sleeping, waitingForHelp
} from './revocation.js'
import type { Instance, Revocation } from './state.js'

/** A revoking request and where it runs. */
export interface Act { moment: Moment, revocation: Revocation, instance: Instance, slot: number, name: string, actor: string }

/** Waits until this generation was first seen H ago. */
export function sleepUntilGenerationIsOld ({ moment: { scenario }, revocation, instance }: Act, waits: boolean, generation: number) {
  see(instance, generation, 0)
  revocation.timer = !waits ? scenario.h : instance.seen === generation ? instance.seenAge : 0
  revocation.phase = sleeping
}

/** What is left without Redis: a peer's help, or a bump of its own or a shared one. */
export function fallBack ({ moment: { rules, scenario, next }, revocation, name, actor }: Act, why: string, before = () => {}) {
  const [way] = scenario.fallback
  if (!way) return
  before()
  Object.assign(revocation, { node: 0, incarnation: 0, timer: 0 })
  if (way === 'help' && revocation.row !== settled) revocation.row = helpWanted
  if (way === 'bump' && !rules.bumpDeletesSettlementAtOnce) revocation.row = settled
  revocation.phase = way === 'help' ? waitingForHelp : way === 'bump' ? bumping : sharing
  next(actor, name, `${why}: ${way === 'help' ? 'asks for help' : way === 'bump' ? 'bump sent' : 'waits for the next shared bump'}`)
}

/** Falls back, or answers 503 where the scenario has no other way. */
export function giveUp (act: Act, why: string) {
  const { moment: { scenario, next }, revocation, name, actor } = act
  if (scenario.fallback.length > 0) return fallBack(act, why)
  forget(revocation, over)
  next(actor, name, `${why}: 503`)
}

export function waitForHelp (act: Act) {
  const { moment, revocation, slot, name, actor } = act
  const { rules, scenario, next } = moment
  if (scenario.fallback.includes('bump')) {
    revocation.phase = bumping
    next(actor, name, 'no help: bump sent')
  }
  for (const { standby, row, generation } of reachable(moment, scenario.revokers[slot]!)) {
    // The wait of a second revocation isn't explored together with a standby.
    const there = slot === 0 ? row : revocation.row
    if (there !== settled || (standby && rules.waitRefusesStandby)) continue
    sleepUntilGenerationIsOld(act, rules.goneSettlementWaitsForGeneration, generation)
    next(actor, name, `${standby ? 'of the standby: ' : ''}the settlement is gone, generation ${generation}`)
  }
}

export function bump ({ moment, revocation, name, actor }: Act) {
  const { state, rules, scenario, next } = moment
  const { database } = state
  if (database.generation === scenario.maxGeneration) return
  revocation.phase = bumped
  // Whatever settlement it sees was committed before the new generation.
  for (const other of state.revocations) other.row = settled
  // A clock alone would give the same generation again once it has been set back.
  if (rules.bumpAlwaysAdds || !database.steppedBack) database.generation++
  wrote(moment, rules.bumpWaitsForFlush)
  next(actor, name, `bump executed: generation ${database.generation}`)
}

export function afterBump (act: Act) {
  const { moment: { rules, next }, revocation, name, actor } = act
  if (!rules.waitAfterBump) return answer(act)
  if (rules.waitFromBumpReply) sleepAfterBump(revocation)
  else revocation.phase = sleeping
  next(actor, name, 'bump replied: waits H')
}

/** The 2xx. */
export function answer ({ moment: { state, next, tally }, revocation, name, actor }: Act, text = '2xx') {
  forget(revocation, answered)
  state.database.answered = 1
  tally.answers++
  next(actor, name, text)
}
