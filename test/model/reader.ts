import { describe, entry, generationOf, isEntry, isFresh, lease, nil, revoked } from './entry.js'
import { isTrusted } from './epoch.js'
import { api, type Moment } from './moment.js'
import type { Instance, Reader } from './state.js'

const idle = 0
const queued = 1
const leasing = 2
const hit = 3
const older = 4
const reading = 5
const read = 6
const filling = 7
const looking = 8

/** What a read of the database has found, kept in the reader until it is filled. */
const foundRevoked = 1
const foundLive = 2
const foundAltered = 3

/** One look-up's whole path, each step of it apart. */
export function readerSteps (moment: Moment) {
  moment.state.readers.forEach((reader, slot) => {
    const instance = moment.state.instances[moment.scenario.readers[slot]!]!
    const act = { moment, reader, instance, slot, name: `read ${slot + 1}`, actor: api(moment.scenario.readers[slot]!) }
    switch (reader.phase) {
      case idle: return start(act)
      case queued: join(act); return sendLook(act)
      case looking: join(act); return executeLook(act)
      case leasing: return executeLease(act)
      case hit: join(act); return accept(act)
      case older: return replaceOlder(act)
      case reading: return readDatabase(act)
      case read: return sendFill(act)
      case filling: return fill(act)
    }
  })
}

interface Act { moment: Moment, reader: Reader, instance: Instance, slot: number, name: string, actor: string }

function start ({ moment, reader, instance, slot, name, actor }: Act) {
  const { state, rules, scenario, next } = moment
  const { database } = state
  const issues = database.issued === 0 && slot === 0
  if (!isTrusted(moment, instance)) return
  begin(moment, reader, instance)
  if (issues && !rules.leaseBeforeIssueCommits) {
    database.issued = 1
    reader.value = foundLive
    reader.phase = leasing
    return next(actor, name, 'issue: COMMIT, before any lease')
  }
  if (!issues && !rules.leaseBeforeDatabaseRead) {
    reader.phase = reading
    return next(actor, name, 'database read sent, before any lease')
  }
  // An issue knows that there is nothing to look at.
  reader.phase = scenario.batches ? queued : issues ? leasing : looking
  next(actor, name, `${scenario.batches ? 'queued' : issues ? 'SET NX GET sent' : 'GETEX sent'}, generation ${reader.generation}${late(reader)}`)
}

function begin ({ state }: Moment, reader: Reader, instance: Instance) {
  reader.generation = instance.generation
  reader.node = instance.node
  reader.late = state.database.answered
}

const late = (reader: Reader) => reader.late ? ' (starts after the revocation is due)' : ''

function join ({ moment, reader, instance, name, actor }: Act) {
  const { state, rules, scenario, next } = moment
  if (!scenario.batches || reader.late || !state.database.answered) return
  if (rules.joinOnlyUnsentRedisReads && reader.phase !== queued) return
  if (!isTrusted(moment, instance)) return
  reader.late = 1
  next(actor, name, 'an identical look-up joins (it starts after the revocation is due)')
}

function sendLook ({ moment: { next }, reader, name, actor }: Act) {
  reader.phase = looking
  next(actor, name, 'GETEX sent')
}

function executeLook (act: Act) {
  const { moment: { state, scenario, next }, reader, name, actor } = act
  const node = state.node(reader.node)
  if (scenario.losses) {
    abandon(reader)
    next(actor, name, 'GETEX is lost: database, no fill')
  }
  if (node && node.incarnation !== 0 && node.value === nil) {
    reader.phase = leasing
    return next(actor, name, 'GETEX -> nil, SET NX GET sent')
  }
  judge(act)
}

function executeLease (act: Act) {
  const { moment: { state, scenario, next }, reader, slot, name, actor } = act
  const node = state.node(reader.node)
  if (scenario.losses) {
    abandon(reader)
    next(actor, name, 'SET NX GET is lost: database, no fill')
    if (node?.value === nil) {
      node.value = lease(slot)
      abandon(reader)
      next(actor, name, `SET NX GET leaves ${describe(node.value)}, its reply is lost: database, no fill`)
    }
  }
  if (node && node.incarnation !== 0 && node.value === nil) {
    node.value = lease(slot)
    reader.phase = reader.value === 0 ? reading : read
    return next(actor, name, `SET NX GET -> nil, now ${describe(node.value)}`)
  }
  judge(act)
}

/** What is made of a reply that isn't nil. */
function judge ({ moment, reader, name, actor }: Act) {
  const { state, rules, scenario, next } = moment
  const node = state.node(reader.node)
  if (!node || (node.incarnation === 0 && rules.replicaRefusesReads)) {
    abandon(reader)
    return next(actor, name, 'READONLY: database, no fill')
  }
  const { value } = node
  const seen = `GET -> ${describe(value)}`
  if (value === revoked) {
    const wrongly = scenario.altering || state.database.committed === 0
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

function isHit ({ rules }: Moment, reader: Reader, value: number): boolean {
  return generationOf(value) === reader.generation || !rules.entriesOfAnotherGenerationRefused
}

function accept ({ moment, reader, instance, name, actor }: Act) {
  const { state: { redis }, rules, scenario, next, tally } = moment
  const refused = (rules.acceptOnlyGenerationStillHeld && reader.generation !== instance.generation) ||
    (rules.recheckTrustBeforeAccepting && !isTrusted(moment, instance)) ||
    (rules.acceptOnSameConnection && reader.moved !== 0)
  const stale = reader.late !== 0 && !isFresh(reader.value)
  const excused = redis.swapped !== 0 && redis.swapAge < scenario.h
  const text = describe(reader.value)
  abandon(reader)
  if (refused) return next(actor, name, `${text}, but no longer trusted: database, no fill`)
  tally.hits++
  next(actor, name, `${text} accepted`, stale && !excused ? 'a revoked token is accepted' : undefined)
}

function replaceOlder ({ moment: { state, rules, scenario, next }, reader, slot, name, actor }: Act) {
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

function readDatabase ({ moment: { state, rules, scenario, next }, reader, slot, name, actor }: Act) {
  const { database } = state
  if (database.issued === 0 && slot === 0) {
    database.issued = 1
    reader.value = foundLive
    reader.phase = read
    return next(actor, name, 'issue: COMMIT')
  }
  if (database.issued === 0) {
    abandon(reader)
    return next(actor, name, 'database: unknown')
  }
  const changed = database.committed !== 0 && rules.revokedReadIsNotFilledAsLive
  reader.value = changed ? (scenario.altering ? foundAltered : foundRevoked) : foundLive
  const node = state.node(reader.node)
  reader.phase = rules.leaseBeforeDatabaseRead || node?.value === lease(slot) ? read : leasing
  next(actor, name, `database: ${database.committed ? (scenario.altering ? 'altered' : 'revoked') : 'live'}`)
}

function sendFill ({ moment: { rules, scenario, next }, reader, instance, name, actor }: Act) {
  if (scenario.losses) {
    abandon(reader)
    next(actor, name, 'gives up before the fill')
  }
  if (rules.fillOnSameConnection && reader.moved !== 0) {
    abandon(reader)
    return next(actor, name, 'another connection now: no fill')
  }
  if (!rules.fillOnSameConnection) reader.node = instance.node
  if (!rules.generationCapturedBeforeDatabaseRead) reader.generation = instance.generation
  reader.phase = filling
  next(actor, name, 'fill sent')
}

function fill ({ moment: { state, rules, scenario, next, tally }, reader, slot, name, actor }: Act) {
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

function abandon (reader: Reader) {
  Object.assign(reader, { phase: idle, generation: 0, value: 0, late: 0, moved: 0, node: 0 })
}
