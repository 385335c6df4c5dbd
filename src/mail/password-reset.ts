import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { FactorCheck, FactorProof } from '../factors/check.js'
import type { Revocation } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import type { Device } from '../shared/device.js'
import { MailTokenInvalidError, SecondFactorInvalidError, secondFactorRequired } from '../shared/errors.js'
import { normaliseEmail } from '../users/email.js'
import type { UserService } from '../users/service.js'
import { languageOf } from './language.js'
import type { MailLimiter } from './mailer.js'
import type { Outbox } from './outbox.js'
import type { TokenRedemption } from './token-redemption.js'

export interface ResetRequest extends FactorProof { token: string, password: string, keepPersonalTokens?: boolean | undefined }

export interface PasswordReset {
  /** Mails a reset token to the owner of the address. Whether there is one is checked when the mail is sent: the reply never differs. */
  forgot (email: string, device: Device): Promise<void>
  /**
   * Sets the password and ends every session and personal token. `keepPersonalTokens` keeps those made after the address was verified and
   * before the reset was asked for: others may have been made by somebody else. The mail alone doesn't go round a second factor. Throws
   * MailTokenInvalidError, PasswordRejectedError; SecondFactorRequiredError and SecondFactorInvalidError leave the mail's token good.
   */
  reset (request: ResetRequest, device: Device): Promise<void>
}

interface ResetDependencies {
  outbox: Pick<Outbox, 'enqueue'>
  users: Pick<UserService,
    | 'findAccount'
    | 'find'
    | 'hashNew'
    | 'lock'
    | 'setPassword'
    | 'forgive'
    | 'setVerifiedEmail'
    | 'clearLoginLimit'
    | 'beginAttempt'>
  sessions: Pick<SessionService, 'endAllOfUser' | 'endPersonalTokens'>
  audit: Pick<Audit, 'record' | 'recordAttempt'>
  check: Pick<FactorCheck, 'fieldOf' | 'factorsOf' | 'accept'>
  revocation: Pick<Revocation, 'revoke'>
  transactions: Transactions
  limiter: Pick<MailLimiter, 'ask'>
}

export function createPasswordReset (
  { outbox, users, sessions, audit, check, revocation, transactions, limiter }: ResetDependencies, { requireToken, redeem }: TokenRedemption
): PasswordReset {
  async function forgot (email: string, device: Device): Promise<void> {
    const address = normaliseEmail(email)
    await limiter.ask(address, device.address)
    const found = await users.findAccount(address)
    await transactions.transaction(async tx => {
      await audit.recordAttempt(tx, device, found?.user.id ?? null, { type: 'password_reset_requested' })
      await outbox.enqueue(tx, { kind: 'reset_password', email: address, language: languageOf(device) })
    })
  }

  async function reset ({ token, password, keepPersonalTokens, ...proof }: ResetRequest, device: Device): Promise<void> {
    const { hash, row: { userId } } = await requireToken(token, 'reset')
    const owner = userId === null ? null : await users.find(userId)
    if (userId === null || owner === null) throw new MailTokenInvalidError()
    const isProved = check.fieldOf(proof) !== null
    if (owner.secondFactor && !isProved) throw secondFactorRequired(await check.factorsOf(userId))
    // Whoever has the mail may guess at codes only as often as at passwords.
    const attempt = owner.secondFactor ? await users.beginAttempt(owner.user, device, 'reset') : null
    const passwordHash = await users.hashNew(password, owner.user)
    const reason = { device, cause: 'password_reset' } as const
    const user = await revocation.revoke(async tx => {
      const account = await users.lock(tx, userId)
      if (account?.secondFactor === true) {
        if (!isProved) return { named: null, refusal: secondFactorRequired(await check.factorsOf(userId, tx)) }
        if (!await check.accept(tx, userId, proof, device)) return { named: null, refusal: new SecondFactorInvalidError() }
      }
      const redeemed = await redeem(tx, hash)
      if (account === null || account.disabled || redeemed?.email !== account.user.email) {
        return { named: null, refusal: new MailTokenInvalidError() }
      }
      await users.setPassword(tx, userId, passwordHash)
      await users.forgive(tx, redeemed.email)
      await audit.record(tx, device, { type: 'password_reset', userId })
      const verifiedAt = account.user.emailVerifiedAt
      const keep = keepPersonalTokens === true && verifiedAt !== null
        ? { from: new Date(verifiedAt), until: redeemed.createdAt }
        : undefined
      await sessions.endPersonalTokens(tx, userId, reason, keep)
      if (verifiedAt === null) {
        await users.setVerifiedEmail(tx, userId, redeemed.email)
        await audit.record(tx, device, { type: 'email_verified', userId })
      }
      return { named: await sessions.endAllOfUser(tx, userId, reason), outcome: account.user }
    }, { of: userId }).catch(async (error: unknown) => {
      if (error instanceof SecondFactorInvalidError) await attempt?.failed('wrong_second_factor')
      throw error
    })
    await users.clearLoginLimit(user, device.address)
  }

  return { forgot, reset }
}
