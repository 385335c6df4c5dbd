import { copysInstance } from './database.js'
import { describe, nil } from './entry.js'
import { api, type Moment, redis } from './moment.js'

/** What happens to the servers and connections by themselves. */
export function redisSteps (moment: Moment) {
  evict(moment)
  const { second } = moment.scenario
  if (second !== 'none' && second !== 'prefix' && second !== 'key') copyToSecond(moment)
  if (second === 'replica' || second === 'demotion') promote(moment)
  if (second === 'demotion') demote(moment)
  if (second === 'slot') moveSlot(moment)
  if (second === 'snapshot') restart(moment)
  if (second === 'swap') demoteAndPromote(moment)
  for (const index of moment.scenario.reconnects) reconnect(moment, index)
}

/** The second place for the token's key on the one server: under another prefix, or as the copy of the database names it. */
export function openSecondKey ({ state, rules, scenario }: Moment) {
  const [, second] = state.nodes
  const instance = state.instances[copysInstance]!
  if (scenario.second === 'prefix') {
    second!.incarnation = rules.prefixBelongsToIncarnation ? ++state.redis.lastIncarnation : 1
    Object.assign(instance, { node: 2, known: second!.incarnation })
  }
  if (scenario.second === 'key' && rules.databaseBelongsToKey) {
    second!.incarnation = 1
    instance.node = 2
  }
}

function evict ({ state, scenario, next }: Moment) {
  if (!scenario.evictions) return
  state.nodes.forEach((node, index) => {
    if (node.value === nil) return
    const text = `evicts ${describe(node.value)}`
    node.value = nil
    next(redis(index + 1), 'evict', text)
  })
}

/** With one key, a lagging replica holds what the master held at some earlier moment, and so does a snapshot. */
function copyToSecond ({ state, scenario, next }: Moment) {
  const [first, second] = state.nodes
  if (!first || !second || second.incarnation !== 0 || second.value === first.value) return
  second.value = first.value
  const text = describe(first.value)
  if (scenario.second === 'snapshot') next('redis1', 'save', `the snapshot holds ${text}`)
  else next('redis2', 'replica', `has received ${text}`)
}

function promote ({ state, scenario, next }: Moment) {
  const replica = state.nodes[1]!
  if (replica.incarnation !== 0 || state.redis.lastIncarnation === scenario.maxIncarnation) return
  replica.incarnation = ++state.redis.lastIncarnation
  next('redis2', 'promoted', `with ${describe(replica.value)}, incarnation ${replica.incarnation}; redis1 lives on`)
}

/** The old master becomes a replica of the new one, and its connections stay. */
function demote ({ state, next }: Moment) {
  const [old, master] = state.nodes
  if (!old || !master || old.incarnation === 0 || master.incarnation === 0) return
  old.value = master.value
  old.incarnation = 0
  next('redis1', 'demoted', `copies ${describe(old.value)} from redis2; no client killed`)
}

/**
 * The other master of a cluster claims the slot, with the keys that have been moved so far; the old one still believes that it owns it.
 * Both servers are the same processes as before: only the slot map shows the change.
 */
function moveSlot ({ state, rules, next }: Moment) {
  const [old, other] = state.nodes
  if (!old || !other || other.incarnation !== 0) return
  other.incarnation = rules.slotsBelongToIncarnation ? ++state.redis.lastIncarnation : old.incarnation
  next('redis2', 'claims', `the slot, with ${describe(other.value)}; redis1 lives on`)
}

function restart ({ state, rules, scenario, next }: Moment) {
  const [server, snapshot] = state.nodes
  if (!server || !snapshot || state.redis.lastIncarnation === scenario.maxIncarnation) return
  server.value = snapshot.value
  server.incarnation = ++state.redis.lastIncarnation
  state.instances.forEach((instance, index) => {
    instance.node = 0
    if (rules.infoOnEachConnection) instance.known = 0
    loseConnection(state, scenario, index)
  })
  next('redis1', 'restart', `with ${describe(server.value)} from its snapshot, incarnation ${server.incarnation}`)
}

function demoteAndPromote ({ state, next }: Moment) {
  const [server, other] = state.nodes
  if (!server || !other || state.redis.swapped) return
  server.value = other.value
  server.incarnation = ++state.redis.lastIncarnation
  state.redis.swapped = 1
  const text = `demoted, copies ${describe(server.value)} from redis2, promoted as incarnation ${server.incarnation}; no client killed`
  next('redis1', 'swapped', text)
}

function reconnect ({ state, rules, scenario, next }: Moment, index: number) {
  for (const [position, node] of state.nodes.entries()) {
    const instance = state.instances[index]!
    if (node.incarnation === 0 || instance.node === position + 1) continue
    instance.node = position + 1
    if (rules.infoOnEachConnection) instance.known = 0
    loseConnection(state, scenario, index)
    next(api(index), 'connects', `to ${redis(position + 1)}`)
  }
}

function loseConnection (state: Moment['state'], scenario: Moment['scenario'], index: number) {
  state.readers.forEach((reader, slot) => {
    if (scenario.readers[slot] === index && reader.phase !== 0) reader.moved = 1
  })
}
