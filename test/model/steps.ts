import { batchSteps } from './batch.js'
import { clockStep } from './clock.js'
import { epochSteps } from './epoch.js'
import { helperSteps, sharedBumpSteps } from './helper.js'
import type { Moment } from './moment.js'
import { readerSteps } from './reader.js'
import { redisSteps } from './redis.js'
import { nobodyWillAnswer, revokerSteps } from './revoker.js'

/*
 * What is simpler here than in the world, and why nothing is lost by it:
 * - One token, so one key. Keys are touched alone.
 * - A key may vanish at any moment where keys are evicted, which covers every time to live.
 * - A tick is a part of H. What happens between two ticks happens at one moment, in any order.
 * - A replica, or a snapshot, holds what the master held at some moment before: with one key that is all lagging can do.
 * - R and INFO are executed together, so are a registration and the check of its condition.
 * - A write executed after its sender has given up is not followed, only one executed before: a late R or DEL
 *   kills more, and a late lease belongs to nobody.
 */

/** Everything that can happen next, each thing given to `moment.next`; nothing once no promise can be made any more. */
export function steps (moment: Moment) {
  if (!moment.scenario.bounded && nobodyWillAnswer(moment)) return
  readerSteps(moment)
  revokerSteps(moment)
  sharedBumpSteps(moment)
  helperSteps(moment)
  batchSteps(moment)
  epochSteps(moment)
  redisSteps(moment)
  clockStep(moment)
}
