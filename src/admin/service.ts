import type { EventCause } from '../audit/event.js'
import type { Audit } from '../audit/service.js'
import type { Tx } from '../database/transaction.js'
import type { Revocation, Revoked, RevokingTx } from '../revocation/revocation.js'
import type { Settle } from '../revocation/settle.js'
import type { SessionService } from '../sessions/service.js'
import type { Device } from '../shared/device.js'
import { CursorRejectedError, ForbiddenError, InvalidTokenError, NotFoundError } from '../shared/errors.js'
import { nilUuid } from '../shared/ids.js'
import { cursorOf, positionOf } from '../shared/pagination.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { AccountService } from '../users/account.js'
import { normaliseEmail } from '../users/email.js'
import type { Reauthenticate } from '../users/reauthenticate.js'
import type { Credentials, UserService } from '../users/service.js'
import type { User } from '../users/user.js'
import type { AdminStore, ListedUser } from './store.js'

export type { ListedUser }

/** Who acts: an administrator at his device, or (both null) the operator by a command. */
export type Actor = { caller: Principal, device: Device } | { caller: null, device: null }

/** The operator by a command: he has the database, so nobody asks who he is. */
export const operator: Actor = { caller: null, device: null }

export interface NewAccount { email: string, password?: string | undefined, name?: string | undefined, role?: User['role'] | undefined }

/** What `revokeEveryone` has ended. */
export interface Ended { users: number, sessions: number, personalTokens: number, services: number }

interface Parts {
  store: AdminStore
  users: Pick<UserService, 'lockAdmins' | 'lockAll' | 'lockNext' | 'prepareUser' | 'findByEmail' | 'requireOtherAdmin' | 'setRole' | 'setDisabled'>
  sessions: Pick<SessionService, 'findLiveSession' | 'endAllOfUser' | 'endAllOfUsers' | 'endPersonalTokens'>
  tokens: Pick<TokenService, 'namedOfUser' | 'revokeServices'>
  revocation: Pick<Revocation, 'change' | 'revokeMany'>
  settle: Pick<Settle, 'voidAll'>
  audit: Pick<Audit, 'record'>
  accounts: Pick<AccountService, 'markDeleted' | 'erase'>
  reauthenticate: Reauthenticate
  /** Forgets failed logins to the account of `email`. */
  forgive (tx: Tx, email: string): Promise<void>
}

const usersPerBatch = 200

/** What administrators and operators do to accounts. Each effect holds on every instance when its promise resolves. */
export type AdminService = ReturnType<typeof createAdminService>

export function createAdminService ({ store, users, sessions, tokens, revocation, settle, audit, accounts, reauthenticate, forgive }: Parts) {
  /** Throws EmailTakenError and PasswordRejectedError; for an administrator, ReauthenticateError. Without a password the account is opened by resetting it. */
  async function create (actor: Actor, account: NewAccount, currentPassword?: string): Promise<User> {
    if (account.role === 'admin') await requireRecent(actor, currentPassword)
    const insert = await users.prepareUser(account)
    return await authorised(actor, [], async tx => {
      const user = await insert(tx)
      await record(tx, actor, 'user_created', user.id)
      return { named: null, outcome: user }
    })
  }

  /** Throws NotFoundError, ReauthenticateError; LastAdminError where nobody would be left to administer. */
  async function setRole (actor: Actor, userId: string, role: User['role'], currentPassword?: string): Promise<void> {
    await requireRecent(actor, currentPassword)
    await upon(actor, userId, async (tx, target) => {
      if (role !== 'admin') await users.requireOtherAdmin(tx, target)
      if (target.user.role === role) return
      await users.setRole(tx, userId, role)
      await record(tx, actor, 'role_changed', userId)
    })
  }

  /** Ends the user's sessions, and lets nobody in; personal tokens are dead until the account is enabled. Throws NotFoundError, LastAdminError. */
  const disable = (actor: Actor, userId: string): Promise<void> => upon(actor, userId, async (tx, target) => {
    await users.requireOtherAdmin(tx, target)
    await sessions.endAllOfUser(tx, userId, ending(actor, 'disabled'))
    if (target.disabled) return
    await users.setDisabled(tx, userId, true)
    await record(tx, actor, 'user_disabled', userId)
  })

  /** Personal tokens live again, ended sessions don't; failed logins are forgotten. Throws NotFoundError. */
  const enable = (actor: Actor, userId: string): Promise<void> => upon(actor, userId, async (tx, target) => {
    await forgive(tx, target.user.email)
    if (!target.disabled) return
    await users.setDisabled(tx, userId, false)
    await record(tx, actor, 'user_enabled', userId)
  })

  /** Ends the user's sessions, and with `personalTokens` those too. Throws NotFoundError. */
  const revoke = (actor: Actor, userId: string, { personalTokens }: { personalTokens: boolean }): Promise<void> => upon(actor, userId, async tx => {
    if (personalTokens) await sessions.endPersonalTokens(tx, userId, ending(actor, 'ended_by_admin'))
    await sessions.endAllOfUser(tx, userId, ending(actor, 'ended_by_admin'))
  })

  /** Deletes the account and everything of it, as its owner would. Who dies in between leaves it to the next prune. Throws NotFoundError, LastAdminError. */
  async function remove (actor: Actor, userId: string): Promise<void> {
    await upon(actor, userId, async (tx, target) => {
      await users.requireOtherAdmin(tx, target)
      await accounts.markDeleted(tx, userId, ending(actor, 'deleted'))
    })
    await accounts.erase(userId)
  }

  /** Ends every session and every token of everybody who had one before the call, and on demand those of all services; whoever logs in meanwhile may stay. */
  async function revokeEveryone (actor: Actor, { services = false }: { services?: boolean } = {}): Promise<Ended> {
    const ended: Ended = { users: 0, sessions: 0, personalTokens: 0, services: 0 }
    let after = nilUuid
    await revocation.revokeMany(async tx => {
      const ids = await users.lockNext(tx, after, usersPerBatch)
      if (services && after === nilUuid) {
        const tokenIds = await tokens.revokeServices(tx)
        await audit.record(tx, actor.device, ...tokenIds.map(tokenId => ({ type: 'service_ended' as const, userId: null, actorId: actor.caller?.user.id ?? null, tokenId, cause: ending(actor, 'ended_by_admin').cause })))
        ended.services = tokenIds.length
      }
      const { sessions: some, personalTokens } = await sessions.endAllOfUsers(tx, ids, ending(actor, 'ended_by_admin'))
      ended.users += ids.length
      ended.sessions += some
      ended.personalTokens += personalTokens
      after = ids.at(-1) ?? after
      return ids.length === usersPerBatch
    })
    return ended
  }

  /** Makes every cache entry void: for when the cache itself is in doubt. */
  async function clearCache (actor: Actor): Promise<void> {
    await authorised(actor, [], async () => ({ named: null, outcome: undefined }))
    await settle.voidAll()
  }

  /** A page of users: those whose address begins with `email`, by address; or all, newest first. */
  async function list ({ email = '', cursor, limit }: { email?: string | undefined, cursor: string | undefined, limit: number }): Promise<{ users: ListedUser[], nextCursor: string | null }> {
    const prefix = normaliseEmail(email)
    const found = prefix === ''
      ? await store.newest({ after: cursor === undefined ? null : positionOf(cursor), limit: limit + 1 })
      : await store.byEmail({ prefix, after: cursor === undefined ? null : addressOf(cursor, prefix), limit: limit + 1 })
    const page = found.slice(0, limit)
    const last = found.length > limit ? page.at(-1) : undefined
    const next = last === undefined ? null : prefix === '' ? cursorOf({ id: last.id, createdAt: new Date(last.createdAt) }) : Buffer.from(last.email).toString('base64url')
    return { users: page, nextCursor: next }
  }

  /** Throws NotFoundError for nobody's id. */
  async function requireUser (userId: string): Promise<void> {
    if (!await store.exists(userId)) throw new NotFoundError()
  }

  /** `work` on one user, whose every entry is made to say what is true then. */
  const upon = (actor: Actor, userId: string, work: (tx: RevokingTx, target: Credentials) => Promise<void>): Promise<void> =>
    authorised(actor, [userId], async (tx, locked) => {
      const target = locked.get(userId)
      if (target === undefined) return { named: null, refusal: new NotFoundError() }
      await work(tx, target)
      return { named: await tokens.namedOfUser(tx, userId), outcome: undefined }
    })

  /**
   * Runs `work` with the rows of the caller and of `userIds` taken, if the database, too, says that he may: his token is live, and he is an
   * administrator still. Else what a cache may say of him is named again: whoever took it from him may have died on the way.
   */
  function authorised<T> ({ caller }: Actor, userIds: string[], work: (tx: RevokingTx, locked: Map<string, Credentials>) => Promise<Revoked<T>>): Promise<T> {
    return revocation.change(async tx => {
      await users.lockAdmins(tx)
      const locked = await users.lockAll(tx, caller === null ? userIds : [caller.user.id, ...userIds])
      if (caller === null) return await work(tx, locked)
      const own = locked.get(caller.user.id) ?? null
      if (await sessions.findLiveSession(tx, caller, own) === null) return { named: await tokens.namedOfUser(tx, caller.user.id), refusal: new InvalidTokenError() }
      if (own?.user.role !== 'admin') return { named: await tokens.namedOfUser(tx, caller.user.id), refusal: new ForbiddenError() }
      return await work(tx, locked)
    })
  }

  async function requireRecent ({ caller, device }: Actor, password: string | undefined): Promise<void> {
    if (caller !== null) await reauthenticate(caller, password, device)
  }

  async function record (tx: RevokingTx, { caller, device }: Actor, type: 'user_created' | 'user_disabled' | 'user_enabled' | 'role_changed', userId: string): Promise<void> {
    await audit.record(tx, device, { type, userId, actorId: caller?.user.id ?? null, cause: caller === null ? 'command' : null })
  }

  return { create, setRole, disable, enable, remove, revoke, revokeEveryone, clearCache, list, requireUser, findByEmail: users.findByEmail }
}

const ending = ({ caller, device }: Actor, cause: EventCause) => ({ device, actorId: caller?.user.id ?? null, cause: caller === null ? 'command' as const : cause })

/** The address where a page ended. Throws CursorRejectedError for what no list of `prefix` gave. */
function addressOf (cursor: string, prefix: string): string {
  const email = Buffer.from(cursor, 'base64url').toString()
  if (!email.startsWith(prefix) || /[\p{Cc}\p{Cs}\ufffd]/u.test(email)) throw new CursorRejectedError()
  return email
}
