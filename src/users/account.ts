import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { OwnerProof, Reauthenticate } from '../factors/reauthenticate.js'
import type { Revocation, RevokingTx } from '../revocation/revocation.js'
import type { EndReason, SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { LastAdminError, UnavailableError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import { isMarkedDeleted } from './deleted-accounts.js'
import { requireEmail } from './email.js'
import type { EmailChanges } from './email-changes.js'
import type { UserStore } from './store.js'
import type { User } from './user.js'

const rowsPerTransaction = 5_000

/** What users may change of their own account; a `name` of null removes it. */
export interface ProfileChange extends OwnerProof { name?: string | null | undefined, email?: string | undefined }

/** Changes and deletes accounts. */
export interface AccountService {
  /**
   * A new name counts at once, on every instance; a new address once it is verified. Throws ReauthenticateError where the address is to
   * change.
   */
  change (caller: Principal, change: ProfileChange, device: Device): Promise<User>
  /**
   * Deletes the caller's account and everything that belongs to it. If the process dies half way, nobody can use the account any more and
   * the next prune deletes the rest. Throws ReauthenticateError; LastAdminError for the last administrator.
   */
  remove (caller: Principal, proof: OwnerProof, device: Device): Promise<void>
  /** Ends every token of the account and empties its row; returns the hashes to be settled. Call `erase` after the COMMIT. */
  markDeleted (tx: RevokingTx, userId: string, reason: EndReason): Promise<TokenHash[]>
  /**
   * Deletes, in several transactions, what is left of an account that is marked as deleted and whose tokens are settled. Does nothing the
   * second time.
   */
  erase (userId: string): Promise<void>
  /** Completes deletions that were interrupted; returns how many. */
  finishRemovals (): Promise<number>
}

interface AccountServiceDependencies {
  store: Pick<UserStore, 'lock' | 'lockAdmins' | 'hasOtherAdmin' | 'setName' | 'markDeleted' | 'findMarkedDeleted' | 'deleteMarked'>
  sessions: Pick<SessionService, 'withLiveCaller' | 'endAllOfUser' | 'endPersonalTokens' | 'deleteOfUser'>
  tokens: Pick<TokenService, 'endSessions' | 'namedOfUser' | 'forget'>
  revocation: Pick<Revocation, 'revoke'>
  audit: Pick<Audit, 'record' | 'deleteOfUser'>
  transactions: Transactions
  reauthenticate: Reauthenticate
  emailChanges: EmailChanges
  /** Mails the owner, once `tx` is committed. */
  notifyDeleted (tx: Tx, userId: string): Promise<void>
  clock: Clock
}

export function createAccountService (dependencies: AccountServiceDependencies): AccountService {
  const { store, sessions, tokens, revocation, audit, transactions, reauthenticate, emailChanges, notifyDeleted, clock } = dependencies

  async function change (caller: Principal, { name, email, ...proof }: ProfileChange, device: Device): Promise<User> {
    const address = email === undefined ? caller.user.email : requireEmail(email)
    const isProved = Object.values(proof).some(given => given !== undefined)
    if (address !== caller.user.email || isProved) await reauthenticate(caller, proof, device)
    return await sessions.withLiveCaller(caller, async (tx, session, { user }) => {
      const common = { userId: user.id, sessionId: session.id }
      if (address !== caller.user.email && address !== user.email) {
        await emailChanges.request(tx, user, address, device)
        await audit.record(tx, device, { type: 'email_change_requested', ...common })
      }
      if (name === undefined) return { named: null, outcome: user }
      if (name !== user.name) {
        await store.setName(tx, user.id, name)
        await audit.record(tx, device, { type: 'name_changed', ...common })
      }
      return { named: await tokens.namedOfUser(tx, user.id), outcome: { ...user, name } }
    }, { through: 'change' })
  }

  // First every token dies and the row is emptied, in one transaction. Rows go only after that is settled, because a repeated
  // revocation still has to find which hashes to settle.
  async function remove (caller: Principal, proof: OwnerProof, device: Device): Promise<void> {
    await reauthenticate(caller, proof, device)
    const { id } = caller.user
    const isAdmin = caller.user.role === 'admin'
    await sessions.withLiveCaller(caller, async (tx, _session, { user }) => {
      // They became an administrator a moment ago, and this transaction hasn't taken the administrators' lock: a second attempt will.
      if (user.role === 'admin' && !isAdmin) throw new UnavailableError()
      if (user.role === 'admin' && !await store.hasOtherAdmin(tx, id)) return { named: null, refusal: new LastAdminError() }
      return { named: await markDeleted(tx, id, { device, cause: 'deleted' }), outcome: undefined }
    }, { lockFirst: isAdmin ? store.lockAdmins : undefined })
    await erase(id)
  }

  async function markDeleted (tx: RevokingTx, userId: string, reason: EndReason): Promise<TokenHash[]> {
    const owner = await store.lock(tx, userId)
    if (owner !== null && !isMarkedDeleted(owner.user)) await notifyDeleted(tx, userId)
    await sessions.endPersonalTokens(tx, userId, reason)
    await store.markDeleted(tx, userId, new Date(clock.now()))
    return await sessions.endAllOfUser(tx, userId, reason)
  }

  async function erase (userId: string): Promise<void> {
    /** True while there is more to delete. */
    const eraseSome = () => transactions.transaction(async tx => {
      const locked = await store.lock(tx, userId)
      if (locked === null || !isMarkedDeleted(locked.user)) return false
      for (const deleteSome of [tokens.forget, sessions.deleteOfUser, audit.deleteOfUser]) {
        if (await deleteSome(tx, userId, rowsPerTransaction) === rowsPerTransaction) return true
      }
      await store.deleteMarked(tx, userId)
      await audit.record(tx, null, { type: 'account_deleted', userId })
      return false
    })
    while (await eraseSome()) await nextTurn()
  }

  async function finishRemovals (): Promise<number> {
    let finished = 0
    for (let ids = await store.findMarkedDeleted(100); ids.length > 0; ids = await store.findMarkedDeleted(100)) {
      for (const id of ids) {
        // The first process may have died before the tokens were dead in every cache.
        await revocation.revoke(async tx => {
          await store.lock(tx, id)
          return { named: await tokens.endSessions(tx, id, []), outcome: undefined }
        }, { of: id })
        await erase(id)
        finished++
      }
    }
    return finished
  }

  return { change, remove, markDeleted, erase, finishRemovals }
}
