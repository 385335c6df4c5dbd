import type { IdleAttempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { ExpiredMail } from '../mail/expired.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import type { PruneCounters } from './counters.js'
import { createPrune, type ExpiredChallenges, type Prune } from './prune.js'
import { schedulePrune } from './schedule.js'
import { createRetentionStore } from './store.js'

interface RetentionNeeds {
  database: Database
  audit: Audit
  accounts: { finishRemovals (): Promise<number> }
  idleAttempts: IdleAttempts
  mail: ExpiredMail
  challenges: ExpiredChallenges
  clock: Clock
  counters: PruneCounters
  log: Log
  config: { pruneRetentionSeconds: number, pruneSchedule: string, pruneTimezone: string }
}

export interface Retention {
  prune: Prune
  /** Starts the schedule. */
  start (): void
  /** Ends the schedule, once the batch under way is done. */
  stop (): Promise<void>
}

/** Deletes what is no longer needed, on demand by `prune` and on the schedule. */
export function createRetention ({ database, log, config, ...ports }: RetentionNeeds): Retention {
  const prune = createPrune({ store: createRetentionStore(database), retentionSeconds: config.pruneRetentionSeconds, ...ports })
  let schedule: ReturnType<typeof schedulePrune> | null = null
  return {
    prune,
    start () { schedule ??= schedulePrune({ prune, expression: config.pruneSchedule, timezone: config.pruneTimezone, log }) },
    async stop () { await schedule?.stop() }
  }
}
