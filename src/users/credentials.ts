import type { Attempt, AttemptScope, Attempts } from '../attempts/service.js'
import type { Tx } from '../database/transaction.js'
import type { Device } from '../shared/device.js'
import { InvalidCredentialsError, InvalidTokenError, WrongPasswordError } from '../shared/errors.js'
import { normaliseEmail } from './email.js'
import type { Passwords } from './password.js'
import type { Credentials, UserStore } from './store.js'
import type { User } from './user.js'

/**
 * Counts login attempts per account and client address. Throws a 429 error past the limit; a counter that can't be reached is never an
 * error.
 */
export interface LoginLimiter {
  consume (email: string, address: string): Promise<void>
  clear (email: string, address: string): Promise<void>
}

/** An account whose password has just been checked; `renewedHash` replaces a stored hash that is out of date. */
export type VerifiedCredentials = Credentials & { renewedHash: string | null, attempt: Attempt }

/** Checks passwords, and counts the attempts. */
export interface CredentialsCheck {
  /**
   * The account that these credentials open. Throws InvalidCredentialsError: an unknown address, a wrong password and a disabled account
   * can't be told apart, nor by time.
   */
  requireCredentials (email: string, password: string, device: Device): Promise<VerifiedCredentials>
  /** The same for an account checked a moment ago, as its row is now; not counted as another attempt. Throws InvalidCredentialsError. */
  requireSamePassword (seen: VerifiedCredentials, password: string): Promise<VerifiedCredentials>
  /** Counts an attempt on the account that isn't about its password, against the same limits. Throws 429 errors. */
  beginAttempt (user: User, device: Device, scope?: AttemptScope): Promise<Attempt>
  /** Throws WrongPasswordError. Counted together with logins, or guessing here would get round their limits. */
  requireCurrentPassword (userId: string, password: string, device: Device): Promise<Credentials>
  /**
   * In the transaction that opens a session: clears earlier failures and remembers the network, which then has failures of its own to use
   * up.
   */
  recordLogin (tx: Tx, user: User, device: Device): Promise<void>
  /** Clears the LOGIN_LIMIT count of this account and address, after a success. */
  clearLoginLimit (user: User, address: string): Promise<void>
}

interface CredentialsCheckDependencies {
  store: Pick<UserStore, 'findByEmail' | 'findById'>
  passwords: Pick<Passwords, 'hash' | 'verify' | 'isStale'>
  limiter: LoginLimiter
  attempts: Pick<Attempts, 'begin' | 'recordLogin'>
}

export function createCredentialsCheck ({ store, passwords, limiter, attempts }: CredentialsCheckDependencies): CredentialsCheck {
  async function requireMatch (credentials: Credentials | null, password: string, attempt: Attempt): Promise<VerifiedCredentials> {
    const right = await passwords.verify(password, credentials?.passwordHash ?? null)
    if (credentials === null || !right || credentials.disabled) {
      await attempt.failed(credentials === null ? 'unknown_account' : right ? 'disabled' : 'wrong_password')
      throw new InvalidCredentialsError()
    }
    // Only now is the password at hand: an imported hash, or one of another cost, is replaced.
    return { ...credentials, renewedHash: passwords.isStale(credentials.passwordHash) ? await passwords.hash(password) : null, attempt }
  }

  async function beginAttempt (user: User, device: Device, scope?: AttemptScope): Promise<Attempt> {
    await limiter.consume(user.email, device.address)
    return await attempts.begin(user, device, scope)
  }

  return {
    async requireCredentials (email, password, device) {
      const address = normaliseEmail(email)
      await limiter.consume(address, device.address)
      const credentials = await store.findByEmail(address)
      return await requireMatch(credentials, password, await attempts.begin({ id: credentials?.user.id ?? null, email: address }, device))
    },

    requireSamePassword: async (seen, password) => requireMatch(await store.findById(seen.user.id), password, seen.attempt),

    beginAttempt,

    async requireCurrentPassword (userId, password, device) {
      const credentials = await store.findById(userId)
      if (credentials === null || credentials.disabled) throw new InvalidTokenError()
      const attempt = await beginAttempt(credentials.user, device)
      if (!await passwords.verify(password, credentials.passwordHash)) {
        await attempt.failed('wrong_password')
        throw new WrongPasswordError()
      }
      // Where a second factor is asked for too, the password alone must not make room for more guesses at it.
      if (credentials.secondFactor) await attempt.withdrawn()
      else {
        await attempt.succeeded()
        await limiter.clear(credentials.user.email, device.address)
      }
      return credentials
    },

    recordLogin: (tx, user, device) => attempts.recordLogin(tx, user, device),
    clearLoginLimit: (user, address) => limiter.clear(user.email, address)
  }
}
