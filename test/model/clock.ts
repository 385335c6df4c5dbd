import { forgetPoll } from './epoch.js'
import type { Moment } from './moment.js'
import { isWaiting, settled } from './revocation.js'

/** One tick for everybody at once. Ages stop growing once no rule compares them, and are kept only for instances that use them. */
export function clockStep ({ state, rules, scenario, next }: Moment) {
  if (!scenario.clock) return
  const { h, settlementLimit } = scenario
  for (const [index, instance] of state.instances.entries()) {
    if (scenario.readers.includes(index)) instance.age = Math.min(instance.age + 1, h)
    if (scenario.revokers.includes(index)) instance.seenAge = Math.min(instance.seenAge + 1, h)
    if (scenario.second === 'swap') instance.infoAge = Math.min(instance.infoAge + 1, h)
  }
  for (const poll of state.polls) if (poll.phase !== 0 && ++poll.age === h) forgetPoll(poll)
  for (const revocation of state.revocations) {
    if (isWaiting(revocation, rules)) revocation.timer = Math.min(revocation.timer + 1, h)
    if (scenario.bounded && revocation.row !== settled) revocation.rowAge = Math.min(revocation.rowAge + 1, settlementLimit)
  }
  if (state.redis.swapped) state.redis.swapAge = Math.min(state.redis.swapAge + 1, h)
  if (scenario.bounded && state.database.committed) {
    state.database.commitAge = Math.min(state.database.commitAge + 1, settlementLimit + h)
    if (state.database.commitAge === settlementLimit + h) state.database.answered = 1
  }
  next('', 'clock', `1/${h} of H passes`)
}
