import type { IdleAttempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { ExpiredMail } from '../mail/expired.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import type { Counters } from '../token-cache/counters.js'
import { createPrune, type Prune } from './prune.js'
import { schedulePrune } from './schedule.js'
import { createDeadStore } from './store.js'

interface Ports {
  database: Database
  audit: Audit
  accounts: { finishRemovals (): Promise<number> }
  idleAttempts: IdleAttempts
  mail: ExpiredMail
  clock: Clock
  counters: Counters
  log: Log
  config: { pruneRetentionSeconds: number, pruneSchedule: string, pruneTimezone: string }
}

export interface Retention {
  prune: Prune
  /** Prunes by the schedule from now on. */
  start (): void
  /** Waits for the batch under way. */
  stop (): Promise<void>
}

/** Deletes what is no longer needed: at once by `prune`, and by the schedule. */
export function createRetention ({ database, log, config, ...ports }: Ports): Retention {
  const prune = createPrune({ store: createDeadStore(database), retentionSeconds: config.pruneRetentionSeconds, ...ports })
  let schedule: ReturnType<typeof schedulePrune> | null = null
  return {
    prune,
    start () { schedule ??= schedulePrune({ prune, expression: config.pruneSchedule, timezone: config.pruneTimezone, log }) },
    async stop () { await schedule?.stop() }
  }
}
