import type { Moment } from './moment.js'
import type { Rules } from './rules.js'
import type { Revocation } from './state.js'

/** How far a revoking request has come. */
export const idle = 0
export const begun = 1
export const committed = 2
export const writing = 3
export const writingRest = 4
export const toSettle = 5
export const sleeping = 6
export const waitingForHelp = 7
export const sharing = 8
export const bumping = 9
export const bumped = 10
export const answered = 11
export const over = 12

/** A settlement's row: absent, present, or present with a wish for help. */
export const settled = 0
export const unsettled = 1
export const helpWanted = 2

/** Whether the database's clock says that a settlement is overdue. */
export function isOverdue ({ rules, scenario }: Moment, { row, rowAge, rowInFuture }: Revocation): boolean {
  if (!scenario.bounded || row === settled) return false
  return rowInFuture ? rules.futureSettlementIsOverdue : rowAge >= scenario.settlementLimit
}

/** Ends a revocation in this phase. */
export function forget (revocation: Revocation, phase: number) {
  Object.assign(revocation, { phase, node: 0, incarnation: 0, timer: 0 })
}

/** Whether every revocation has ended without a 2xx, so that nothing was promised. */
export function nobodyWillAnswer ({ state }: Moment): boolean {
  return state.revocations.every(({ phase }) => phase === over)
}

/** Whether the revocation's own clock runs: while it sleeps, or too early. */
export function isWaiting ({ phase }: Revocation, rules: Rules): boolean {
  return phase === sleeping || (!rules.waitFromBumpReply && (phase === bumping || phase === bumped))
}

export function sleepAfterBump (revocation: Revocation) {
  revocation.phase = sleeping
  revocation.timer = 0
}
