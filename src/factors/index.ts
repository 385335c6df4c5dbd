import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { Vault } from '../vault/vault.js'
import { type Challenges, createChallenges } from './challenges.js'
import { createFactorCheck, type FactorCheck } from './check.js'
import { createReauthenticate, type Reauthenticate } from './reauthenticate.js'
import { createFactorService, type FactorService } from './service.js'
import { createFactorStore } from './store.js'

interface CheckPorts {
  database: Database
  vault: Vault
  users: UserService
  audit: Audit
  clock: Clock
  networkOf (address: string): string
}

/** What logins and step-up need of second factors; sessions stand on it. */
export interface FactorChecks { check: FactorCheck, challenges: Challenges, reauthenticate: Reauthenticate }

export function createFactorChecks ({ database, networkOf, ...ports }: CheckPorts): FactorChecks {
  const store = createFactorStore(database)
  const check = createFactorCheck({ ...ports, store, transactions: database })
  const challenges = createChallenges({ ...ports, store, check, networkOf })
  ports.audit.onRecorded(challenges.onRecorded)
  return { check, challenges, reauthenticate: createReauthenticate({ ...ports, check }) }
}

interface FactorPorts {
  database: Database
  vault: Vault
  users: UserService
  sessions: SessionService
  tokens: TokenService
  audit: Audit
  reauthenticate: Reauthenticate
  challenges: Challenges
  clock: Clock
  config: { appName: string }
}

/** What users do to their second factors. Whoever ends an account's sessions from outside also ends the logins that wait. */
export function createFactors ({ database, challenges, config, ...ports }: FactorPorts): FactorService {
  ports.sessions.onEndedFromOutside(challenges.cancel)
  return createFactorService({ ...ports, store: createFactorStore(database), issuer: config.appName })
}
