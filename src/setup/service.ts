import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import { type RegistrationRequest, requireGrantable } from '../sessions/login.js'
import type { IssuedTokens } from '../sessions/opening.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { SetupTokenInvalidError } from '../shared/errors.js'
import type { UserService } from '../users/service.js'
import type { SetupStore } from './store.js'
import { mintSetupToken, parseSetupToken, type SetupToken } from './token.js'

/** How long a link is good for. */
export const setupMinutes = 30

/** The first administrator, where there is none: whoever has the token that the start of a server has printed may make themselves one. */
export interface Setup {
  /** The token of a new link, which makes every earlier one void; null where there is an administrator. */
  invite (): Promise<SetupToken | null>
  /**
   * Makes the first administrator and opens their first session. Throws SetupTokenInvalidError, also once there is any administrator;
   * EmailTakenError and PasswordRejectedError leave the token good.
   */
  complete (request: RegistrationRequest & { token: string }, device: Device): Promise<IssuedTokens>
}

interface SetupDependencies {
  store: SetupStore
  users: Pick<UserService, 'prepareUser' | 'lockAdmins' | 'hasAdmin'>
  sessions: Pick<SessionService, 'openFirst'>
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  clock: Clock
}

export function createSetup ({ store, users, sessions, audit, transactions, clock }: SetupDependencies): Setup {
  return {
    invite: () => transactions.transaction(async tx => {
      await users.lockAdmins(tx)
      if (await users.hasAdmin(tx)) {
        await store.clear(tx)
        return null
      }
      const token = mintSetupToken()
      const createdAt = new Date(clock.now())
      await store.replace(tx, { hash: token.hash(), createdAt, expiresAt: new Date(createdAt.getTime() + setupMinutes * 60_000) })
      return token
    }),

    async complete ({ token, ...request }, device) {
      requireGrantable(request.abilities)
      const hash = parseSetupToken(token)?.hash()
      // Before the password is hashed, which is work that nobody may ask for without a token.
      if (hash === undefined || !await store.isGood(hash, new Date(clock.now()))) throw new SetupTokenInvalidError()
      const insertUser = await users.prepareUser({ ...request, role: 'admin' })
      return await transactions.transaction(async tx => {
        await users.lockAdmins(tx)
        if (await users.hasAdmin(tx) || !await store.take(tx, hash, new Date(clock.now()))) throw new SetupTokenInvalidError()
        const user = await insertUser(tx)
        const issued = await sessions.openFirst(tx, user, request, device)
        await audit.record(tx, device, { type: 'first_admin_created', userId: user.id, sessionId: issued.session.id, role: 'admin' })
        return issued
      })
    }
  }
}
