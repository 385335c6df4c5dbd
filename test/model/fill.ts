import { reachable } from './database.js'
import { describe, entry, lease, revoked } from './entry.js'
import { type Act, abandon, filling, fillUnsent, foundAltered, foundLive, foundRevoked, leasing, read } from './lookup.js'

/** The read of the database: of the primary, or of what else this instance reaches. */
export function readDatabase (act: Act) {
  const { moment, reader, slot, name, actor } = act
  const { state, rules, scenario, next } = moment
  const { database } = state
  if (database.issued === 0 && slot === 0) {
    database.issued = 1
    reader.value = foundLive
    reader.phase = read
    return next(actor, name, 'issue: COMMIT')
  }
  for (const { standby, issued, committed } of reachable(moment, scenario.readers[slot]!)) {
    if (standby && rules.lookUpRefusesStandby) {
      abandon(reader)
      next(actor, name, 'a standby answers: 503')
    } else {
      take(act, issued === 0 ? 'unknown' : committed === 0 ? 'live' : scenario.altering ? 'altered' : 'revoked', standby)
    }
  }
  if (!scenario.mixedUpAnswers) return
  for (const answer of ['unknown', 'live'] as const) {
    if (rules.answerNamesItsQuestion) {
      abandon(reader)
      next(actor, name, `database: ${answer === 'live' ? 'a row' : 'nothing'}, in answer to another question: 503`)
    } else {
      take(act, answer, false)
    }
  }
}

const found = { unknown: foundRevoked, live: foundLive, altered: foundAltered, revoked: foundRevoked }

function take ({ moment: { state, rules, next }, reader, slot, name, actor }: Act, answer: keyof typeof found, standby: boolean) {
  const trusted = rules.revokedReadIsNotFilledAsLive || answer === 'unknown'
  reader.value = trusted ? found[answer] : foundLive
  const node = state.node(reader.node)
  reader.phase = rules.leaseBeforeDatabaseRead || node?.value === lease(slot) ? read : leasing
  next(actor, name, `${standby ? 'standby' : 'database'}: ${answer}`)
}

/** The checks before a fill. */
export function sendFill ({ moment: { rules, scenario, next }, reader, instance, name, actor }: Act) {
  if (scenario.losses) {
    abandon(reader)
    next(actor, name, 'gives up before the fill')
  }
  if (rules.fillOnSameConnection && reader.moved !== 0) {
    abandon(reader)
    return next(actor, name, 'another connection now: no fill')
  }
  if (!rules.generationCapturedBeforeDatabaseRead) reader.generation = instance.generation
  if (!rules.fillOnSameConnection) reader.node = instance.node
  reader.phase = scenario.lateWrites ? fillUnsent : filling
  next(actor, name, `fill ${scenario.lateWrites ? 'follows' : 'sent'}`)
}

/** The fill, which leaves a turn after its checks, on the connection that is there then. */
export function fill ({ moment: { state, rules, scenario, next, tally }, reader, instance, slot, name, actor }: Act) {
  if (reader.phase === fillUnsent) {
    reader.phase = filling
    reader.node = instance.node
    return next(actor, name, 'fill sent')
  }
  if (scenario.losses) {
    abandon(reader)
    next(actor, name, 'fill is lost')
  }
  const node = state.node(reader.node)
  const mine = node?.value === lease(slot) || !rules.fillOnlyOverOwnLease
  const filled = reader.value === foundRevoked ? revoked : entry(reader.generation, reader.value === foundAltered)
  abandon(reader)
  if (!node || node.incarnation === 0 || !mine) return next(actor, name, 'the lease is gone: no fill')
  node.value = filled
  tally.fills++
  next(actor, name, `${describe(lease(slot))} -> ${describe(filled)}`)
}
