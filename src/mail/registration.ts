import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { MailTokenInvalidError } from '../shared/errors.js'
import type { TokenHash } from '../tokens/token.js'
import { requireEmail } from '../users/email.js'
import type { UserService } from '../users/service.js'
import type { MailLimiter } from './mailer.js'
import type { Outbox } from './outbox.js'
import type { MailStore } from './store.js'
import type { TokenRedemption } from './token-redemption.js'

/** A registration waits for its mail, which may be a day late, and then a day for the answer. */
const registrationSeconds = 2 * 86_400

/** Registrations that a mail has to confirm. */
export interface Registrations {
  /** Accepts a registration. The same work and the same reply, whether or not the address has an account. */
  register (request: { email: string, password: string, name?: string | undefined }, device: Device): Promise<void>
  /**
   * Opens the account. The first registration of an address that is confirmed becomes the account, and the others are void. Throws
   * MailTokenInvalidError.
   */
  confirm (registrationId: string, email: string, hash: TokenHash, device: Device): Promise<void>
}

interface RegistrationDependencies {
  store: Pick<MailStore, 'insertRegistration' | 'lockRegistrations' | 'deleteRegistrations'>
  outbox: Pick<Outbox, 'enqueue'>
  users: Pick<UserService, 'preparePending' | 'insertVerified'>
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  limiter: Pick<MailLimiter, 'ask'>
  clock: Clock
}

export function createRegistrations (
  { store, outbox, users, audit, transactions, limiter, clock }: RegistrationDependencies, { redeem }: Pick<TokenRedemption, 'redeem'>
): Registrations {
  async function register (request: { email: string, password: string, name?: string | undefined }, device: Device): Promise<void> {
    await limiter.ask(requireEmail(request.email), device.address)
    const pending = await users.preparePending(request)
    const createdAt = new Date(clock.now())
    const expiresAt = new Date(createdAt.getTime() + registrationSeconds * 1000)
    await transactions.transaction(async tx => {
      const registrationId = await store.insertRegistration(tx, { ...pending, createdAt, expiresAt })
      await outbox.enqueue(tx, { kind: 'confirm_registration', email: pending.email, registrationId })
    })
  }

  async function confirm (registrationId: string, email: string, hash: TokenHash, device: Device): Promise<void> {
    const opened = await transactions.transaction(async tx => {
      // Before the token is redeemed: the first to be confirmed deletes the tokens of all.
      const waiting = await store.lockRegistrations(tx, email)
      const chosen = waiting.find(({ id, expiresAt }) => id === registrationId && expiresAt.getTime() > clock.now())
      if (await redeem(tx, hash) === null || chosen === undefined) return false
      const { name, passwordHash } = chosen
      const user = await users.insertVerified(tx, { email, name, passwordHash })
      await store.deleteRegistrations(tx, waiting.map(({ id }) => id))
      if (user === null) return false
      await audit.record(tx, device, { type: 'registered', userId: user.id }, { type: 'email_verified', userId: user.id })
      return true
    })
    if (!opened) throw new MailTokenInvalidError()
  }

  return { register, confirm }
}
