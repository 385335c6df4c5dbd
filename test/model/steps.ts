import { batchSteps } from './batch.js'
import { clockStep } from './clock.js'
import { databaseSteps } from './database.js'
import { epochSteps } from './epoch.js'
import { helperSteps, sharedBumpSteps } from './helper.js'
import type { Moment } from './moment.js'
import { readerSteps } from './reader.js'
import { openSecondKey, redisSteps } from './redis.js'
import { nobodyWillAnswer } from './revocation.js'
import { revokerSteps } from './revoker.js'

/*
 * What the model simplifies, and why nothing is lost by it:
 * - One token, so one key: keys are touched alone. What a batch or a large settlement does to other keys has no effect on this one.
 * - Where keys are evicted, a key may vanish at any moment, which covers every time to live.
 * - A tick is a part of H. What happens between two ticks happens at one moment, in any order.
 * - A replica, a standby, a snapshot and a backup hold what the original held at some earlier moment.
 * - R and INFO are executed together, and so are a registration and the check of its condition.
 * - A write executed after its sender gave up is not followed, only one executed before: a late R or DEL ends more entries, and a late
 *   lease belongs to nobody.
 */

/** Changes the first state as the rules and the scenario ask. */
export const prepare = openSecondKey

/** Everything that can happen next, each passed to `moment.next`; nothing once no promise can be made any more. */
export function steps (moment: Moment) {
  if (!moment.scenario.bounded && nobodyWillAnswer(moment)) return
  readerSteps(moment)
  revokerSteps(moment)
  sharedBumpSteps(moment)
  helperSteps(moment)
  batchSteps(moment)
  epochSteps(moment)
  redisSteps(moment)
  databaseSteps(moment)
  clockStep(moment)
}
