import type { Database } from '../database/database.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { type Audit, createAudit } from './service.js'
import { createAuditStore } from './store.js'

/** The audit trail in `database`; what it records is also logged. */
export function createAuditTrail ({ database, ...ports }: { database: Database, clock: Clock, log: Log, retentionSeconds: number }): Audit {
  return createAudit({ store: createAuditStore(database), ...ports })
}
