import type { Audit } from '../audit/service.js'
import type { Device } from '../shared/device.js'
import { InvalidTokenError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { Credentials, UserService } from '../users/service.js'
import type { SessionEnder } from './ending.js'
import type { LiveCaller } from './live-caller.js'
import type { IssuedTokens, SessionOpener } from './opening.js'
import type { SessionStore } from './store.js'

export interface PasswordChange { currentPassword: string, newPassword: string, revokePersonalTokens?: boolean | undefined }

interface PasswordChangeDependencies {
  store: Pick<SessionStore, 'unendedExcept'>
  tokens: Pick<TokenService, 'replaceTokens'>
  users: Pick<UserService, 'requireCurrentPassword' | 'hashNew' | 'lockUnchanged' | 'setPassword'>
  audit: Pick<Audit, 'record'>
  opener: Pick<SessionOpener, 'renew'>
  ender: Pick<SessionEnder, 'endSessions' | 'endPersonalTokens'>
  liveCaller: Pick<LiveCaller, 'withLiveCaller'>
}

/**
 * Changes the caller's password: every other session ends, and this one goes on under new tokens. Throws WrongPasswordError,
 * PasswordRejectedError.
 */
export function createPasswordChange ({ store, tokens, users, audit, opener, ender, liveCaller }: PasswordChangeDependencies) {
  return async (caller: Principal, request: PasswordChange, device: Device): Promise<IssuedTokens> => {
    const { currentPassword, newPassword, revokePersonalTokens } = request
    const { id } = caller.user
    const reason = { device, cause: 'password_changed' } as const
    const prove = () => users.requireCurrentPassword(id, currentPassword, device)
    const change = (seen: Credentials): Promise<IssuedTokens | null> => liveCaller.withLiveCaller(caller, async (tx, session) => {
      const locked = await users.lockUnchanged(tx, seen)
      if (locked === null) return { named: null, outcome: null }
      await users.setPassword(tx, id, passwordHash)
      if (revokePersonalTokens === true) await ender.endPersonalTokens(tx, id, reason)
      const others = await store.unendedExcept(tx, id, session.id)
      await audit.record(tx, device, { type: 'password_changed', userId: id, sessionId: session.id })
      await ender.endSessions(tx, id, others, reason)
      const named = await tokens.replaceTokens(tx, id, session.id)
      const issued = await opener.renew(tx, session, locked.user, caller.token.abilities)
      return { named, outcome: { ...issued, endedSessions: others.length } }
    })
    const seen = await prove()
    const passwordHash = await users.hashNew(newPassword, seen.user, 'newPassword')
    // A login may have rehashed the password meanwhile: check it once more.
    const issued = await change(seen) ?? await change(await prove())
    if (issued === null) throw new InvalidTokenError()
    return issued
  }
}
