import type { Attempts } from '../attempts/service.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import { LastAdminError } from '../shared/errors.js'
import { nilUuid } from '../shared/ids.js'
import { type CredentialsCheck, createCredentialsCheck, type LoginLimiter } from './credentials.js'
import { isMarkedDeleted } from './deleted-accounts.js'
import { normaliseEmail } from './email.js'
import type { Passwords } from './password.js'
import type { PasswordPolicy } from './password-policy.js'
import { createRegistration, type Registration } from './registration.js'
import type { Credentials, UserStore } from './store.js'
import type { User } from './user.js'

export type { LoginLimiter, VerifiedCredentials } from './credentials.js'
export type { Credentials } from './store.js'

/**
 * Row locks, held until the end of `tx`. Every writer of a user's tokens, role or flags takes the user's first, so that writers take turns.
 */
export interface UserLocks {
  /** Null when there is no such user. */
  lock (tx: Tx, userId: string): Promise<Credentials | null>
  /** Null when the password hash is no longer the one of `seen`, or the account is disabled or gone. */
  lockUnchanged (tx: Tx, seen: Credentials): Promise<Credentials | null>
  /** Locks several rows, always in the same order; accounts that are being deleted are left out. */
  lockAll (tx: Tx, userIds: string[]): Promise<Map<string, Credentials>>
  /** Locks up to `limit` users with ids after `after` that have an unrevoked token or session. */
  lockNext (tx: Tx, after: string, limit: number): Promise<string[]>
  /** Makes everything that could remove an administrator take turns; to be taken before any row. */
  lockAdmins (tx: Tx): Promise<void>
}

/** Looks accounts up; null where there is none. */
export interface UserDirectory {
  find (userId: string): Promise<Credentials | null>
  /** By address, with what decides whether a login succeeds. */
  findAccount (email: string): Promise<Credentials | null>
}

/**
 * Writes what decides over logins or stands in cache entries, hence the RevokingTx: the caller holds the row and names the user's cached
 * tokens.
 */
export interface UserChanges {
  setRole (tx: RevokingTx, userId: string, role: User['role']): Promise<void>
  setDisabled (tx: RevokingTx, userId: string, disabled: boolean): Promise<void>
  /** Sets an address that its owner has just proved to be theirs; null when another account has it. */
  setVerifiedEmail (tx: RevokingTx, userId: string, email: string): Promise<User | null>
  setPassword (tx: RevokingTx, userId: string, passwordHash: string): Promise<void>
  /** Whether a login needs more than the password. */
  setSecondFactor (tx: RevokingTx, userId: string, secondFactor: boolean): Promise<void>
  /** Whether there is an enabled administrator. The caller has called `lockAdmins`. */
  hasAdmin (tx: Tx): Promise<boolean>
  /** Throws LastAdminError where nobody else could administer. The caller has called `lockAdmins`. */
  requireOtherAdmin (tx: Tx, target: Credentials): Promise<void>
}

/** Accounts, and the proof that somebody owns one. */
export interface UserService extends CredentialsCheck, Registration, UserLocks, UserDirectory, UserChanges {
  /**
   * Clears all login failures of the account: its owner has proved themselves in another way, or an administrator has said so. The caller
   * holds the row.
   */
  forgive (tx: Tx, email: string): Promise<void>
  /** The hash of a new password for `user`, which the request has in `field`, by default `password`. Throws PasswordRejectedError. */
  hashNew (password: string, user: Pick<User, 'email' | 'name'>, field?: 'password' | 'newPassword'): Promise<string>
}

interface UserServiceDependencies {
  store: UserStore
  passwords: Passwords
  policy: PasswordPolicy
  limiter: LoginLimiter
  attempts: Pick<Attempts, 'begin' | 'recordLogin' | 'forgive'>
  clock: Clock
  registration: 'open' | 'closed' | 'confirm'
}

export function createUserService (dependencies: UserServiceDependencies): UserService {
  const { store, passwords, policy, attempts, clock } = dependencies
  return {
    ...createCredentialsCheck(dependencies),
    ...createRegistration(dependencies),

    find: store.findById,
    findAccount: email => store.findByEmail(normaliseEmail(email)),

    lock: store.lock,
    async lockUnchanged (tx, seen) {
      const locked = await store.lock(tx, seen.user.id)
      return locked !== null && !locked.disabled && locked.passwordHash === seen.passwordHash ? locked : null
    },
    lockAll: async (tx, userIds) => new Map([...await store.lockAll(tx, userIds)].filter(([, { user }]) => !isMarkedDeleted(user))),
    lockNext: store.lockNext,
    lockAdmins: store.lockAdmins,

    setRole: store.setRole,
    setDisabled: (tx, userId, disabled) => store.setDisabled(tx, userId, disabled ? new Date(clock.now()) : null),
    setVerifiedEmail: (tx, userId, email) => store.setVerifiedEmail(tx, userId, email, new Date(clock.now())),
    setPassword: store.setPassword,
    setSecondFactor: store.setSecondFactor,
    hasAdmin: tx => store.hasOtherAdmin(tx, nilUuid),
    async requireOtherAdmin (tx, { user, disabled }) {
      if (user.role === 'admin' && !disabled && !await store.hasOtherAdmin(tx, user.id)) throw new LastAdminError()
    },

    forgive: (tx, email) => attempts.forgive(tx, normaliseEmail(email)),

    async hashNew (password, user, field) {
      await policy.requireAcceptable(password, user, field)
      return await passwords.hash(password)
    }
  }
}
