import type { Audit } from '../audit/service.js'
import type { RevokingTx } from '../database/transaction.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { FactorExistsError, NotFoundError, wrongFactor } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { Vault } from '../vault/vault.js'
import { sealContext } from './check.js'
import type { OwnerProof, Reauthenticate } from './reauthenticate.js'
import { hashRecoveryCode, newRecoveryCodes } from './recovery-codes.js'
import type { FactorStore } from './store.js'
import { describeTotp, newTotpSecret, totpStep } from './totp.js'

/** The second factors of an account; `totp` null where no app is confirmed. */
export interface Factors { totp: { confirmedAt: Date } | null, recoveryCodesLeft: number }

/** What users do to their own second factors. Adding and removing need step-up: see Reauthenticate. */
export interface FactorService {
  list (caller: Principal): Promise<Factors>
  /** A new secret for an authenticator app; it counts once `confirmTotp` has seen a code. Throws FactorExistsError, NotSupportedError. */
  beginTotp (caller: Principal, proof: OwnerProof, device: Device): Promise<{ secret: string, uri: string }>
  /**
   * Makes the app a second factor, which logins ask for from then on, and the caller's session one that has used it. Returns the recovery
   * codes, which nobody sees again. Throws NotFoundError, FactorExistsError, WrongFactorError.
   */
  confirmTotp (caller: Principal, code: string, device: Device): Promise<string[]>
  /**
   * Removes the app and the recovery codes, and ends every session that they opened; whether the caller's own is among them. Throws
   * NotFoundError.
   */
  removeTotp (caller: Principal, proof: OwnerProof, device: Device): Promise<{ endedOwn: boolean }>
  /** New recovery codes; the old ones are void. Throws NotFoundError without a second factor. */
  renewRecoveryCodes (caller: Principal, proof: OwnerProof, device: Device): Promise<string[]>
  /** Removes every factor of the user whose row `tx` holds, for a caller who ends the sessions and names the tokens. */
  removeAll (tx: RevokingTx, userId: string): Promise<void>
}

interface FactorDependencies {
  store: FactorStore
  vault: Vault
  users: Pick<UserService, 'beginAttempt' | 'clearLoginLimit' | 'setSecondFactor'>
  sessions: Pick<SessionService, 'withLiveCaller' | 'unendedOpenedBy' | 'setMethods' | 'endSessions'>
  tokens: Pick<TokenService, 'namedOfUser'>
  audit: Pick<Audit, 'record'>
  reauthenticate: Reauthenticate
  clock: Clock
  /** APP_NAME: how authenticator apps call the account's service. */
  issuer: string
}

export function createFactorService (dependencies: FactorDependencies): FactorService {
  const { store, vault, users, sessions, tokens, audit, reauthenticate, clock, issuer } = dependencies
  const now = () => new Date(clock.now())

  async function putCodes (tx: RevokingTx, userId: string): Promise<string[]> {
    const codes = newRecoveryCodes()
    await store.replaceCodes(tx, userId, codes.map(code => hashRecoveryCode(userId, code)), now())
    return codes
  }

  async function removeAll (tx: RevokingTx, userId: string): Promise<void> {
    await store.deleteTotp(tx, userId)
    await store.replaceCodes(tx, userId, [], now())
    await users.setSecondFactor(tx, userId, false)
  }

  return {
    removeAll,

    async list ({ user }) {
      const totp = await store.findTotp(user.id)
      if (totp === null || totp.confirmedAt === null) return { totp: null, recoveryCodesLeft: 0 }
      return { totp: { confirmedAt: totp.confirmedAt }, recoveryCodesLeft: await store.countCodes(user.id) }
    },

    async beginTotp (caller, proof, device) {
      await reauthenticate(caller, proof, device)
      const secret = newTotpSecret()
      const sealed = vault.seal(secret, sealContext(caller.user.id))
      return await sessions.withLiveCaller(caller, async (tx, _session, { user, secondFactor }) => {
        if (secondFactor) return { named: null, refusal: new FactorExistsError() }
        await store.putTotp(tx, user.id, sealed, now())
        return { named: null, outcome: describeTotp(secret, { issuer, label: user.email }) }
      }, { through: 'change' })
    },

    async confirmTotp (caller, code, device) {
      const attempt = await users.beginAttempt(caller.user, device)
      let wrong = false
      const confirmed = sessions.withLiveCaller(caller, async (tx, session, { user }) => {
        const row = await store.findTotp(user.id, tx)
        if (row === null) return { named: null, refusal: new NotFoundError() }
        if (row.confirmedAt !== null) return { named: null, refusal: new FactorExistsError() }
        const step = totpStep(vault.open(row.secret, sealContext(user.id)), code, clock.now())
        if (step === null) {
          wrong = true
          return { named: null, refusal: wrongFactor('code') }
        }
        await store.confirmTotp(tx, user.id, step, now())
        const codes = await putCodes(tx, user.id)
        await users.setSecondFactor(tx, user.id, true)
        await sessions.setMethods(tx, session.id, [...session.amr, 'otp'])
        await audit.record(tx, device, { type: 'totp_added', userId: user.id, sessionId: session.id })
        return { named: await tokens.namedOfUser(tx, user.id), outcome: codes }
      }, { through: 'change' })
      const codes = await confirmed.catch(async (error: unknown) => {
        await (wrong ? attempt.failed('wrong_second_factor') : attempt.withdrawn())
        throw error
      })
      await attempt.succeeded()
      await users.clearLoginLimit(caller.user, device.address)
      return codes
    },

    async removeTotp (caller, proof, device) {
      await reauthenticate(caller, proof, device)
      return await sessions.withLiveCaller(caller, async (tx, session, { user, secondFactor }) => {
        if (!secondFactor) return { named: null, refusal: new NotFoundError() }
        await removeAll(tx, user.id)
        const opened = await sessions.unendedOpenedBy(tx, user.id, 'otp')
        await audit.record(tx, device, { type: 'totp_removed', userId: user.id, sessionId: session.id })
        await sessions.endSessions(tx, user.id, opened, { device, cause: 'factor_removed' })
        return { named: await tokens.namedOfUser(tx, user.id), outcome: { endedOwn: opened.includes(session.id) } }
      }, { through: 'change' })
    },

    async renewRecoveryCodes (caller, proof, device) {
      await reauthenticate(caller, proof, device)
      return await sessions.withLiveCaller(caller, async (tx, session, { user, secondFactor }) => {
        if (!secondFactor) return { named: null, refusal: new NotFoundError() }
        const codes = await putCodes(tx, user.id)
        await audit.record(tx, device, { type: 'recovery_codes_created', userId: user.id, sessionId: session.id })
        return { named: null, outcome: codes }
      }, { through: 'change' })
    }
  }
}
