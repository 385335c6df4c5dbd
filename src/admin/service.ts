import type { Happening } from '../audit/event.js'
import type { Audit } from '../audit/service.js'
import type { RevokingTx, Tx } from '../database/transaction.js'
import type { OwnerProof, Reauthenticate } from '../factors/reauthenticate.js'
import type { FactorService } from '../factors/service.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Settle } from '../revocation/settle.js'
import type { SessionService } from '../sessions/service.js'
import { NotFoundError } from '../shared/errors.js'
import { nilUuid } from '../shared/ids.js'
import type { TokenService } from '../tokens/service.js'
import type { AccountService } from '../users/account.js'
import { normaliseEmail } from '../users/email.js'
import type { NewAccount } from '../users/registration.js'
import type { UserService } from '../users/service.js'
import type { User } from '../users/user.js'
import { type AdminActor, reasonOf } from './actor.js'
import { createAdminTransactions } from './authorisation.js'
import type { AdminStore, ListedUser } from './store.js'
import { createUserList, type UserListQuery, type UserPage } from './user-list.js'

export { type AdminActor, operator } from './actor.js'
export type { ListedUser } from './store.js'

/** How many of each `revokeEveryone` has ended. */
export interface Ended { users: number, sessions: number, personalTokens: number, services: number }

/** What administrators and the operator do to accounts. Once a promise resolves, its effect holds on every instance. */
export interface AdminService {
  /** Throws EmailTakenError, PasswordRejectedError; for a new administrator also ReauthenticateError. */
  create (actor: AdminActor, account: NewAccount, proof?: OwnerProof): Promise<User>
  /** Throws NotFoundError, ReauthenticateError; LastAdminError where no administrator would be left. */
  setRole (actor: AdminActor, userId: string, role: User['role'], proof?: OwnerProof): Promise<void>
  /**
   * Ends the user's sessions and refuses logins; personal tokens don't work until the account is enabled. Throws NotFoundError,
   * LastAdminError.
   */
  disable (actor: AdminActor, userId: string): Promise<void>
  /** Clears failed logins and lets the user log in again; personal tokens work again, ended sessions stay ended. Throws NotFoundError. */
  enable (actor: AdminActor, userId: string): Promise<void>
  /**
   * Removes the user's second factors and ends their sessions: for whoever has lost them. Throws NotFoundError, ReauthenticateError.
   */
  resetFactors (actor: AdminActor, userId: string, proof?: OwnerProof): Promise<void>
  /** Ends the user's sessions, and with `personalTokens` those too. Throws NotFoundError. */
  revoke (actor: AdminActor, userId: string, options: { personalTokens: boolean }): Promise<void>
  /**
   * Deletes the account as its owner would. An interrupted deletion is completed by the next prune. Throws NotFoundError, LastAdminError.
   */
  remove (actor: AdminActor, userId: string): Promise<void>
  /**
   * Ends every session and personal token made before the call, and with `services` every service token. Logins during the call may survive
   * it.
   */
  revokeEveryone (actor: AdminActor, options?: { services?: boolean }): Promise<Ended>
  /** Voids every cache entry: for when the cache itself is in doubt. */
  clearCache (actor: AdminActor): Promise<void>
  /** See createUserList. */
  list (query: UserListQuery): Promise<UserPage>
  /** Throws NotFoundError when there is no such user. */
  requireUser (userId: string): Promise<ListedUser>
  /** The account of that address, or null. */
  findByEmail (email: string): Promise<ListedUser | null>
}

interface AdminServiceDependencies {
  store: Pick<AdminStore, 'find' | 'newest' | 'byEmail' | 'ofEmail'>
  users: Pick<UserService, 'lockAdmins'
    | 'lockAll'
    | 'lockNext'
    | 'prepareUser'
    | 'requireOtherAdmin'
    | 'setRole'
    | 'setDisabled'>
  sessions: Pick<SessionService, 'findLiveSession' | 'endAllOfUser' | 'endAllOfUsers' | 'endPersonalTokens'>
  tokens: Pick<TokenService, 'namedOfUser' | 'revokeServices'>
  revocation: Pick<Revocation, 'change' | 'revokeMany'>
  settle: Pick<Settle, 'voidAll'>
  audit: Pick<Audit, 'record'>
  accounts: Pick<AccountService, 'markDeleted' | 'erase'>
  reauthenticate: Reauthenticate
  factors: Pick<FactorService, 'removeAll'>
  /** Clears failed logins to the account of `email`. */
  forgive (tx: Tx, email: string): Promise<void>
}

const usersPerBatch = 200

export function createAdminService (dependencies: AdminServiceDependencies): AdminService {
  const { store, users, sessions, tokens, revocation, settle, audit, accounts, reauthenticate, factors, forgive } = dependencies
  const { authorised, onUser } = createAdminTransactions(dependencies)

  async function requireRecentLogin ({ caller, device }: AdminActor, proof: OwnerProof): Promise<void> {
    if (caller !== null) await reauthenticate(caller, proof, device)
  }

  async function record (tx: RevokingTx, { caller, device }: AdminActor, happening: Happening): Promise<void> {
    await audit.record(tx, device, { ...happening, actorId: caller?.user.id ?? null, cause: caller === null ? 'command' : null })
  }

  async function endServices (tx: RevokingTx, actor: AdminActor): Promise<number> {
    const tokenIds = await tokens.revokeServices(tx)
    const { actorId, cause } = reasonOf(actor, 'ended_by_admin')
    await audit.record(
      tx,
      actor.device,
      ...tokenIds.map(tokenId => ({ type: 'service_ended' as const, userId: null, actorId, tokenId, cause }))
    )
    return tokenIds.length
  }

  return {
    async create (actor, account, proof = {}) {
      if (account.role === 'admin') await requireRecentLogin(actor, proof)
      const insert = await users.prepareUser(account)
      return await authorised(actor, [], async tx => {
        const user = await insert(tx)
        await record(tx, actor, { type: 'user_created', userId: user.id })
        return { named: null, outcome: user }
      })
    },

    async setRole (actor, userId, role, proof = {}) {
      await requireRecentLogin(actor, proof)
      await onUser(actor, userId, async (tx, target) => {
        if (role !== 'admin') await users.requireOtherAdmin(tx, target)
        if (target.user.role === role) return
        await users.setRole(tx, userId, role)
        await record(tx, actor, { type: 'role_changed', userId, role })
      })
    },

    disable: (actor, userId) => onUser(actor, userId, async (tx, target) => {
      await users.requireOtherAdmin(tx, target)
      await sessions.endAllOfUser(tx, userId, reasonOf(actor, 'disabled'))
      if (target.disabled) return
      await users.setDisabled(tx, userId, true)
      await record(tx, actor, { type: 'user_disabled', userId })
    }),

    enable: (actor, userId) => onUser(actor, userId, async (tx, target) => {
      await forgive(tx, target.user.email)
      // Enabling an enabled account lifts its block after 100 failures, which somebody may ask about later.
      if (!target.disabled) return await record(tx, actor, { type: 'login_failures_cleared', userId })
      await users.setDisabled(tx, userId, false)
      await record(tx, actor, { type: 'user_enabled', userId })
    }),

    async resetFactors (actor, userId, proof = {}) {
      await requireRecentLogin(actor, proof)
      await onUser(actor, userId, async tx => {
        await factors.removeAll(tx, userId)
        await record(tx, actor, { type: 'factors_reset', userId })
        await sessions.endAllOfUser(tx, userId, reasonOf(actor, 'ended_by_admin'))
      })
    },

    revoke: (actor, userId, { personalTokens }) => onUser(actor, userId, async tx => {
      if (personalTokens) await sessions.endPersonalTokens(tx, userId, reasonOf(actor, 'ended_by_admin'))
      await sessions.endAllOfUser(tx, userId, reasonOf(actor, 'ended_by_admin'))
    }),

    async remove (actor, userId) {
      await onUser(actor, userId, async (tx, target) => {
        await users.requireOtherAdmin(tx, target)
        await accounts.markDeleted(tx, userId, reasonOf(actor, 'deleted'))
      })
      await accounts.erase(userId)
    },

    async revokeEveryone (actor, { services = false } = {}) {
      const ended: Ended = { users: 0, sessions: 0, personalTokens: 0, services: 0 }
      let after = nilUuid
      await revocation.revokeMany(async tx => {
        const ids = await users.lockNext(tx, after, usersPerBatch)
        if (services && after === nilUuid) ended.services = await endServices(tx, actor)
        const batch = await sessions.endAllOfUsers(tx, ids, reasonOf(actor, 'ended_by_admin'))
        ended.users += ids.length
        ended.sessions += batch.sessions
        ended.personalTokens += batch.personalTokens
        after = ids.at(-1) ?? after
        return ids.length === usersPerBatch
      })
      return ended
    },

    async clearCache (actor) {
      await authorised(actor, [], async tx => {
        await record(tx, actor, { type: 'cache_cleared', userId: null })
        return { named: null, outcome: undefined }
      })
      await settle.voidAll()
    },

    list: createUserList(store),

    async requireUser (userId) {
      const user = await store.find(userId)
      if (user === null) throw new NotFoundError()
      return user
    },

    findByEmail: email => store.ofEmail(normaliseEmail(email))
  }
}
