import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { Challenges } from '../factors/challenges.js'
import type { FactorCheck } from '../factors/check.js'
import type { Log } from '../observability/logger.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { RefreshCounters } from './counters.js'
import type { RefreshLimiter } from './limiter.js'
import type { Lifetimes } from './opening.js'
import { createSessionService, type SessionService } from './service.js'
import { createSessionStore } from './store.js'

interface SessionPorts {
  database: Database
  tokens: TokenService
  users: UserService
  challenges: Challenges
  check: FactorCheck
  limiter: RefreshLimiter
  revocation: Revocation
  audit: Audit
  clock: Clock
  counters: { refreshes: RefreshCounters }
  log: Log
  config: Lifetimes & { sessionLimit: number }
  idleSeconds: number | null
}

/** Logging in, refreshing, listing and ending sessions. */
export function createSessions ({ database, config, idleSeconds, ...ports }: SessionPorts): SessionService {
  const store = createSessionStore(database, { idleSeconds })
  return createSessionService({ ...ports, store, transactions: database, sessionLimit: config.sessionLimit, lifetimes: config })
}
