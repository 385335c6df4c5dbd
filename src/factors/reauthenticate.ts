import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InvalidTokenError, ReauthenticateError, reauthenticateByFactor } from '../shared/errors.js'
import { type Principal, usedFactor } from '../tokens/principal.js'
import type { UserService } from '../users/service.js'
import type { FactorCheck, FactorProof } from './check.js'

/** How long after a login nothing is asked for again. Refreshing a session doesn't extend it. */
export const recentMs = 15 * 60_000

/** What a request brings along to prove that its caller is the owner. */
export interface OwnerProof extends FactorProof { password?: string | undefined }

/**
 * Step-up by the strongest factor that the account has. Without a second factor: passes within 15 minutes of the caller's login, or with
 * their password. With one: within 15 minutes of a login that used it, or with a code; the password alone doesn't pass. A stolen token
 * alone doesn't either. What is sent is checked, however recent the login, and counts as a login attempt. Throws ReauthenticateError,
 * WrongPasswordError, WrongFactorError, 429 errors.
 */
export type Reauthenticate = (caller: Principal, proof: OwnerProof, device: Device) => Promise<void>

interface ReauthenticateDependencies {
  users: Pick<UserService, 'find' | 'requireCurrentPassword'>
  check: Pick<FactorCheck, 'fieldOf' | 'factorsOf' | 'requireProof'>
  clock: Clock
}

export function createReauthenticate ({ users, check, clock }: ReauthenticateDependencies): Reauthenticate {
  const isRecent = ({ session }: Principal) => session !== null && clock.now() - Date.parse(session.createdAt) < recentMs

  return async (caller, proof, device) => {
    const { id } = caller.user
    if (proof.password !== undefined) await users.requireCurrentPassword(id, proof.password, device)
    const account = await users.find(id)
    if (account === null) throw new InvalidTokenError()
    if (!account.secondFactor) {
      if (proof.password === undefined && !isRecent(caller)) throw new ReauthenticateError()
      return
    }
    if (check.fieldOf(proof) !== null) await check.requireProof(id, proof, device)
    else if (!isRecent(caller) || !usedFactor(caller.amr)) throw reauthenticateByFactor(await check.factorsOf(id))
  }
}
