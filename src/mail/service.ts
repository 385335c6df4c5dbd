import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { FactorCheck } from '../factors/check.js'
import type { Revocation } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import { type AddressProof, createAddressProof } from './address-proof.js'
import type { MailLimiter } from './mailer.js'
import type { Outbox } from './outbox.js'
import { createPasswordReset, type PasswordReset } from './password-reset.js'
import { createRegistrations, type Registrations } from './registration.js'
import type { MailStore } from './store.js'
import { createTokenRedemption } from './token-redemption.js'

/** What access to a mailbox proves: who may reset a password, whose an address is, and that a registration is meant. */
export interface MailService
  extends PasswordReset, Pick<AddressProof, 'sendVerification' | 'requestEmailChange'>, Pick<Registrations, 'register'> {
  /** Whether registrations have to be confirmed by mail. */
  readonly confirms: boolean
  /** Mails the owner, once `tx` is committed, that their account is being deleted. Call it while the account has its address. */
  notifyDeleted (tx: Tx, userId: string): Promise<void>
  /**
   * Verifies an address, changes it, or opens the registered account, whichever the mail was about; the last needs the password that was
   * chosen. Throws MailTokenInvalidError.
   */
  verify (request: { token: string, password?: string | undefined }, device: Device): Promise<void>
}

interface MailDependencies {
  store: MailStore
  outbox: Pick<Outbox, 'enqueue' | 'cancel'>
  users: UserService
  sessions: Pick<SessionService, 'endAllOfUser' | 'endPersonalTokens'>
  tokens: Pick<TokenService, 'namedOfUser'>
  audit: Pick<Audit, 'record' | 'recordAttempt'>
  check: Pick<FactorCheck, 'fieldOf' | 'factorsOf' | 'accept'>
  revocation: Revocation
  transactions: Transactions
  limiter: Pick<MailLimiter, 'ask'>
  /** REGISTRATION=confirm */
  confirms: boolean
  clock: Clock
}

export function createMailService (dependencies: MailDependencies): MailService {
  const redemption = createTokenRedemption(dependencies.store, dependencies.clock)
  const { forgot, reset } = createPasswordReset(dependencies, redemption)
  const { prove, sendVerification, requestEmailChange } = createAddressProof(dependencies, redemption)
  const { register, confirm } = createRegistrations(dependencies, redemption)

  async function verify ({ token, password }: { token: string, password?: string | undefined }, device: Device): Promise<void> {
    const found = await redemption.requireToken(token, 'verify')
    if (found.row.userId !== null) await prove(found.row.userId, found.hash, device)
    else await confirm(found, password, device)
  }

  async function notifyDeleted (tx: Tx, userId: string): Promise<void> {
    const recipient = await dependencies.store.findRecipient(tx, userId)
    if (recipient === null) return
    // Without the account's id: the mail would go with its row.
    await dependencies.outbox.enqueue(tx, { kind: 'account_deleted', email: recipient.email, language: recipient.language })
  }

  return { confirms: dependencies.confirms, notifyDeleted, forgot, reset, verify, register, sendVerification, requestEmailChange }
}
