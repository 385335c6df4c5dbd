import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import type { Revocation, Revoked, RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InsufficientAbilityError, InvalidCredentialsError, InvalidTokenError, NotFoundError } from '../shared/errors.js'
import type { Counters } from '../token-cache/counters.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { Credentials, Proven, UserService } from '../users/service.js'
import { createEnding, type Ending } from './ending.js'
import { createOpening, type Lifetimes, type Opened } from './opening.js'
import { createRefreshing } from './refreshing.js'
import type { Session, SessionStore } from './store.js'

export type { Ending, Session }

export interface LoginOptions { deviceName?: string | undefined, abilities?: string[] | undefined, refresh?: boolean | undefined }

/** How a caller's work is done: whether it ends tokens (by default) or changes what their entries say, and what has to be locked before the user's row. */
interface Manner { through?: 'revoke' | 'change', first?: ((tx: Tx) => Promise<void>) | undefined }

interface Parts {
  store: SessionStore
  tokens: TokenService
  users: UserService
  revocation: Revocation
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  clock: Clock
  counters: Pick<Counters, 'refreshes'>
  log: Pick<Log, 'info' | 'warn'>
  sessionLimit: number
  lifetimes: Lifetimes
}

/** Log in, refresh, list, end: a session's life. Whatever ends one goes through `revocation`. */
export type SessionService = ReturnType<typeof createSessionService>

export function createSessionService ({ store, tokens, users, revocation, audit, transactions, clock, counters, log, sessionLimit, lifetimes }: Parts) {
  const now = () => new Date(clock.now())
  const { open, renew, succeed, repeat } = createOpening({ store, tokens, clock, lifetimes })
  const { end, endAllOf, endAllOfMany, endPersonal } = createEnding({ store, tokens, audit, clock })
  const { refresh, logOutByRefresh } = createRefreshing({ store, tokens, users, revocation, audit, clock, counters, log, lifetimes, opening: { succeed, repeat }, ending: { end, endAllOf } })

  async function register (request: { email: string, password: string, name?: string | undefined } & LoginOptions, device: Device): Promise<Opened> {
    requireGrantable(request.abilities)
    const insertUser = await users.prepareRegistration(request)
    return await transactions.transaction(async tx => {
      const user = await insertUser(tx)
      await users.entered(tx, user, device)
      const opened = await open(tx, user, request, device)
      await audit.record(tx, device, { type: 'registered', userId: user.id, sessionId: opened.session.id })
      return opened
    })
  }

  async function logIn (request: { email: string, password: string } & LoginOptions, device: Device): Promise<Opened> {
    requireGrantable(request.abilities)
    const enter = (seen: Proven): Promise<Opened | null> => revocation.revoke(async tx => {
      // The password may have been changed, or the account disabled, while bcrypt was at work.
      const locked = await users.lockUnchanged(tx, seen)
      if (locked === null) return { named: null, outcome: null }
      const { id } = locked.user
      if (seen.renewedHash !== null) await users.setPassword(tx, id, seen.renewedHash)
      const replaced = sessionLimit === 0 ? [] : await store.beyond(tx, id, sessionLimit - 1, now())
      const named = await end(tx, id, replaced, { device, cause: 'session_limit' })
      const opened = await open(tx, locked.user, request, device)
      await users.entered(tx, locked.user, device)
      await audit.record(tx, device, { type: 'login_succeeded', userId: id, sessionId: opened.session.id })
      return { named: named.length > 0 ? named : null, outcome: opened }
    })
    const seen = await users.requireCredentials(request.email, request.password, device)
    // Where another login has only made the hash anew, the password still opens the account.
    const opened = await enter(seen) ?? await enter(await users.requireSamePassword(seen, request.password))
    if (opened === null) throw new InvalidCredentialsError()
    await users.succeeded(opened.user, device.address)
    return opened
  }

  /** Ends every other session and this one's tokens; the session goes on under new ones. */
  async function changePassword (caller: Principal, { currentPassword, newPassword, revokePersonalTokens }: { currentPassword: string, newPassword: string, revokePersonalTokens?: boolean | undefined }, device: Device): Promise<Opened> {
    const prove = () => users.requireCurrentPassword(caller.user.id, currentPassword, device)
    const change = (seen: Credentials): Promise<Opened | null> => asCaller(caller, async (tx, session) => {
      const locked = await users.lockUnchanged(tx, seen)
      if (locked === null) return { named: null, outcome: null }
      await users.setPassword(tx, caller.user.id, passwordHash)
      if (revokePersonalTokens === true) await endPersonal(tx, caller.user.id, { device, cause: 'password_changed' })
      const all = await store.others(tx, caller.user.id, null)
      await audit.record(tx, device, { type: 'password_changed', userId: caller.user.id, sessionId: session.id })
      await end(tx, caller.user.id, all.filter(id => id !== session.id), { device, cause: 'password_changed' })
      const named = await tokens.endSessions(tx, caller.user.id, [session.id])
      return { named, outcome: await renew(tx, session, locked.user, caller.token.abilities) }
    })
    const seen = await prove()
    const passwordHash = await users.hashNew(newPassword, seen.user)
    // A login under another cost makes the hash anew: then the same password is looked at once more.
    const opened = await change(seen) ?? await change(await prove())
    if (opened === null) throw new InvalidTokenError()
    return opened
  }

  const logOut = (caller: Principal, device: Device): Promise<void> =>
    asCaller(caller, async (tx, session) => ({ named: await end(tx, caller.user.id, [session.id], { device, cause: 'logout' }), outcome: undefined }))

  const endAll = (caller: Principal, device: Device): Promise<void> =>
    asCaller(caller, async tx => ({ named: await endAllOf(tx, caller.user.id, { device, cause: 'logout_all' }), outcome: undefined }))

  const endOthers = (caller: Principal, device: Device): Promise<void> =>
    asCaller(caller, async (tx, session) => ({ named: await end(tx, caller.user.id, await store.others(tx, caller.user.id, session.id), { device, cause: 'ended_by_user' }), outcome: undefined }))

  /** Throws NotFoundError for a session that isn't the caller's. */
  const endOne = (caller: Principal, sessionId: string, device: Device): Promise<void> =>
    asCaller(caller, async tx => {
      if (!await store.belongs(tx, caller.user.id, sessionId)) return { named: null, refusal: new NotFoundError() }
      return { named: await end(tx, caller.user.id, [sessionId], { device, cause: 'ended_by_user' }), outcome: undefined }
    })

  /** The live sessions of `userId`, newest first. */
  const list = (userId: string): Promise<Session[]> => store.list(userId, now())

  /** Deletes up to `limit` sessions of an account whose tokens are gone; returns how many. */
  const forget = (tx: Tx, userId: string, limit: number): Promise<number> => store.deleteOfUser(tx, userId, limit)

  /**
   * Runs `work` with the user's row taken, if the caller's token is live in the database too. A cached one may be a revoked one's
   * whose revoker died before it reached the cache: then it is named again, settled, and refused.
   */
  function asCaller<T> (caller: Principal, work: (tx: RevokingTx, session: Session, owner: Credentials) => Promise<Revoked<T>>, { through = 'revoke', first }: Manner = {}): Promise<T> {
    return revocation[through](async tx => {
      await first?.(tx)
      const owner = await users.lock(tx, caller.user.id)
      const session = await findLive(tx, caller, owner)
      if (owner === null || session === null) return { named: await tokens.endSessions(tx, caller.user.id, []), refusal: new InvalidTokenError() }
      return await work(tx, session, owner)
    })
  }

  /** The caller's session, if it and his token are live in the database, with the row of `owner` taken; else null. */
  async function findLive (tx: RevokingTx, caller: Principal, owner: Credentials | null): Promise<Session | null> {
    if (owner === null || owner.disabled || caller.session === null || !await tokens.isLive(tx, caller.token.id)) return null
    return await store.find(tx, caller.user.id, caller.session.id, now())
  }

  return { register, logIn, refresh, changePassword, logOut, logOutByRefresh, endAll, endOthers, endOne, endAllOf, endAllOfMany, endThese: end, endPersonal, asCaller, findLive, list, forget }
}

/** `introspect` is for services, and `services:create` alone grants it. */
function requireGrantable (abilities: string[] | undefined): void {
  if (abilities?.includes('introspect')) throw new InsufficientAbilityError('introspect')
}
