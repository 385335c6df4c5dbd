import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Revocation } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { MailTokenInvalidError } from '../shared/errors.js'
import type { TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import { normaliseEmail, requireEmail } from '../users/email.js'
import type { UserService } from '../users/service.js'
import type { User } from '../users/user.js'
import type { MailLimiter } from './mailer.js'
import type { Outbox } from './outbox.js'
import type { MailStore, MailTokenRow } from './store.js'
import { type MailPurpose, parseMailToken } from './token.js'

/** A registration waits for its mail, which may be late by a day, and then a day for its answer. */
const registrationSeconds = 2 * 86_400

interface Parts {
  store: Pick<MailStore, 'findToken' | 'takeToken' | 'insertRegistration' | 'lockRegistrations' | 'deleteRegistrations'>
  outbox: Pick<Outbox, 'enqueue' | 'forget'>
  users: UserService
  sessions: Pick<SessionService, 'endAllOfUser' | 'endPersonalTokens'>
  tokens: Pick<TokenService, 'namedOfUser'>
  audit: Pick<Audit, 'record' | 'recordAttempt'>
  revocation: Revocation
  transactions: Transactions
  limiter: Pick<MailLimiter, 'ask'>
  /** REGISTRATION=confirm */
  confirms: boolean
  clock: Clock
}

/** What a mailbox proves: who may reset a password, whose address it is, and that a registration is meant. */
export type MailService = ReturnType<typeof createMailService>

export function createMailService ({ store, outbox, users, sessions, tokens, audit, revocation, transactions, limiter, confirms, clock }: Parts) {
  const now = () => new Date(clock.now())

  /** A mail for whoever owns the account of `email`, if there is one: that is looked at when it is sent, so nothing here differs. */
  async function forgot (email: string, device: Device): Promise<void> {
    const address = normaliseEmail(email)
    await limiter.ask(address, device.address)
    const found = await users.findAccount(address)
    await transactions.transaction(async tx => {
      await audit.recordAttempt(tx, device, found?.user.id ?? null, { type: 'password_reset_requested' })
      await outbox.enqueue(tx, { kind: 'reset_password', email: address })
    })
  }

  /**
   * Sets the password and ends every session. Where the address had not been verified before, whoever used the account need not have been
   * its owner: then personal tokens end too. Throws MailTokenInvalidError, PasswordRejectedError.
   */
  async function reset ({ token, password }: { token: string, password: string }, device: Device): Promise<void> {
    const { hash, row } = await requireToken(token, 'reset')
    const { userId } = row
    if (userId === null) throw new MailTokenInvalidError()
    const owner = await users.find(userId)
    if (owner === null) throw new MailTokenInvalidError()
    const passwordHash = await users.hashNew(password, owner.user)
    const user = await revocation.revoke(async tx => {
      const account = await users.lock(tx, userId)
      const taken = await take(tx, hash)
      if (account === null || account.disabled || taken?.email !== account.user.email) return { named: null, refusal: new MailTokenInvalidError() }
      await users.setPassword(tx, userId, passwordHash)
      await users.forgive(tx, taken.email)
      await audit.record(tx, device, { type: 'password_reset', userId })
      if (account.user.emailVerifiedAt === null) {
        await users.setVerifiedEmail(tx, userId, taken.email)
        await sessions.endPersonalTokens(tx, userId, { device, cause: 'password_reset' })
        await audit.record(tx, device, { type: 'email_verified', userId })
      }
      return { named: await sessions.endAllOfUser(tx, userId, { device, cause: 'password_reset' }), outcome: account.user }
    })
    await users.clearLoginLimit(user, device.address)
  }

  /** Verifies an address, changes it, or makes the account that was to be registered: whatever the mail was about. Throws MailTokenInvalidError. */
  async function verify (token: string, device: Device): Promise<void> {
    const { hash, row: { userId, registrationId, email } } = await requireToken(token, 'verify')
    if (userId !== null) await proveAddress(userId, hash, device)
    else if (registrationId !== null) await openAccount(registrationId, email, hash, device)
  }

  async function proveAddress (userId: string, hash: TokenHash, device: Device): Promise<void> {
    const changed = revocation.change(async tx => {
      const account = await users.lock(tx, userId)
      const taken = await take(tx, hash)
      if (account === null || account.disabled || taken === null) return { named: null, refusal: new MailTokenInvalidError() }
      const { email, emailVerifiedAt } = account.user
      const moves = taken.kind === 'email_change'
      if (!moves && taken.email !== email) return { named: null, refusal: new MailTokenInvalidError() }
      if (taken.email === email && emailVerifiedAt !== null) return { named: null, outcome: undefined }
      if (await users.setVerifiedEmail(tx, userId, taken.email) === null) return { named: null, refusal: new MailTokenInvalidError() }
      const [event] = await audit.record(tx, device, { type: moves ? 'email_changed' : 'email_verified', userId })
      // To the address that was: its owner may not be the one who changed it.
      if (moves && event !== undefined) await outbox.enqueue(tx, { kind: 'email_changed', email, userId, eventId: event.id })
      return { named: await tokens.namedOfUser(tx, userId), outcome: undefined }
    })
    await changed.catch((error: unknown) => { throw isTaken(error) ? new MailTokenInvalidError() : error })
  }

  /** Of several registrations for one address the first that is confirmed becomes the account; the others are void. */
  async function openAccount (registrationId: string, email: string, hash: TokenHash, device: Device): Promise<void> {
    const opened = await transactions.transaction(async tx => {
      // Before the token: the first of them deletes the tokens of all.
      const pending = await store.lockRegistrations(tx, email)
      const chosen = pending.find(({ id, expiresAt }) => id === registrationId && expiresAt > now())
      if (await take(tx, hash) === null || chosen === undefined) return false
      const { name, passwordHash } = chosen
      const user = await users.insertVerified(tx, { email, name, passwordHash })
      await store.deleteRegistrations(tx, pending.map(({ id }) => id))
      if (user !== null) await audit.record(tx, device, { type: 'registered', userId: user.id }, { type: 'email_verified', userId: user.id })
      return user !== null
    })
    if (!opened) throw new MailTokenInvalidError()
  }

  return {
    /** Whether registrations have to be confirmed by mail. */
    confirms,
    forgot,
    reset,
    verify,

    /** A registration that its mail has to confirm. The same work and the same answer, whether or not the address has an account. */
    async register (request: { email: string, password: string, name?: string | undefined }, device: Device): Promise<void> {
      await limiter.ask(requireEmail(request.email), device.address)
      const wanted = await users.preparePending(request)
      const createdAt = now()
      const expiresAt = new Date(createdAt.getTime() + registrationSeconds * 1000)
      await transactions.transaction(async tx => {
        const registrationId = await store.insertRegistration(tx, { ...wanted, createdAt, expiresAt })
        await outbox.enqueue(tx, { kind: 'confirm_registration', email: wanted.email, registrationId })
      })
    },

    /** Another mail to the caller's own address; none where it is verified. */
    async sendVerification (user: User, device: Device): Promise<void> {
      if (user.emailVerifiedAt !== null) return
      await limiter.ask(user.email, device.address)
      await transactions.transaction(async tx => {
        await outbox.enqueue(tx, { kind: 'verify_email', email: user.email, userId: user.id })
      })
    },

    /**
     * Within a transaction that has taken the user's row: a token goes to `email`, or word that it has an account. The account keeps its
     * address until the new one is confirmed, and an earlier request is void. The present address is told by the event `email_change_requested`.
     */
    async requestEmailChange (tx: Tx, user: User, email: string, device: Device): Promise<void> {
      await limiter.ask(user.email, device.address)
      await outbox.forget(tx, user.id, ['email_change'])
      await outbox.enqueue(tx, { kind: 'confirm_email_change', email, userId: user.id })
    }
  }

  /** The row of a token that could be used, unlocked; whoever uses it looks again. */
  async function requireToken (candidate: string, purpose: MailPurpose): Promise<{ hash: TokenHash, row: MailTokenRow }> {
    const hash = parseMailToken(candidate, purpose)?.hash()
    const row = hash === undefined ? null : await store.findToken(hash)
    if (hash === undefined || row === null || row.expiresAt <= now()) throw new MailTokenInvalidError()
    return { hash, row }
  }

  async function take (tx: Tx, hash: TokenHash): Promise<MailTokenRow | null> {
    const taken = await store.takeToken(tx, hash)
    return taken !== null && taken.expiresAt > now() ? taken : null
  }
}

/** Two that take one address at the same moment. */
function isTaken (error: unknown): boolean {
  return error instanceof Error && 'constraint' in error && error.constraint === 'users_email_unique'
}
