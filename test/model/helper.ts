import { describe, nil, revoked } from './entry.js'
import { incarnationName } from './epoch.js'
import { api, type Moment, redis } from './moment.js'
import { helpWanted, isOverdue, settled, sharing, sleepAfterBump } from './revocation.js'
import type { Helper } from './state.js'

const idle = 0
const writing = 1
const written = 2

/** A peer's poll, which settles what another instance could not. */
export function helperSteps (moment: Moment) {
  moment.state.helpers.forEach((helper, slot) => {
    const index = moment.scenario.helpers[slot]!
    if (helper.phase !== idle) giveUp(moment, helper, index)
    if (helper.phase === idle) return start(moment, helper, index)
    if (helper.phase === writing) return write(moment, helper, index)
    deleteSettlement(moment, helper, index)
  })
}

function giveUp ({ scenario, next }: Moment, helper: Helper, index: number) {
  if (!scenario.losses) return
  forget(helper)
  next(api(index), 'helps', 'gives up')
}

function start (moment: Moment, helper: Helper, index: number) {
  const { state, rules, next } = moment
  for (const [slot, revocation] of state.revocations.entries()) {
    const { row } = revocation
    const node = state.instances[index]!.node
    if (node === 0 || row === settled || !(isOverdue(moment, revocation) || row === helpWanted)) continue
    helper.row = slot
    helper.node = node
    helper.phase = rules.writeBeforeSettlementIsDeleted ? writing : written
    if (!rules.writeBeforeSettlementIsDeleted) helper.incarnation = state.instances[index]!.known
    next(api(index), 'helps', 'DEL and INFO sent')
  }
}

function write ({ state, rules, next }: Moment, helper: Helper, index: number) {
  const node = state.node(helper.node)
  if (!node || node.incarnation === 0) {
    forget(helper)
    return next(api(index), 'helps', 'READONLY: gives up')
  }
  node.value = rules.helperDeletes ? nil : revoked
  helper.incarnation = node.incarnation
  helper.phase = written
  const write = rules.helperDeletes ? 'DEL' : `SET ${describe(revoked)}`
  const text = `${redis(helper.node)}: ${write}, INFO: ${incarnationName(node.incarnation)}`
  if (!rules.writeBeforeSettlementIsDeleted) forget(helper)
  next(api(index), 'helps', text)
}

function deleteSettlement ({ state, rules, next }: Moment, helper: Helper, index: number) {
  const revocation = state.revocations[helper.row]!
  const mine = rules.incarnationFromSamePipeline ? helper.incarnation : state.instances[index]!.known
  const settles = mine === state.database.registered || !rules.settleOnlyRegisteredIncarnation
  if (settles) revocation.row = settled
  if (settles && !rules.writeBeforeSettlementIsDeleted) helper.phase = writing
  else forget(helper)
  next(api(index), 'helps', settles ? 'settlement deleted' : `${incarnationName(mine)} is not the registered one: gives up`)
}

/** A bump that several revocations of one instance share; some of them wanted it before this one did. */
export function sharedBumpSteps ({ state, rules, scenario, next }: Moment) {
  if (!scenario.fallback.includes('shared bump')) return
  const { database } = state
  const revocation = state.revocations[0]!
  const actor = api(scenario.revokers[0]!)

  if (!rules.sharedBumpSentAfterCommit && database.bump !== 0 && database.bumpCovers === 0 && revocation.phase === sharing) {
    database.bumpCovers = 1
    next(actor, 'revoke 1', 'joins the bump in progress')
  }
  if (database.bump === 0 && database.generation < scenario.maxGeneration) {
    database.bump = 1
    database.bumpCovers = revocation.phase === sharing ? 1 : 0
    next(actor, 'bump', database.bumpCovers ? 'sent, for revoke 1 too' : 'sent, for other revocations')
  }
  if (database.bump === 1) {
    database.bump = 2
    database.generation++
    revocation.row = settled
    next(actor, 'bump', `executed: generation ${database.generation}`)
  }
  if (database.bump === 2) {
    if (database.bumpCovers) {
      revocation.row = settled
      sleepAfterBump(revocation)
    }
    database.bump = 0
    database.bumpCovers = 0
    next(actor, 'bump', 'replied: those it is for wait H')
  }
}

function forget (helper: Helper) {
  Object.assign(helper, { phase: idle, node: 0, incarnation: 0, row: 0 })
}
