import type { Clock } from '../clock.js'
import { InsufficientAbilityError, InvalidCredentialsError, InvalidTokenError, NotFoundError } from '../errors.js'
import type { Principal, User } from '../tokens/principal.js'
import type { Revocation, Revoked, RevokingTx } from '../tokens/revocation.js'
import type { TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'
import type { Transactions, Tx } from '../transaction.js'
import type { UserService } from '../users/service.js'
import type { Session, SessionStore } from './store.js'

/** Where a request comes from, as far as one can know. */
export interface Device { address: string, userAgent: string | null }

export interface LoginOptions { deviceName?: string | undefined, abilities?: string[] | undefined }

/** A session just opened or renewed, with its token: the only place where the plaintext leaves. */
export interface Opened { plain: PlainToken, expiresInSeconds: number, session: Session, user: User }

interface Parts {
  store: SessionStore
  tokens: TokenService
  users: UserService
  revocation: Revocation
  transactions: Transactions
  clock: Clock
  sessionLimit: number
  tokenTtlSeconds: number
  sessionTtlSeconds: number
}

/** Log in, list, end: a session's life. Whatever ends one goes through `revocation`. */
export type SessionService = ReturnType<typeof createSessionService>

export function createSessionService ({ store, tokens, users, revocation, transactions, clock, sessionLimit, tokenTtlSeconds, sessionTtlSeconds }: Parts) {
  const now = () => new Date(clock.now())

  async function register (request: { email: string, password: string, name?: string | undefined } & LoginOptions, device: Device): Promise<Opened> {
    requireGrantable(request.abilities)
    const insertUser = await users.prepareRegistration(request)
    const opened = await transactions.transaction(async tx => open(tx, await insertUser(tx), request, device))
    return opened.announced()
  }

  async function logIn (request: { email: string, password: string } & LoginOptions, device: Device): Promise<Opened> {
    requireGrantable(request.abilities)
    const seen = await users.requireCredentials(request.email, request.password, device.address)
    const opened = await revocation.revoke(async tx => {
      // The password may have been changed, or the account disabled, while bcrypt was at work.
      const locked = await users.lockUnchanged(tx, seen)
      if (locked === null) return { named: null, refusal: new InvalidCredentialsError() }
      const { id } = locked.user
      const replaced = sessionLimit === 0 ? [] : await store.beyond(tx, id, sessionLimit - 1, now())
      const named = await end(tx, id, replaced)
      return { named: named.length > 0 ? named : null, outcome: await open(tx, locked.user, request, device) }
    })
    await users.succeeded(opened.user, device.address)
    return opened.announced()
  }

  /** Ends every other session and this one's token; the session goes on under a new one. */
  async function changePassword (caller: Principal, { currentPassword, newPassword }: { currentPassword: string, newPassword: string }, device: Device): Promise<Opened> {
    const seen = await users.requireCurrentPassword(caller.user.id, currentPassword, device.address)
    const passwordHash = await users.hashNew(newPassword)
    const opened = await asCaller(caller, async (tx, session) => {
      const locked = await users.lockUnchanged(tx, seen)
      if (locked === null) return { named: await end(tx, caller.user.id, []), refusal: new InvalidTokenError() }
      await users.setPassword(tx, caller.user.id, passwordHash)
      await store.end(tx, await store.others(tx, caller.user.id, session.id, now()), now())
      const named = await tokens.endSessions(tx, caller.user.id, await store.others(tx, caller.user.id, null, now()))
      return { named, outcome: await renew(tx, session, locked.user, caller.token.abilities) }
    })
    await users.succeeded(opened.user, device.address)
    return opened.announced()
  }

  const logOut = (caller: Principal): Promise<void> =>
    asCaller(caller, async (tx, session) => ({ named: await end(tx, caller.user.id, [session.id]), outcome: undefined }))

  const endAll = (caller: Principal): Promise<void> =>
    asCaller(caller, async tx => ({ named: await end(tx, caller.user.id, await store.others(tx, caller.user.id, null, now())), outcome: undefined }))

  const endOthers = (caller: Principal): Promise<void> =>
    asCaller(caller, async (tx, session) => ({ named: await end(tx, caller.user.id, await store.others(tx, caller.user.id, session.id, now())), outcome: undefined }))

  /** Throws NotFoundError for a session that isn't the caller's. */
  const endOne = (caller: Principal, sessionId: string): Promise<void> =>
    asCaller(caller, async tx => {
      if (!await store.belongs(tx, caller.user.id, sessionId)) return { named: null, refusal: new NotFoundError() }
      return { named: await end(tx, caller.user.id, [sessionId]), outcome: undefined }
    })

  /** The caller's live sessions, newest first. */
  const list = (caller: Principal): Promise<Session[]> => store.list(caller.user.id, now())

  /**
   * Runs `work` with the user's row taken, if the caller's token is live in the database too. A cached one may be a revoked one's
   * whose revoker died before it reached the cache: then it is named again, settled, and refused.
   */
  function asCaller<T> (caller: Principal, work: (tx: RevokingTx, session: Session) => Promise<Revoked<T>>): Promise<T> {
    return revocation.revoke(async tx => {
      await users.lock(tx, caller.user.id)
      const session = caller.session === null ? null : await store.find(tx, caller.user.id, caller.session.id, now())
      if (session === null || !await tokens.isLive(tx, caller.token.id)) {
        return { named: await end(tx, caller.user.id, []), refusal: new InvalidTokenError() }
      }
      return await work(tx, session)
    })
  }

  async function end (tx: RevokingTx, userId: string, sessionIds: string[]) {
    await store.end(tx, sessionIds, now())
    return await tokens.endSessions(tx, userId, sessionIds)
  }

  async function open (tx: Tx, user: User, { deviceName, abilities }: LoginOptions, device: Device) {
    const createdAt = now()
    const expiresAt = new Date(createdAt.getTime() + Math.min(tokenTtlSeconds, sessionTtlSeconds) * 1000)
    const session = await store.insert(tx, { userId: user.id, deviceName: deviceName ?? null, userAgent: device.userAgent, ip: device.address, createdAt, expiresAt })
    return await renew(tx, session, user, abilities ?? ['*'])
  }

  /** A new access token for `session`; `announced` belongs behind the COMMIT. */
  async function renew (tx: Tx, session: Session, user: User, abilities: string[]) {
    const createdAt = now()
    const expiresAt = new Date(Math.min(createdAt.getTime() + tokenTtlSeconds * 1000, session.expiresAt.getTime()))
    const { id, plain, announce } = await tokens.issue(tx, { kind: 'access', userId: user.id, sessionId: session.id, abilities, createdAt, expiresAt })
    return {
      user,
      announced (): Opened {
        announce({
          expiresAtMs: expiresAt.getTime(),
          token: { id, kind: 'access', abilities, expiresAt: expiresAt.toISOString() },
          session: { id: session.id, deviceName: session.deviceName, createdAt: session.createdAt.toISOString(), expiresAt: session.expiresAt.toISOString() },
          user
        })
        return { plain, expiresInSeconds: Math.round((expiresAt.getTime() - createdAt.getTime()) / 1000), session, user }
      }
    }
  }

  return { register, logIn, changePassword, logOut, endAll, endOthers, endOne, list }
}

/** `introspect` is for services, and `services:create` alone grants it. */
function requireGrantable (abilities: string[] | undefined): void {
  if (abilities?.includes('introspect')) throw new InsufficientAbilityError('introspect')
}
