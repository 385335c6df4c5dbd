import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { MailTokenInvalidError } from '../shared/errors.js'
import type { TokenHash } from '../tokens/token.js'
import { requireEmail } from '../users/email.js'
import type { UserService } from '../users/service.js'
import { languageOf } from './language.js'
import type { MailLimiter } from './mailer.js'
import type { Outbox } from './outbox.js'
import type { MailStore, MailTokenRow, Registration } from './store.js'
import type { TokenRedemption } from './token-redemption.js'

/** A registration waits for its mail, which may be a day late, and then a day for the answer. */
const registrationSeconds = 2 * 86_400

/** Registrations of one address that wait at the same time. Confirming one takes as many password hashes at most. */
const mostWaiting = 3

/** Registrations that a mail has to confirm. */
export interface Registrations {
  /**
   * Accepts a registration. The same work and the same reply, whether or not the address has an account. Past three that wait, it takes the
   * place of the oldest.
   */
  register (request: { email: string, password: string, name?: string | undefined }, device: Device): Promise<void>
  /**
   * Opens the account of the registration that chose `password`. A mail's token proves the mailbox, whichever registration caused the mail,
   * so nobody can keep others from registering by using up the mails of their address; and without the password it opens nothing. All
   * registrations of the address are over then. Throws MailTokenInvalidError.
   */
  confirm (token: { hash: TokenHash, row: MailTokenRow }, password: string | undefined, device: Device): Promise<void>
}

interface RegistrationDependencies {
  store: Pick<MailStore, 'insertRegistration' | 'replaceRegistration' | 'findRegistrations' | 'lockRegistrations' | 'deleteRegistrations'>
  outbox: Pick<Outbox, 'enqueue'>
  users: Pick<UserService, 'preparePending' | 'isPendingPassword' | 'insertVerified'>
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  limiter: Pick<MailLimiter, 'ask'>
  clock: Clock
}

export function createRegistrations (
  { store, outbox, users, audit, transactions, limiter, clock }: RegistrationDependencies, { redeem }: Pick<TokenRedemption, 'redeem'>
): Registrations {
  const isWaiting = ({ expiresAt }: Registration) => expiresAt.getTime() > clock.now()

  async function register (request: { email: string, password: string, name?: string | undefined }, device: Device): Promise<void> {
    await limiter.ask(requireEmail(request.email), device.address)
    const pending = await users.preparePending(request)
    const createdAt = new Date(clock.now())
    const registration = { ...pending, createdAt, expiresAt: new Date(createdAt.getTime() + registrationSeconds * 1000) }
    await transactions.transaction(async tx => {
      const waiting = await store.lockRegistrations(tx, pending.email)
      const [oldest] = waiting.length < mostWaiting ? [] : waiting.sort((one, other) => one.createdAt.getTime() - other.createdAt.getTime())
      const registrationId = oldest === undefined
        ? await store.insertRegistration(tx, registration)
        : await store.replaceRegistration(tx, oldest.id, registration)
      await outbox.enqueue(tx, { kind: 'confirm_registration', email: pending.email, registrationId, language: languageOf(device) })
    })
  }

  async function confirm (
    { hash, row }: { hash: TokenHash, row: MailTokenRow },
    password: string | undefined,
    device: Device
  ): Promise<void> {
    const { email } = row
    const seen = password === undefined ? null : await findByPassword(email, password)
    const opened = seen !== null && await transactions.transaction(async tx => {
      // Locked before the token is redeemed, as the first to be confirmed deletes the tokens of all.
      const waiting = await store.lockRegistrations(tx, email)
      const chosen = waiting.find(({ id, passwordHash }) => id === seen.id && passwordHash === seen.passwordHash)
      if (chosen === undefined || !isWaiting(chosen) || await redeem(tx, hash) === null) return false
      const user = await users.insertVerified(tx, { email, name: chosen.name, passwordHash: chosen.passwordHash })
      await store.deleteRegistrations(tx, waiting.map(({ id }) => id))
      if (user === null) return false
      await audit.record(tx, device, { type: 'registered', userId: user.id }, { type: 'email_verified', userId: user.id })
      return true
    })
    if (!opened) throw new MailTokenInvalidError()
  }

  async function findByPassword (email: string, password: string): Promise<Registration | null> {
    for (const registration of await store.findRegistrations(email)) {
      if (isWaiting(registration) && await users.isPendingPassword(password, registration.passwordHash)) return registration
    }
    return null
  }

  return { register, confirm }
}
