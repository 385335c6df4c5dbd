import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { UserService } from '../users/service.js'
import { createSetup, type Setup } from './service.js'
import { createSetupStore } from './store.js'

interface SetupPorts { database: Database, users: UserService, sessions: SessionService, audit: Audit, clock: Clock }

/** How the first administrator comes about without a command. */
export function createFirstAdmin ({ database, users, sessions, audit, clock }: SetupPorts): Setup {
  return createSetup({ store: createSetupStore(database), users, sessions, audit, clock, transactions: database })
}
