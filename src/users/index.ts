import type { Attempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { Keys } from '../keys/store.js'
import type { Log } from '../observability/logger.js'
import type { Revocation } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import { traced } from '../shared/traced.js'
import type { TokenService } from '../tokens/service.js'
import { type AccountService, createAccountService } from './account.js'
import { createBreachCheck } from './breached-passwords.js'
import type { EmailChanges } from './email-changes.js'
import { createUserImport, type UserImport } from './import.js'
import { createPasswords, type Passwords } from './password.js'
import { createPasswordPolicy } from './password-policy.js'
import { createReauthenticate, type Reauthenticate } from './reauthenticate.js'
import { createUserService, type LoginLimiter, type UserService } from './service.js'
import { createUserStore } from './store.js'

interface Ports {
  database: Database
  keys: Keys
  limiter: LoginLimiter
  attempts: Attempts
  clock: Clock
  log: Log
  config: { bcryptCost: number, passwordMinLength: number, breachedPasswordsUrl?: string | undefined, registration: 'open' | 'closed' | 'confirm' }
  spans: { passwords (real: Passwords): Passwords } | null
}

export interface Users { users: UserService, passwords: Passwords, reauthenticate: Reauthenticate, importUsers: UserImport }

/** Accounts, their passwords, and the proof that somebody owns one. */
export async function createUsers ({ database, keys, limiter, attempts, clock, log, config, spans }: Ports): Promise<Users> {
  const store = createUserStore(database)
  const passwords = traced(await createPasswords({ key: await keys.require('password'), cost: config.bcryptCost, dearestCost: remembered(store.findDearestCost, clock) }), spans?.passwords)
  const policy = createPasswordPolicy({ minLength: config.passwordMinLength, isBreached: createBreachCheck(config.breachedPasswordsUrl ?? null, log) })
  const users = createUserService({ store, passwords, policy, limiter, attempts, clock, registration: config.registration })
  return {
    users,
    passwords,
    reauthenticate: createReauthenticate({ users, clock }),
    importUsers: createUserImport({ store, transactions: database, clock })
  }
}

/** `read`, at most every 10 s: the dearest hash changes only with an import or another BCRYPT_COST. */
function remembered<T> (read: () => Promise<T>, clock: Clock): () => Promise<T> {
  let last: { atMs: number, value: Promise<T> } | null = null
  return () => {
    if (last === null || clock.monotonic() - last.atMs >= 10_000) {
      const current = { atMs: clock.monotonic(), value: read() }
      current.value.catch(() => { if (last === current) last = null })
      last = current
    }
    return last.value
  }
}

interface AccountPorts {
  database: Database
  sessions: SessionService
  tokens: TokenService
  revocation: Revocation
  audit: Audit
  reauthenticate: Reauthenticate
  emailChanges: EmailChanges
  clock: Clock
}

/** What users change and delete of their own accounts: it stands above sessions and mail, which stand above `createUsers`. */
export function createAccounts ({ database, ...ports }: AccountPorts): AccountService {
  return createAccountService({ store: createUserStore(database), transactions: database, ...ports })
}
