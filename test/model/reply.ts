import { copysInstance } from './database.js'
import { describe, generationOf, isEntry, isFresh, lease, nil, revoked } from './entry.js'
import { isTrusted } from './epoch.js'
import { type Act, abandon, hit, leaseUnsent, leasing, older, reading } from './lookup.js'
import type { Moment } from './moment.js'
import type { Reader } from './state.js'

/** Acts on the reply of a look-up. */
export function judge ({ moment, reader, slot, name, actor }: Act, value: number) {
  const { state, rules, scenario, next } = moment
  const seen = `GET -> ${describe(value)}`
  reader.value = 0
  if (value === nil) {
    reader.phase = scenario.lateWrites ? leaseUnsent : leasing
    return next(actor, name, `${seen}, SET NX GET ${scenario.lateWrites ? 'follows' : 'sent'}`)
  }
  if (value === revoked) {
    const wrongly = isJudged(moment, slot) && (scenario.altering || state.database.committed === 0)
    abandon(reader)
    return next(actor, name, `${seen}: refused`, wrongly ? 'a live token is refused' : undefined)
  }
  if (isEntry(value) && isHit(moment, reader, value)) {
    reader.phase = hit
    reader.value = value
    return next(actor, name, seen)
  }
  if (isEntry(value) && (generationOf(value) < reader.generation || !rules.newerEntryNotOverwritten)) {
    reader.phase = older
    reader.value = value
    return next(actor, name, `${seen}, of another generation`)
  }
  abandon(reader)
  next(actor, name, `${seen}: database, no fill`)
}

/** What an instance on a copy of the database answers is no promise of the original. */
const isJudged = ({ scenario }: Moment, slot: number) => scenario.database !== 'copy' || scenario.readers[slot] !== copysInstance

function isHit ({ rules }: Moment, reader: Reader, value: number): boolean {
  return generationOf(value) === reader.generation || !rules.entriesOfAnotherGenerationRefused
}

/** Accepts an entry, if it may still be believed. */
export function accept ({ moment, reader, instance, slot, name, actor }: Act) {
  const { state: { redis }, rules, scenario, next, tally } = moment
  const refused = (rules.acceptOnlyGenerationStillHeld && reader.generation !== instance.generation) ||
    (rules.recheckTrustBeforeAccepting && !isTrusted(moment, instance)) ||
    (rules.acceptOnSameConnection && reader.moved !== 0)
  const stale = reader.late !== 0 && !isFresh(reader.value) && isJudged(moment, slot)
  const excused = redis.swapped !== 0 && redis.swapAge < scenario.h
  const text = describe(reader.value)
  abandon(reader)
  if (refused) return next(actor, name, `${text}, but no longer trusted: database, no fill`)
  tally.hits++
  next(actor, name, `${text} accepted`, stale && !excused ? 'a revoked token is accepted' : undefined)
}

/** Turns an entry of another generation into a lease. */
export function replaceOlder ({ moment: { state, rules, scenario, next }, reader, slot, name, actor }: Act) {
  const node = state.node(reader.node)
  const unchanged = node?.value === reader.value || !rules.olderEntryReplacedByComparing
  if (node && node.incarnation !== 0 && unchanged) {
    node.value = lease(slot)
    reader.phase = reading
    reader.value = 0
    next(actor, name, `compare-and-set to ${describe(node.value)}`)
  }
  if (unchanged && !scenario.losses) return
  abandon(reader)
  next(actor, name, 'compare-and-set fails: database, no fill')
}
