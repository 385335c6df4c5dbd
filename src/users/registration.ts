import { randomBytes } from 'node:crypto'
import type { Attempts } from '../attempts/service.js'
import type { Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import { EmailTakenError, RegistrationClosedError } from '../shared/errors.js'
import { requireEmail } from './email.js'
import type { Passwords } from './password.js'
import type { PasswordPolicy } from './password-policy.js'
import type { NewUser, UserStore } from './store.js'
import type { User } from './user.js'

export interface RegistrationRequest { email: string, password: string, name?: string | undefined }

/** An account made by an administrator or a command; without a password its owner has to reset it before they can log in. */
export interface NewAccount { email: string, password?: string | undefined, name?: string | undefined, role?: User['role'] | undefined }

/** Inserts the prepared account in the caller's transaction. Throws EmailTakenError. */
export type InsertUser = (tx: Tx) => Promise<User>

/** Makes accounts. Passwords are checked and hashed first, outside of any transaction. */
export interface Registration {
  /** For the public. Throws EmailTakenError, EmailRejectedError, PasswordRejectedError, RegistrationClosedError. */
  prepareRegistration (request: RegistrationRequest): Promise<InsertUser>
  /** The same for an administrator or a command, whatever REGISTRATION says. */
  prepareUser (account: NewAccount): Promise<InsertUser>
  /** For an account that a mail has to confirm first. The work and the outcome are the same whether or not the address has an account. */
  preparePending (request: RegistrationRequest): Promise<{ email: string, name: string | null, passwordHash: string }>
  /** Whether `password` is the one that was chosen for a pending account. */
  isPendingPassword (password: string, passwordHash: string): Promise<boolean>
  /** Inserts an account whose owner has proved that the address is theirs; null when the address is taken. */
  insertVerified (tx: Tx, user: Pick<NewUser, 'email' | 'name' | 'passwordHash'>): Promise<User | null>
}

interface RegistrationDependencies {
  store: Pick<UserStore, 'findByEmail' | 'insert'>
  passwords: Pick<Passwords, 'hash' | 'verify'>
  policy: PasswordPolicy
  attempts: Pick<Attempts, 'forgive'>
  clock: Clock
  /** REGISTRATION */
  registration: 'open' | 'closed' | 'confirm'
}

export function createRegistration ({ store, passwords, policy, attempts, clock, registration }: RegistrationDependencies): Registration {
  async function insert (tx: Tx, user: NewUser): Promise<User | null> {
    const inserted = await store.insert(tx, user)
    // Passwords guessed at this address before it had an account don't count against the new one.
    if (inserted !== null) await attempts.forgive(tx, inserted.email)
    return inserted
  }

  async function prepareUser ({
    email,
    password,
    name = null,
    role = 'user'
  }: Omit<NewAccount, 'name'> & { name?: string | null | undefined }): Promise<InsertUser> {
    const address = requireEmail(email)
    if (password !== undefined) await policy.requireAcceptable(password, { email: address, name })
    if (await store.findByEmail(address) !== null) throw new EmailTakenError()
    const passwordHash = await passwords.hash(password ?? randomBytes(32).toString('base64url'))
    return async tx => {
      const user = await insert(tx, { email: address, name, passwordHash, role, createdAt: new Date(clock.now()) })
      if (user === null) throw new EmailTakenError()
      return user
    }
  }

  return {
    async prepareRegistration ({ email, password, name }) {
      if (registration === 'closed') throw new RegistrationClosedError()
      return await prepareUser({ email, password, name })
    },

    prepareUser,

    async preparePending ({ email, password, name = null }) {
      const address = requireEmail(email)
      await policy.requireAcceptable(password, { email: address, name })
      return { email: address, name, passwordHash: await passwords.hash(password) }
    },

    isPendingPassword: (password, passwordHash) => passwords.verify(password, passwordHash),

    async insertVerified (tx, user) {
      const at = new Date(clock.now())
      return await insert(tx, { ...user, createdAt: at, emailVerifiedAt: at })
    }
  }
}
