import type { Audit } from '../audit/service.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InvalidTokenError, NotFoundError, TokenReusedError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { SessionEnder } from './ending.js'
import type { LiveCaller } from './live-caller.js'
import type { Lifetimes } from './opening.js'
import { isWithinGrace } from './refreshing.js'
import type { SessionStore } from './store.js'

/** Ends sessions for the people who own them. */
export interface Logout {
  /** Ends the caller's session. */
  logOut (caller: Principal, device: Device): Promise<void>
  /** Ends every session of the caller. */
  endAll (caller: Principal, device: Device): Promise<void>
  /** Ends every session of the caller but the current one. */
  endOthers (caller: Principal, device: Device): Promise<void>
  /** Throws NotFoundError for a session that isn't the caller's. */
  endOne (caller: Principal, sessionId: string, device: Device): Promise<void>
  /**
   * Ends the session of a refresh token, or every session of its user: for clients whose access token has expired. A consumed token ends
   * its session, and past the grace period that is recorded as a reuse. So does a token of a session that is over: its tokens are named
   * again. Throws InvalidTokenError for a token that a password change has replaced; with `everywhere`, also for one that has expired or
   * whose session is over, and TokenReusedError, having ended its session alone, for one that was consumed before the grace period.
   */
  logOutByRefresh (candidate: string, everywhere: boolean, device: Device): Promise<void>
}

interface LogoutDependencies {
  store: Pick<SessionStore, 'unendedExcept' | 'belongs' | 'find'>
  tokens: Pick<TokenService, 'findRefresh' | 'findRefreshLocked' | 'endSessions'>
  users: Pick<UserService, 'lock'>
  revocation: Pick<Revocation, 'revoke'>
  audit: Pick<Audit, 'record'>
  clock: Clock
  lifetimes: Pick<Lifetimes, 'refreshGraceSeconds'>
  ender: Pick<SessionEnder, 'endSessions' | 'endAllOfUser'>
  liveCaller: Pick<LiveCaller, 'withLiveCaller'>
}

export function createLogout (
  { store, tokens, users, revocation, audit, clock, lifetimes, ender, liveCaller }: LogoutDependencies
): Logout {
  const now = () => new Date(clock.now())
  const { endSessions, endAllOfUser } = ender
  const { withLiveCaller } = liveCaller

  const logOut = (caller: Principal, device: Device): Promise<void> => withLiveCaller(caller, async (tx, session) =>
    ({ named: await endSessions(tx, caller.user.id, [session.id], { device, cause: 'logout' }), outcome: undefined }))

  const endAll = (caller: Principal, device: Device): Promise<void> => withLiveCaller(caller, async tx =>
    ({ named: await endAllOfUser(tx, caller.user.id, { device, cause: 'logout_all' }), outcome: undefined }))

  const endOthers = (caller: Principal, device: Device): Promise<void> => withLiveCaller(caller, async (tx, session) => {
    const others = await store.unendedExcept(tx, caller.user.id, session.id)
    return { named: await endSessions(tx, caller.user.id, others, { device, cause: 'ended_by_user' }), outcome: undefined }
  })

  const endOne = (caller: Principal, sessionId: string, device: Device): Promise<void> => withLiveCaller(caller, async tx => {
    if (!await store.belongs(tx, caller.user.id, sessionId)) return { named: null, refusal: new NotFoundError() }
    return { named: await endSessions(tx, caller.user.id, [sessionId], { device, cause: 'ended_by_user' }), outcome: undefined }
  })

  async function logOutByRefresh (candidate: string, everywhere: boolean, device: Device): Promise<void> {
    const presented = await tokens.findRefresh(candidate)
    if (presented === null) throw new InvalidTokenError()
    const { plain, row: { userId, sessionId } } = presented
    await revocation.revoke(async tx => {
      await users.lock(tx, userId)
      const row = await tokens.findRefreshLocked(tx, plain)
      const over = await store.find(tx, userId, sessionId, now()) === null
      const replaced = !over && (row === null || row.revoked)
      const tooOld = everywhere && (over || row === null || row.expiresAt <= now())
      if (replaced || tooOld) return { named: await tokens.endSessions(tx, userId, []), refusal: new InvalidTokenError() }
      if (!over && row !== null && row.consumedAt !== null && !isWithinGrace(row.consumedAt, now(), lifetimes)) {
        await audit.record(tx, device, { type: 'refresh_token_reused', userId, sessionId, tokenId: row.id })
        const named = await endSessions(tx, userId, [sessionId], { device, cause: 'refresh_token_reused' })
        return everywhere ? { named, refusal: new TokenReusedError() } : { named, outcome: undefined }
      }
      const named = everywhere
        ? await endAllOfUser(tx, userId, { device, cause: 'logout_all' })
        : await endSessions(tx, userId, [sessionId], { device, cause: 'logout' })
      return { named, outcome: undefined }
    }, { of: userId })
  }

  return { logOut, endAll, endOthers, endOne, logOutByRefresh }
}
