import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { Reauthenticate } from '../factors/reauthenticate.js'
import type { FactorService } from '../factors/service.js'
import type { RevocationCounters } from '../revocation/counters.js'
import type { Protocol } from '../revocation/index.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { CacheCounters } from '../token-cache/counters.js'
import type { TokenService } from '../tokens/service.js'
import type { AccountService } from '../users/account.js'
import type { UserService } from '../users/service.js'
import { createActivity } from './activity.js'
import { createCacheFigures } from './cache-figures.js'
import { createOverview, type Overview } from './overview.js'
import { type AdminService, createAdminService } from './service.js'
import { createTokenStats, type TokenStats } from './stats.js'
import { createAdminStore } from './store.js'

interface AdminPorts {
  database: Database
  users: UserService
  sessions: SessionService
  tokens: TokenService
  accounts: AccountService
  protocol: Pick<Protocol, 'revocation' | 'settle' | 'epoch'>
  audit: Audit
  reauthenticate: Reauthenticate
  factors: FactorService
  clock: Clock
  counters: CacheCounters & RevocationCounters
  /** Keys and memory of the cache; null where there is none. */
  measure: (() => Promise<{ keys: number, memoryBytes: number | null }>) | null
}

/** What administrators and the operator's commands do to accounts, and the figures that they see. */
export function createAdmin ({ database, protocol: { revocation, settle, epoch }, clock, counters, measure, ...ports }: AdminPorts): {
  admin: AdminService
  tokenStats: TokenStats
  overview: Overview
} {
  const store = createAdminStore(database)
  const cache = createCacheFigures({ store, counters, epoch, measure })
  const activity = createActivity({ store, clock })
  return {
    admin: createAdminService({ store, revocation, settle, forgive: ports.users.forgive, ...ports }),
    tokenStats: createTokenStats({ store, cache, clock }),
    overview: createOverview({ store, activity, cache, counters, clock })
  }
}
