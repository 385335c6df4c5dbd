import { randomBytes } from 'node:crypto'
import type { Attempt, Attempts } from '../attempts/service.js'
import type { Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { EmailTakenError, InvalidCredentialsError, InvalidTokenError, LastAdminError, RegistrationClosedError, WrongPasswordError } from '../shared/errors.js'
import { isBuried } from './deleted-accounts.js'
import { normaliseEmail, requireEmail } from './email.js'
import type { Passwords } from './password.js'
import type { PasswordPolicy } from './password-policy.js'
import type { Credentials, NewUser, UserStore } from './store.js'
import type { User } from './user.js'

export type { Credentials }

/** Counts attempts on an account from an address; throws a 429 error past the limit, and never because a counter is out of reach. */
export interface LoginLimiter {
  consume (email: string, address: string): Promise<void>
  clear (email: string, address: string): Promise<void>
}

/** An account whose password was presented, with a hash to replace one that is stale. */
export type Proven = Credentials & { renewedHash: string | null, attempt: Attempt }

interface Parts {
  store: UserStore
  passwords: Passwords
  policy: PasswordPolicy
  limiter: LoginLimiter
  attempts: Pick<Attempts, 'begin' | 'entered' | 'forgive'>
  clock: Clock
  registration: 'open' | 'closed' | 'confirm'
}

interface Wanted { email: string, password: string, name?: string | undefined }

/** Accounts and the proof that somebody owns one. */
export type UserService = ReturnType<typeof createUserService>

export function createUserService ({ store, passwords, policy, limiter, attempts, clock, registration }: Parts) {
  return {
    /** Throws EmailTakenError, PasswordRejectedError, RegistrationClosedError. The account comes to be within `insert`, in the caller's transaction. */
    async prepareRegistration ({ email, password, name }: Wanted) {
      if (registration === 'closed') throw new RegistrationClosedError()
      return await prepareUser({ email, password, name })
    },

    prepareUser,

    /** The same for an account that a mail is to confirm first: it does the same work whether or not the email is taken, and doesn't tell. */
    async preparePending ({ email, password, name }: Wanted): Promise<{ email: string, name: string | null, passwordHash: string }> {
      const address = requireEmail(email)
      await policy.requireAcceptable(password, { email: address, name: name ?? null })
      return { email: address, name: name ?? null, passwordHash: await passwords.hash(password) }
    },

    /** The account of a mailbox that has answered; null when the email is taken. */
    async insertVerified (tx: Tx, user: Pick<NewUser, 'email' | 'name' | 'passwordHash'>): Promise<User | null> {
      const at = new Date(clock.now())
      const inserted = await store.insert(tx, { ...user, createdAt: at, emailVerifiedAt: at })
      if (inserted !== null) await attempts.forgive(tx, inserted.email)
      return inserted
    },

    find: (userId: string): Promise<Credentials | null> => store.findById(userId),
    /** The account of that address with what decides whether a login succeeds, or null. */
    findAccount: (email: string): Promise<Credentials | null> => store.findByEmail(normaliseEmail(email)),

    /** The account these credentials open. Unknown, wrong and disabled look alike, in their words and in their time. */
    async requireCredentials (email: string, password: string, device: Device): Promise<Proven> {
      const account = normaliseEmail(email)
      await limiter.consume(account, device.address)
      const credentials = await store.findByEmail(account)
      return await requireOpening(credentials, password, await attempts.begin({ id: credentials?.user.id ?? null, email: account }, device))
    },

    /** The same of an account that has been `seen`, as it stands now; this counts as no attempt. Throws InvalidCredentialsError. */
    requireSamePassword: async (seen: Proven, password: string): Promise<Proven> => requireOpening(await store.findById(seen.user.id), password, seen.attempt),

    /** Throws WrongPasswordError; counts with the logins, or it would be the way around their limits. */
    async requireCurrentPassword (userId: string, password: string, device: Device): Promise<Credentials> {
      const credentials = await store.findById(userId)
      if (credentials === null || credentials.disabled) throw new InvalidTokenError()
      await limiter.consume(credentials.user.email, device.address)
      const attempt = await attempts.begin(credentials.user, device)
      if (!await passwords.verify(password, credentials.passwordHash)) {
        await attempt.failed('wrong_password')
        throw new WrongPasswordError()
      }
      await attempt.succeeded()
      await limiter.clear(credentials.user.email, device.address)
      return credentials
    },

    /** Notes, in the transaction that opens a session, that `user` has come in: what failed before is forgotten, and from here he is let in though others fail. */
    entered: (tx: Tx, user: User, device: Device): Promise<void> => attempts.entered(tx, user, device),

    /** Forgets all failures on the account, in a transaction that holds its row: its owner has shown himself otherwise, or an admin says so. */
    forgive: (tx: Tx, email: string): Promise<void> => attempts.forgive(tx, normaliseEmail(email)),

    /** After a success nobody has to wait for earlier slips. */
    succeeded: (user: User, address: string): Promise<void> => limiter.clear(user.email, address),

    /** The hash of a new password of `user`'s. Throws PasswordRejectedError. */
    async hashNew (password: string, user: Pick<User, 'email' | 'name'>): Promise<string> {
      await policy.requireAcceptable(password, user)
      return await passwords.hash(password)
    },

    /** Takes the user's row and compares what `seen` rested on: null when it has changed since, or the account is disabled or gone. */
    async lockUnchanged (tx: Tx, seen: Credentials): Promise<Credentials | null> {
      const locked = await store.lock(tx, seen.user.id)
      return locked !== null && !locked.disabled && locked.passwordHash === seen.passwordHash ? locked : null
    },

    lock: (tx: Tx, userId: string): Promise<Credentials | null> => store.lock(tx, userId),

    /** Takes the rows of several, in one order for all; those of accounts that are being deleted are left out. */
    lockAll: async (tx: Tx, userIds: string[]): Promise<Map<string, Credentials>> => new Map([...await store.lockAll(tx, userIds)].filter(([, { user }]) => !isBuried(user))),

    lockNext: (tx: Tx, after: string, limit: number): Promise<string[]> => store.lockNext(tx, after, limit),
    lockAdmins: (tx: Tx): Promise<void> => store.lockAdmins(tx),

    /** The account of that address, or null. */
    findByEmail: async (email: string): Promise<User | null> => (await store.findByEmail(normaliseEmail(email)))?.user ?? null,

    /** Throws LastAdminError if without this one nobody could administer; for who has taken `lockAdmins`. */
    async requireOtherAdmin (tx: Tx, { user, disabled }: Credentials): Promise<void> {
      if (user.role === 'admin' && !disabled && !await store.hasOtherAdmin(tx, user.id)) throw new LastAdminError()
    },

    setRole: (tx: RevokingTx, userId: string, role: User['role']): Promise<void> => store.setRole(tx, userId, role),
    setDisabled: (tx: RevokingTx, userId: string, disabled: boolean): Promise<void> => store.setDisabled(tx, userId, disabled ? new Date(clock.now()) : null),
    /** `email` is its owner's, who has just shown it; null when another account has it. Entries say so: only with every hash named that may be cached. */
    setVerifiedEmail: (tx: RevokingTx, userId: string, email: string): Promise<User | null> => store.setVerifiedEmail(tx, userId, email, new Date(clock.now())),
    setPassword: (tx: RevokingTx, userId: string, passwordHash: string): Promise<void> => store.setPassword(tx, userId, passwordHash)
  }

  /** The same whatever REGISTRATION says. Without `password` nobody has one, and the account is opened by resetting it. */
  async function prepareUser ({ email, password, name, role = 'user' }: { email: string, password?: string | undefined, name?: string | undefined, role?: User['role'] | undefined }) {
    const address = requireEmail(email)
    if (password !== undefined) await policy.requireAcceptable(password, { email: address, name: name ?? null })
    if (await store.findByEmail(address) !== null) throw new EmailTakenError()
    const passwordHash = await passwords.hash(password ?? randomBytes(32).toString('base64url'))
    return async (tx: Tx): Promise<User> => {
      const user = await store.insert(tx, { email: address, name: name ?? null, passwordHash, role, createdAt: new Date(clock.now()) })
      if (user === null) throw new EmailTakenError()
      // What was guessed at the address before it had an account says nothing about this one.
      await attempts.forgive(tx, address)
      return user
    }
  }

  async function requireOpening (credentials: Credentials | null, password: string, attempt: Attempt): Promise<Proven> {
    const right = await passwords.verify(password, credentials?.passwordHash ?? null)
    if (credentials === null || !right || credentials.disabled) {
      await attempt.failed(credentials === null ? 'unknown_account' : right ? 'disabled' : 'wrong_password')
      throw new InvalidCredentialsError()
    }
    // The one moment when the password is at hand: a hash of another cost, or from elsewhere, is made anew.
    return { ...credentials, renewedHash: passwords.isStale(credentials.passwordHash) ? await passwords.hash(password) : null, attempt }
  }
}
