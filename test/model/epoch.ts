import { reachable, wrote } from './database.js'
import { api, type Moment, redis } from './moment.js'
import { isOverdue } from './revocation.js'
import type { Instance, Poll } from './state.js'

const sent = 1
const executed = 2

/** Whether the instance may accept and fill: its poll is fresh, its connection leads to the registered server, no settlement is overdue. */
export function isTrusted ({ rules, scenario }: Moment, instance: Instance): boolean {
  return instance.age < scenario.h &&
    (instance.infoAge < scenario.h || !rules.infoWithEachPoll) &&
    instance.node !== 0 && instance.known !== 0 &&
    (instance.known === instance.incarnation || !rules.trustNeedsRegisteredIncarnation) &&
    (instance.unsettled === 0 || !rules.oldSettlementTakesTrust)
}

/** Records when an instance first saw a generation: a revocation waits until that is H ago. */
export function see (instance: Instance, generation: number, age: number) {
  if (generation <= instance.seen) return
  instance.seen = generation
  instance.seenAge = age
}

/** Polls, INFO and registration of every instance. */
export function epochSteps (moment: Moment) {
  moment.state.instances.forEach((_, index) => {
    if (!moment.scenario.slowPolls.includes(index)) pollAtOnce(moment, index)
    askInfo(moment, index)
    if (moment.scenario.verifiers.includes(index)) return
    register(moment, index)
    forgetServer(moment, index)
  })
  moment.state.polls.forEach((_, slot) => pollSlowly(moment, slot))
}

function pollAtOnce (moment: Moment, index: number) {
  const { state, rules, scenario, next } = moment
  const instance = state.instances[index]!
  const unsettled = unsettledFlag(moment)
  for (const { generation, registered, standby } of reachable(moment, index)) {
    if (standby && rules.pollRefusesStandby) continue
    if (instance.generation === generation && instance.incarnation === registered && instance.age === 0 &&
      instance.unsettled === unsettled) continue
    Object.assign(instance, { generation, incarnation: registered, unsettled, age: 0 })
    if (scenario.revokers.includes(index)) see(instance, generation, 0)
    const text = `generation ${generation}, ${incarnationName(registered)} registered${unsettled ? ', an old settlement' : ''}`
    next(api(index), 'poll', `${standby ? 'of the standby: ' : ''}${text}`)
  }
}

function pollSlowly (moment: Moment, slot: number) {
  const { state, rules, scenario, next } = moment
  const index = scenario.slowPolls[slot]!
  const instance = state.instances[index]!
  const poll = state.polls[slot]!
  const name = scenario.slowPolls.indexOf(index) === slot ? 'poll' : 'poll 2'

  if (poll.phase === 0) {
    poll.phase = sent
    if (!rules.sentTimeReplacedWithGeneration) instance.age = 0
    next(api(index), name, 'sent')
    return
  }
  if (poll.phase === sent) {
    for (const { generation, registered, standby } of reachable(moment, index)) {
      if (standby && rules.pollRefusesStandby) continue
      Object.assign(poll, { phase: executed, generation, incarnation: registered, unsettled: unsettledFlag(moment) })
      next(api(index), name, `executed: generation ${generation}, ${incarnationName(registered)} registered`)
    }
    return
  }
  const { generation } = poll
  const dropped = rules.olderPollDropped && scenario.readers.includes(index) && poll.age > instance.age
  if (!dropped) apply(moment, instance, poll, index)
  forgetPoll(poll)
  next(api(index), name, dropped ? 'reply older than the one held: dropped' : `reply: generation ${generation}`)
}

function apply ({ rules, scenario }: Moment, instance: Instance, poll: Poll, index: number) {
  instance.generation = poll.generation
  instance.incarnation = poll.incarnation
  instance.unsettled = poll.unsettled
  instance.age = rules.trustFromPollSent && scenario.readers.includes(index) ? poll.age : 0
  if (scenario.revokers.includes(index)) see(instance, poll.generation, rules.firstSeenWhenPollReplied ? 0 : poll.age)
}

/** A poll that has been answered, or has timed out. */
export function forgetPoll (poll: Poll) {
  Object.assign(poll, { phase: 0, generation: 0, incarnation: 0, unsettled: 0, age: 0 })
}

function askInfo ({ state, next }: Moment, index: number) {
  const instance = state.instances[index]!
  const incarnation = state.node(instance.node)?.incarnation
  if (incarnation === undefined || (instance.known === incarnation && instance.infoAge === 0)) return
  instance.known = incarnation
  instance.infoAge = 0
  next(api(index), 'INFO', `${redis(instance.node)} is ${incarnationName(incarnation)}`)
}

function register (moment: Moment, index: number) {
  const { state, rules, scenario, next } = moment
  const instance = state.instances[index]!
  const { database } = state
  if (instance.known === 0 || instance.known === instance.incarnation || instance.known === database.registered) return
  if (rules.registerConditionally && database.generation !== instance.generation) return
  if (database.generation === scenario.maxGeneration) return
  if (rules.bumpOnRegistering) database.generation++
  database.registered = instance.known
  wrote(moment, rules.registrationWaitsForFlush)
  next(api(index), 'poll', `registers ${incarnationName(instance.known)}: generation ${database.generation}`)
}

/** Nobody has used the registered server for minutes: none is registered any more, and every entry is void. */
function forgetServer (moment: Moment, index: number) {
  const { state: { database }, rules, scenario, next } = moment
  if (!scenario.forgets || database.registered === 0) return
  if (database.generation === scenario.maxGeneration) return
  if (rules.bumpOnForgetting) database.generation++
  database.registered = 0
  wrote(moment, rules.registrationWaitsForFlush)
  next(api(index), 'poll', `forgets the registered server: generation ${database.generation}`)
}

function unsettledFlag (moment: Moment): number {
  return moment.state.revocations.some(revocation => isOverdue(moment, revocation)) ? 1 : 0
}

export const incarnationName = (incarnation: number) => incarnation === 0 ? 'no master' : `incarnation ${incarnation}`
