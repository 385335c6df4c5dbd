import { nil, revoked } from './entry.js'
import { incarnationName, see } from './epoch.js'
import { api, type Moment, redis } from './moment.js'
import type { Rules } from './rules.js'
import type { Instance, Revocation } from './state.js'

const idle = 0
const committed = 1
const writing = 2
const toSettle = 3
const sleeping = 4
const waitingForHelp = 5
const sharing = 6
const bumping = 7
const bumped = 8
const answered = 9
const over = 10

/** A settlement row: whether it stands, and whether help is wanted. */
export const settled = 0
export const unsettled = 1
export const helpWanted = 2

interface Act { moment: Moment, revocation: Revocation, instance: Instance, slot: number, name: string, actor: string }

/** A revoking request, from its COMMIT to its 2xx. */
export function revokerSteps (moment: Moment) {
  moment.state.revocations.forEach((revocation, slot) => {
    const instance = moment.state.instances[moment.scenario.revokers[slot]!]!
    const act = { moment, revocation, instance, slot, name: `revoke ${slot + 1}`, actor: api(moment.scenario.revokers[slot]!) }
    if (revocation.phase !== idle && revocation.phase < answered) die(act)
    switch (revocation.phase) {
      case idle: return slot === 0 ? commit(act) : repeat(act)
      case committed: return sendWrite(act)
      case writing: return write(act)
      case toSettle: return deleteSettlement(act)
      case sleeping: return sleep(act)
      case waitingForHelp: return waitForHelp(act)
      case bumping: return bump(act)
      case bumped: return afterBump(act)
    }
  })
}

function die ({ moment: { scenario, next }, revocation, name, actor }: Act) {
  if (!scenario.losses) return
  finish(revocation, over)
  next(actor, name, revocation.row === settled ? 'dies' : 'dies; its settlement stands')
}

function commit ({ moment: { state, rules, next }, revocation, name, actor }: Act) {
  if (state.database.issued === 0) return
  state.database.committed = 1
  revocation.phase = committed
  if (rules.settlementInSameTransaction) revocation.row = unsettled
  next(actor, name, rules.settlementInSameTransaction ? 'COMMIT, with its settlement' : 'COMMIT, without a settlement')
}

function repeat ({ moment: { state, rules, next }, revocation, name, actor }: Act) {
  if (state.database.committed === 0) return
  if (rules.repeatNamesRevokedTokens) {
    revocation.row = unsettled
    revocation.phase = committed
    return next(actor, name, 'finds the token revoked, names it: COMMIT with a settlement')
  }
  revocation.incarnation = state.database.registered
  revocation.phase = toSettle
  next(actor, name, 'finds the token revoked: nothing to settle')
}

function sendWrite (act: Act) {
  const { moment: { rules, next }, revocation, instance, name, actor } = act
  if (!rules.answerWaitsForSettling) return answer(act)
  if (!rules.settlementInSameTransaction && revocation.row === settled) {
    revocation.row = unsettled
    return next(actor, name, 'inserts the settlement')
  }
  fallBack(act, 'no Redis')
  if (instance.node === 0) return
  revocation.node = instance.node
  revocation.phase = rules.writeBeforeSettlementIsDeleted ? writing : toSettle
  if (!rules.writeBeforeSettlementIsDeleted) revocation.incarnation = instance.known
  next(actor, name, 'pipeline of R and INFO sent')
}

function write (act: Act) {
  const { moment: { state, rules, scenario, next }, revocation, name, actor } = act
  const node = state.node(revocation.node)
  fallBack(act, 'the pipeline is lost')
  if (!node || node.incarnation === 0) return giveUp(act, 'READONLY')
  const written = scenario.altering ? nil : revoked
  fallBack(act, 'the replies are lost', () => { node.value = written })
  node.value = written
  revocation.incarnation = node.incarnation
  revocation.phase = rules.writeBeforeSettlementIsDeleted ? toSettle : sleeping
  next(actor, name, `${redis(revocation.node)}: ${scenario.altering ? 'DEL' : 'SET R'}, INFO: ${incarnationName(node.incarnation)}`)
}

function deleteSettlement (act: Act) {
  const { moment: { state, rules, next }, revocation, instance, name, actor } = act
  const { database } = state
  const mine = rules.incarnationFromSamePipeline ? revocation.incarnation : instance.known
  const deletes = (database.registered === mine && mine !== 0) || !rules.settleOnlyRegisteredIncarnation
  if (!deletes && rules.epochJudgesNotRowCount) {
    return giveUp(act, `${incarnationName(database.registered)} is registered, ${incarnationName(mine)} was written`)
  }
  if (deletes) fallBack(act, 'settlement deleted, the reply is lost', () => { revocation.row = settled })
  if (deletes) revocation.row = settled
  sleepUntilGenerationIsOld(act, rules.waitUntilGenerationIsOld)
  if (!rules.writeBeforeSettlementIsDeleted) revocation.phase = writing
  else revocation.node = 0
  revocation.incarnation = 0
  next(actor, name, `${deletes ? 'settlement deleted' : 'no settlement deleted'}, generation ${database.generation}`)
}

function sleepUntilGenerationIsOld ({ moment: { state, scenario }, revocation, instance }: Act, waits: boolean) {
  const { generation } = state.database
  see(instance, generation, 0)
  revocation.timer = !waits ? scenario.h : instance.seen === generation ? instance.seenAge : 0
  revocation.phase = sleeping
}

function sleep (act: Act) {
  if (act.revocation.timer === act.moment.scenario.h) answer(act)
}

/** What is left without Redis: a peer's help, or a bump of one's own or shared. */
function fallBack ({ moment: { rules, scenario, next }, revocation, name, actor }: Act, why: string, before = () => {}) {
  const [way] = scenario.fallback
  if (!way) return
  before()
  revocation.node = 0
  revocation.incarnation = 0
  revocation.timer = 0
  if (way === 'help' && revocation.row !== settled) revocation.row = helpWanted
  if (way === 'bump' && !rules.bumpDeletesSettlementAtOnce) revocation.row = settled
  revocation.phase = way === 'help' ? waitingForHelp : way === 'bump' ? bumping : sharing
  next(actor, name, `${why}: ${way === 'help' ? 'asks for help' : way === 'bump' ? 'bump sent' : 'waits for the next shared bump'}`)
}

function giveUp (act: Act, why: string) {
  const { moment: { scenario, next }, revocation, name, actor } = act
  if (scenario.fallback.length > 0) return fallBack(act, why)
  finish(revocation, over)
  next(actor, name, `${why}: 503`)
}

function waitForHelp (act: Act) {
  const { moment: { state, rules, scenario, next }, revocation, name, actor } = act
  if (scenario.fallback.includes('bump')) {
    revocation.phase = bumping
    next(actor, name, 'no help: bump sent')
  }
  if (revocation.row !== settled) return
  sleepUntilGenerationIsOld(act, rules.goneSettlementWaitsForGeneration)
  next(actor, name, `the settlement is gone, generation ${state.database.generation}`)
}

function bump ({ moment: { state, scenario, next }, revocation, name, actor }: Act) {
  if (state.database.generation === scenario.maxGeneration) return
  revocation.phase = bumped
  revocation.row = settled
  state.database.generation++
  next(actor, name, `bump executed: generation ${state.database.generation}`)
}

function afterBump (act: Act) {
  const { moment: { rules, next }, revocation, name, actor } = act
  if (!rules.waitAfterBump) return answer(act)
  if (rules.waitFromBumpReply) revocation.timer = 0
  revocation.phase = sleeping
  next(actor, name, 'bump replied: waits H')
}

function answer ({ moment: { state, next, tally }, revocation, name, actor }: Act) {
  finish(revocation, answered)
  state.database.answered = 1
  tally.answers++
  next(actor, name, '2xx')
}

function finish (revocation: Revocation, phase: number) {
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

/** Whether the revocation waits for a bump that others share, and what happens to it when that one has replied. */
export const isSharing = ({ phase }: Revocation) => phase === sharing

export function sleepAfterSharedBump (revocation: Revocation) {
  revocation.phase = sleeping
  revocation.timer = 0
}
