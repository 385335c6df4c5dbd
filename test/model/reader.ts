import { describe, lease, nil } from './entry.js'
import { isTrusted } from './epoch.js'
import { fill, readDatabase, sendFill } from './fill.js'
import {
  type Act, abandon, filling, fillUnsent, foundLive, hit, idle, leaseUnsent, leasing, looking, older, queued, read, reading, vouching
} from './lookup.js'
import { api, type Moment } from './moment.js'
import { accept, judge, replaceOlder } from './reply.js'
import type { Instance, Reader } from './state.js'

/** A look-up, step by step. */
export function readerSteps (moment: Moment) {
  moment.state.readers.forEach((reader, slot) => {
    const instance = moment.state.instances[moment.scenario.readers[slot]!]!
    const act = { moment, reader, instance, slot, name: `read ${slot + 1}`, actor: api(moment.scenario.readers[slot]!) }
    switch (reader.phase) {
      case idle: return start(act)
      case queued: join(act); return sendLook(act)
      case looking: join(act); return executeLook(act)
      case vouching: return vouch(act)
      case leaseUnsent: return sendLease(act)
      case leasing: return executeLease(act)
      case hit: join(act); return accept(act)
      case older: return replaceOlder(act)
      case reading: return readDatabase(act)
      case read: return sendFill(act)
      case fillUnsent: case filling: return fill(act)
    }
  })
}

function start ({ moment, reader, instance, slot, name, actor }: Act) {
  const { state, rules, scenario, next } = moment
  const { database } = state
  const issues = database.issued === 0 && slot === 0
  // Before the token is issued nobody else has it.
  if (!isTrusted(moment, instance) || (database.issued === 0 && !issues)) return
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
  // An issue needs no look-up: there can be no entry yet.
  reader.phase = scenario.batches ? queued : issues ? leasing : looking
  const look = scenario.mget ? 'MGET and GETEX sent' : 'GETEX sent'
  const done = scenario.batches ? 'queued' : issues ? 'SET NX GET sent' : look
  next(actor, name, `${done}, generation ${reader.generation}${late(reader)}`)
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
  const { moment: { state, rules, scenario, next }, reader, name, actor } = act
  const node = state.node(reader.node)
  if (scenario.losses) {
    abandon(reader)
    next(actor, name, 'GETEX is lost: database, no fill')
  }
  if (scenario.mget && node) {
    reader.value = node.value
    if (!rules.getexVouchesForMget) return judge(act, node.value)
    reader.phase = vouching
    return next(actor, name, `MGET -> ${describe(node.value)}`)
  }
  look(act)
}

/** The last key's GETEX, on the same connection: what a replica refuses makes the MGET before it void. */
function vouch (act: Act) {
  const { moment: { state, next }, reader, name, actor } = act
  if (state.node(reader.node)?.incarnation !== 0) return judge(act, reader.value)
  abandon(reader)
  next(actor, name, 'GETEX -> READONLY: database, no fill')
}

/** By a command that a replica refuses: GETEX, or in a cluster GET. */
function look (act: Act) {
  const { moment: { state, rules, next }, reader, name, actor } = act
  const node = state.node(reader.node)
  if (node && (node.incarnation !== 0 || !rules.replicaRefusesReads)) return judge(act, node.value)
  abandon(reader)
  next(actor, name, 'READONLY: database, no fill')
}

/** A write leaves one event-loop turn after the reply that asked for it, on the connection that is there then. */
function sendLease ({ moment: { next }, reader, instance, name, actor }: Act) {
  reader.node = instance.node
  reader.phase = leasing
  next(actor, name, 'SET NX GET sent')
}

function executeLease (act: Act) {
  const { moment: { state, rules, scenario, next }, reader, slot, name, actor } = act
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
    if (reader.moved !== 0 && rules.fillOnSameConnection) abandon(reader)
    else reader.phase = reader.value === 0 ? reading : read
    const moved = reader.phase === idle ? ', on another connection: database, no fill' : ''
    return next(actor, name, `SET NX GET -> nil, now ${describe(node.value)}${moved}`)
  }
  reader.value = 0
  look(act)
}
