import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { Keys } from '../keys/store.js'
import type { Clock } from '../shared/clock.js'
import { type Attempts, createAttempts, createIdleAttempts, type IdleAttempts } from './service.js'
import { createAttemptStore } from './store.js'

interface FailureCountPorts {
  database: Database
  keys: Keys
  audit: Pick<Audit, 'recordAttempt'>
  clock: Clock
  networkOf (address: string): string
}

/** Failed logins, counted in `database`; `idle` is for pruning. */
export async function createFailureCounts ({
  database,
  keys,
  audit,
  clock,
  networkOf
}: FailureCountPorts): Promise<{ attempts: Attempts, idle: IdleAttempts }> {
  const store = createAttemptStore(database)
  return {
    attempts: createAttempts({ store, audit, transactions: database, clock, networkOf, key: await keys.require('attempts') }),
    idle: createIdleAttempts({ store, clock })
  }
}
