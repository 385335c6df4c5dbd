import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Device } from '../shared/device.js'
import { MailTokenInvalidError } from '../shared/errors.js'
import type { TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import type { UserService } from '../users/service.js'
import type { User } from '../users/user.js'
import { languageOf } from './language.js'
import type { MailLimiter } from './mailer.js'
import type { Outbox } from './outbox.js'
import type { TokenRedemption } from './token-redemption.js'

/** Proves that an address belongs to the owner of an account. */
export interface AddressProof {
  /** Verifies the account's address, or changes it to the requested one. Throws MailTokenInvalidError. */
  prove (userId: string, hash: TokenHash, device: Device): Promise<void>
  /** Mails the caller another token for their own address, unless it is verified. */
  sendVerification (user: User, device: Device): Promise<void>
  /**
   * In a transaction that holds the user's row: mails a token to the new address, or a notice that it already has an account. The account
   * keeps its address until the new one is proved. An earlier request is cancelled. `email_change_requested` notifies the old address.
   */
  requestEmailChange (tx: Tx, user: User, email: string, device: Device): Promise<void>
}

interface ProofDependencies {
  outbox: Pick<Outbox, 'enqueue' | 'cancel'>
  users: Pick<UserService, 'lock' | 'setVerifiedEmail'>
  tokens: Pick<TokenService, 'namedOfUser'>
  audit: Pick<Audit, 'record'>
  revocation: Pick<Revocation, 'change'>
  transactions: Transactions
  limiter: Pick<MailLimiter, 'ask'>
}

export function createAddressProof (
  { outbox, users, tokens, audit, revocation, transactions, limiter }: ProofDependencies, { redeem }: Pick<TokenRedemption, 'redeem'>
): AddressProof {
  async function prove (userId: string, hash: TokenHash, device: Device): Promise<void> {
    const invalid = () => ({ named: null, refusal: new MailTokenInvalidError() })
    const proved = revocation.change(async tx => {
      const account = await users.lock(tx, userId)
      const redeemed = await redeem(tx, hash)
      if (account === null || account.disabled || redeemed === null) return invalid()
      const { email, emailVerifiedAt } = account.user
      const isChange = redeemed.kind === 'email_change'
      if (!isChange && redeemed.email !== email) return invalid()
      if (redeemed.email === email && emailVerifiedAt !== null) return { named: null, outcome: undefined }
      if (await users.setVerifiedEmail(tx, userId, redeemed.email) === null) return invalid()
      const [event] = await audit.record(
        tx,
        device,
        isChange ? { type: 'email_changed', userId, previousEmail: email } : { type: 'email_verified', userId }
      )
      // To the old address: its owner may not be the person who changed it.
      if (isChange && event !== undefined) await outbox.enqueue(tx, { kind: 'email_changed', email, userId, eventId: event.id })
      return { named: await tokens.namedOfUser(tx, userId), outcome: undefined }
    }, { of: userId })
    await proved.catch((error: unknown) => { throw isTaken(error) ? new MailTokenInvalidError() : error })
  }

  async function sendVerification (user: User, device: Device): Promise<void> {
    if (user.emailVerifiedAt !== null) return
    await limiter.ask(user.email, device.address)
    const mail = { kind: 'verify_email', email: user.email, userId: user.id, language: languageOf(device) } as const
    await transactions.transaction(tx => outbox.enqueue(tx, mail))
  }

  async function requestEmailChange (tx: Tx, user: User, email: string, device: Device): Promise<void> {
    await limiter.ask(user.email, device.address)
    await outbox.cancel(tx, [user.id], ['email_change'])
    await outbox.enqueue(tx, { kind: 'confirm_email_change', email, userId: user.id, language: languageOf(device) })
  }

  return { prove, sendVerification, requestEmailChange }
}

/** Two accounts that take one address at the same moment. */
function isTaken (error: unknown): boolean {
  return error instanceof Error && 'constraint' in error && error.constraint === 'users_email_unique'
}
