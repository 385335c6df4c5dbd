import type { Challenges } from '../factors/challenges.js'
import type { FactorCheck, FactorProof } from '../factors/check.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Device } from '../shared/device.js'
import { SecondFactorInvalidError } from '../shared/errors.js'
import type { UserService } from '../users/service.js'
import { type OpenReplacing, requireGrantable } from './login.js'
import type { IssuedTokens, LoginOptions } from './opening.js'

export interface SecondStepRequest extends LoginOptions, FactorProof { challenge: string }

/**
 * Opens the session of a login whose password was right, as that login would have done without a second factor. A wrong code counts as a
 * failed login and leaves the challenge good for another try. Throws SecondFactorInvalidError, 429 errors.
 */
export type FinishLogin = (request: SecondStepRequest, device: Device) => Promise<IssuedTokens>

interface SecondStepDependencies {
  challenges: Pick<Challenges, 'find' | 'take'>
  check: Pick<FactorCheck, 'accept'>
  users: Pick<UserService, 'find' | 'lock' | 'beginAttempt' | 'clearLoginLimit'>
  revocation: Pick<Revocation, 'revoke'>
  openReplacing: OpenReplacing
}

export function createFinishLogin ({ challenges, check, users, revocation, openReplacing }: SecondStepDependencies): FinishLogin {
  const finishLogin: FinishLogin = async ({ challenge, totp, recoveryCode, ...options }, device) => {
    requireGrantable(options.abilities)
    const found = await challenges.find(challenge, device)
    const account = found === null ? null : await users.find(found.userId)
    if (found === null || account === null) throw new SecondFactorInvalidError()
    const attempt = await users.beginAttempt(account.user, device)
    let wrong = false
    const work = revocation.revoke<IssuedTokens>(async tx => {
      const locked = await users.lock(tx, found.userId)
      if (locked === null || locked.disabled) return { named: null, refusal: new SecondFactorInvalidError() }
      if (!await check.accept(tx, found.userId, { totp, recoveryCode }, device)) {
        wrong = true
        return { named: null, refusal: new SecondFactorInvalidError() }
      }
      // Whatever makes a challenge void holds the row too. The code isn't used up for nothing: this rolls everything back.
      if (!await challenges.take(tx, found.hash)) throw new SecondFactorInvalidError()
      const { issued, named } = await openReplacing(tx, locked.user, options, device, ['pwd', 'otp'])
      return { named, outcome: issued }
    }, { of: found.userId })
    const issued = await work.catch(async (error: unknown) => {
      if (wrong) await attempt.failed('wrong_second_factor')
      else if (error instanceof SecondFactorInvalidError) await attempt.withdrawn()
      throw error
    })
    await users.clearLoginLimit(issued.user, device.address)
    return issued
  }

  return finishLogin
}
