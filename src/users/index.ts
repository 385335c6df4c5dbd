import type { Attempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { Reauthenticate } from '../factors/reauthenticate.js'
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
import { createImportStore } from './import-store.js'
import { createPasswords, type Passwords } from './password.js'
import { createPasswordPolicy } from './password-policy.js'
import { createUserService, type LoginLimiter, type UserService } from './service.js'
import { createUserStore } from './store.js'

interface UserPorts {
  database: Database
  keys: Keys
  limiter: LoginLimiter
  attempts: Attempts
  audit: Audit
  clock: Clock
  log: Log
  config: {
    bcryptCost: number
    passwordMinLength: number
    breachedPasswordsUrl?: string | undefined
    registration: 'open' | 'closed' | 'confirm'
  }
  spans: { passwords (real: Passwords): Passwords } | null
}

export interface Users { users: UserService, passwords: Passwords, importUsers: UserImport }

/** Accounts, their passwords, and the proof that somebody owns one. */
export async function createUsers ({ database, keys, limiter, attempts, audit, clock, log, config, spans }: UserPorts): Promise<Users> {
  const store = createUserStore(database)
  const passwords = traced(
    await createPasswords({
      key: await keys.require('password'),
      cost: config.bcryptCost,
      dearestCost: await followDearestCost(store.findDearestCost, clock)
    }),
    spans?.passwords
  )
  const policy = createPasswordPolicy({
    minLength: config.passwordMinLength,
    isBreached: createBreachCheck(config.breachedPasswordsUrl ?? null, log)
  })
  const users = createUserService({ store, passwords, policy, limiter, attempts, clock, registration: config.registration })
  return {
    users,
    passwords,
    importUsers: createUserImport({ store: createImportStore(database), transactions: database, audit, clock })
  }
}

/**
 * The dearest cost as it was read last: at the start, and again once a minute beside the logins. No login waits for it, nor runs one
 * statement more than another.
 */
async function followDearestCost (read: () => Promise<number | null>, clock: Clock): Promise<() => number | null> {
  let cost = await read()
  let readAtMs = clock.monotonic()
  return () => {
    if (clock.monotonic() - readAtMs >= 60_000) {
      readAtMs = clock.monotonic()
      read().then(found => { cost = found }, () => {})
    }
    return cost
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
  notifyDeleted: (tx: Tx, userId: string) => Promise<void>
  clock: Clock
}

/** What users change and delete of their own accounts: it stands above sessions and mail, which stand above `createUsers`. */
export function createAccounts ({ database, ...ports }: AccountPorts): AccountService {
  return createAccountService({ store: createUserStore(database), transactions: database, ...ports })
}
