import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InvalidTokenError, wrongFactor } from '../shared/errors.js'
import type { UserService } from '../users/service.js'
import type { SealContext, Vault } from '../vault/vault.js'
import { hashRecoveryCode } from './recovery-codes.js'
import type { FactorStore } from './store.js'
import { totpStep } from './totp.js'

/** A second factor as the wire names it. */
export type FactorKind = 'totp' | 'recovery'

/** The answer of a second factor: a code of the app, or a recovery code. */
export interface FactorProof { totp?: string | undefined, recoveryCode?: string | undefined }

/** Checks second factors. Each code works once. */
export interface FactorCheck {
  /** Whether a proof is there at all; which field has it. */
  fieldOf (proof: FactorProof): 'totp' | 'recoveryCode' | null
  /** What the account can answer with, the strongest first; empty without a second factor. */
  factorsOf (userId: string, tx?: Tx): Promise<FactorKind[]>
  /** Uses the code up if it is right; false otherwise. `tx` holds the user's row. Counts no attempt: the caller does. */
  accept (tx: Tx, userId: string, proof: FactorProof, device: Device): Promise<boolean>
  /** The same for a caller who is signed in, counted as a login attempt. Throws WrongFactorError, 429 errors. */
  requireProof (userId: string, proof: FactorProof, device: Device): Promise<void>
}

/** A sealed secret opens for its user and this column alone. */
export const sealContext = (userId: string): SealContext => ({ userId, purpose: 'totp', column: 'totp_factors.secret' })

interface CheckDependencies {
  store: Pick<FactorStore, 'findTotp' | 'useStep' | 'countCodes' | 'takeCode'>
  vault: Pick<Vault, 'open'>
  users: Pick<UserService, 'find' | 'lock' | 'beginAttempt' | 'clearLoginLimit'>
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  clock: Clock
}

export function createFactorCheck ({ store, vault, users, audit, transactions, clock }: CheckDependencies): FactorCheck {
  const fieldOf = ({ totp, recoveryCode }: FactorProof) => totp !== undefined ? 'totp' : recoveryCode !== undefined ? 'recoveryCode' : null

  async function factorsOf (userId: string, tx?: Tx): Promise<FactorKind[]> {
    const totp = await store.findTotp(userId, tx)
    if (totp?.confirmedAt == null) return []
    return await store.countCodes(userId, tx) > 0 ? ['totp', 'recovery'] : ['totp']
  }

  async function accept (tx: Tx, userId: string, { totp, recoveryCode }: FactorProof, device: Device): Promise<boolean> {
    const row = await store.findTotp(userId, tx)
    if (row === null || row.confirmedAt === null) return false
    if (totp !== undefined) {
      const step = totpStep(vault.open(row.secret, sealContext(userId)), totp, clock.now())
      return step !== null && await store.useStep(tx, userId, step)
    }
    if (recoveryCode === undefined || !await store.takeCode(tx, userId, hashRecoveryCode(userId, recoveryCode))) return false
    await audit.record(tx, device, { type: 'recovery_code_used', userId })
    return true
  }

  async function requireProof (userId: string, proof: FactorProof, device: Device): Promise<void> {
    const account = await users.find(userId)
    if (account === null || account.disabled) throw new InvalidTokenError()
    const { user } = account
    const attempt = await users.beginAttempt(user, device)
    const right = await transactions.transaction(async tx =>
      await users.lock(tx, userId) !== null && await accept(tx, userId, proof, device))
    if (!right) {
      await attempt.failed('wrong_second_factor')
      throw wrongFactor(fieldOf(proof) ?? 'totp')
    }
    await attempt.succeeded()
    await users.clearLoginLimit(user, device.address)
  }

  return { fieldOf, factorsOf, accept, requireProof }
}
