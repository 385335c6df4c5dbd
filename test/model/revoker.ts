import { reachable, wrote } from './database.js'
import { nil, revoked } from './entry.js'
import { incarnationName } from './epoch.js'
import { type Act, afterBump, answer, bump, fallBack, giveUp, sleepUntilGenerationIsOld, waitForHelp } from './fallback.js'
import { api, type Moment, redis } from './moment.js'
import {
  answered, begun, bumped, bumping, committed, forget, idle, over, settled, sleeping, toSettle, unsettled, waitingForHelp, writing,
  writingRest
} from './revocation.js'

/** A revoking request, from its COMMIT to its 2xx. */
export function revokerSteps (moment: Moment) {
  moment.state.revocations.forEach((revocation, slot) => {
    const instance = moment.state.instances[moment.scenario.revokers[slot]!]!
    const act = { moment, revocation, instance, slot, name: `revoke ${slot + 1}`, actor: api(moment.scenario.revokers[slot]!) }
    if (revocation.phase > begun && revocation.phase < answered) die(act)
    switch (revocation.phase) {
      case idle: return begin(act)
      case begun: return commit(act)
      case committed: return sendWrite(act)
      case writing: return write(act)
      case writingRest: return writeRest(act)
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
  forget(revocation, over)
  next(actor, name, revocation.row === settled ? 'dies' : 'dies; its settlement stands')
}

function begin (act: Act) {
  const { moment, revocation, slot, name, actor } = act
  const { state: { database, revocations }, rules, scenario, next } = moment
  if (slot > 0 && database.committed !== 0) return repeat(act)
  // The first one has failed, and its COMMIT was lost.
  if (slot > 0 && revocations[0]!.phase !== over) return
  if (scenario.isolation) {
    // Its first statement waits for the user's row, which the issuing transaction has locked; a snapshot is taken before the wait.
    revocation.phase = begun
    revocation.sees = database.issued
    return next(actor, name, 'BEGIN, lock of the user\'s row sent')
  }
  if (database.issued === 0) return
  for (const { standby, issued } of reachable(moment, scenario.revokers[slot]!)) {
    if (!standby || issued !== 0 || rules.nothingToEndIsThePrimarysWord) continue
    answer(act, 'the standby knows no such token, so there is nothing to end: 2xx')
  }
  commit(act)
}

function commit (act: Act) {
  const { moment, revocation, name, actor } = act
  const { state, rules, scenario, next } = moment
  const { database } = state
  if (database.issued === 0) return
  if (scenario.isolation && revocation.sees === 0 && !rules.readCommitted) {
    return answer(act, 'its snapshot is older than the token: ends nothing, 2xx')
  }
  database.committed = 1
  if (scenario.size === 'many') return commitMany(act)
  revocation.phase = committed
  if (rules.settlementInSameTransaction) revocation.row = unsettled
  wrote(moment, rules.commitWaitsForFlush)
  next(actor, name, rules.settlementInSameTransaction ? 'COMMIT, with its settlement' : 'COMMIT, without a settlement')
}

/** Too many hashes to name: the transaction itself bumps the generation, and there is no settlement. */
function commitMany ({ moment, revocation, name, actor }: Act) {
  const { state: { database }, rules, scenario, next } = moment
  if (rules.manyBumpInSameTransaction && database.generation === scenario.maxGeneration) return
  if (rules.manyBumpInSameTransaction) database.generation++
  wrote(moment, rules.commitWaitsForFlush)
  revocation.phase = rules.manyBumpInSameTransaction ? bumped : bumping
  next(actor, name, `COMMIT of many, ${rules.manyBumpInSameTransaction ? `with generation ${database.generation}` : 'a bump follows'}`)
}

function repeat ({ moment: { state, rules, next }, revocation, name, actor }: Act) {
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
  const { moment: { rules, scenario, next }, revocation, instance, name, actor } = act
  if (!rules.answerWaitsForSettling) return answer(act)
  if (!rules.settlementInSameTransaction && revocation.row === settled) {
    revocation.row = unsettled
    return next(actor, name, 'inserts the settlement')
  }
  fallBack(act, 'no Redis')
  if (scenario.forgets) {
    revocation.phase = toSettle
    next(actor, name, 'no Redis: nothing written')
  }
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
  const done = scenario.size === 'pieces' ? writingRest : toSettle
  revocation.phase = rules.writeBeforeSettlementIsDeleted ? done : sleeping
  next(actor, name, `${redis(revocation.node)}: ${scenario.altering ? 'DEL' : 'SET R'}, INFO: ${incarnationName(node.incarnation)}`)
}

/** The next pipeline of a large settlement, whose keys are others, on the connection that is there then. */
function writeRest (act: Act) {
  const { moment: { state, rules, next }, revocation, instance, name, actor } = act
  const node = state.node(instance.node)
  if (!node || node.incarnation === 0) return giveUp(act, 'READONLY')
  if (rules.piecesInOneServer && node.incarnation !== revocation.incarnation) return giveUp(act, 'the pieces went to two servers')
  revocation.incarnation = node.incarnation
  revocation.phase = toSettle
  next(actor, name, `${redis(instance.node)}: SET R of the other keys, INFO: ${incarnationName(node.incarnation)}`)
}

function deleteSettlement (act: Act) {
  const { moment: { state, rules, next }, revocation, instance, name, actor } = act
  const { database } = state
  const mine = rules.incarnationFromSamePipeline ? revocation.incarnation : instance.known
  const forgotten = database.registered === 0
  const deletes = (database.registered === mine && mine !== 0) || forgotten || !rules.settleOnlyRegisteredIncarnation
  if (!deletes && rules.epochJudgesNotRowCount) {
    return giveUp(act, `${incarnationName(database.registered)} is registered, ${incarnationName(mine)} was written`)
  }
  if (deletes) fallBack(act, 'settlement deleted, the reply is lost', () => { revocation.row = settled })
  if (deletes) revocation.row = settled
  const waits = forgotten ? rules.forgottenServerIsWaitedFor : rules.waitUntilGenerationIsOld
  sleepUntilGenerationIsOld(act, waits, database.generation)
  if (!rules.writeBeforeSettlementIsDeleted) revocation.phase = writing
  else revocation.node = 0
  revocation.incarnation = 0
  next(actor, name, `${deletes ? 'settlement deleted' : 'no settlement deleted'}, generation ${database.generation}`)
}

function sleep (act: Act) {
  if (act.revocation.timer === act.moment.scenario.h) answer(act)
}
