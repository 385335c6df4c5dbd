import { setImmediate as turn } from 'node:timers/promises'
import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { Revocation, RevokingTx } from '../revocation/revocation.js'
import type { EndReason, SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { LastAdminError, UnavailableError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import { isBuried } from './deleted-accounts.js'
import { requireEmail } from './email.js'
import type { EmailChanges } from './email-changes.js'
import type { Reauthenticate } from './reauthenticate.js'
import type { UserStore } from './store.js'
import type { User } from './user.js'

const batchSize = 5_000

/** What a user changes of himself; `name` null removes it. */
export interface ProfileChange { name?: string | null | undefined, email?: string | undefined, password?: string | undefined }

interface Parts {
  store: Pick<UserStore, 'lock' | 'lockAdmins' | 'hasOtherAdmin' | 'setName' | 'bury' | 'findBuried' | 'deleteBuried'>
  sessions: Pick<SessionService, 'withLiveCaller' | 'endAllOfUser' | 'endPersonalTokens' | 'deleteOfUser'>
  tokens: Pick<TokenService, 'endSessions' | 'namedOfUser' | 'forget'>
  revocation: Pick<Revocation, 'revoke'>
  audit: Pick<Audit, 'record' | 'forget'>
  transactions: Transactions
  reauthenticate: Reauthenticate
  emailChanges: EmailChanges
  clock: Clock
}

/** What a user does to his own account: change it, delete it. */
export type AccountService = ReturnType<typeof createAccountService>

export function createAccountService ({ store, sessions, tokens, revocation, audit, transactions, reauthenticate, emailChanges, clock }: Parts) {
  /** The name changes at once, everywhere; the address once the new one is proven. Throws ReauthenticateError where the address is to change. */
  async function change (caller: Principal, { name, email, password }: ProfileChange, device: Device): Promise<User> {
    const address = email === undefined ? caller.user.email : requireEmail(email)
    if (address !== caller.user.email || password !== undefined) await reauthenticate(caller, password, device)
    return await sessions.withLiveCaller(caller, async (tx, session, { user }) => {
      const happened = { userId: user.id, sessionId: session.id }
      if (address !== caller.user.email && address !== user.email) {
        await emailChanges.request(tx, user, address, device)
        await audit.record(tx, device, { type: 'email_change_requested', ...happened })
      }
      if (name === undefined) return { named: null, outcome: user }
      if (name !== user.name) {
        await store.setName(tx, user.id, name)
        await audit.record(tx, device, { type: 'name_changed', ...happened })
      }
      return { named: await tokens.namedOfUser(tx, user.id), outcome: { ...user, name } }
    }, { through: 'change' })
  }

  /**
   * Deletes the account and everything of it. First every token dies everywhere and the row is emptied, in one transaction; only then rows go,
   * for a repeated revocation has to find what to name. Whoever dies in between leaves an account that nobody can use and the next prune deletes.
   * Throws ReauthenticateError; LastAdminError for the last one who could administer.
   */
  async function remove (caller: Principal, password: string | undefined, device: Device): Promise<void> {
    await reauthenticate(caller, password, device)
    const { id } = caller.user
    const isAdmin = caller.user.role === 'admin'
    await sessions.withLiveCaller(caller, async (tx, _session, { user }) => {
      // Made one this very moment, without having taken his turn: the next attempt will.
      if (user.role === 'admin' && !isAdmin) throw new UnavailableError()
      if (user.role === 'admin' && !await store.hasOtherAdmin(tx, id)) return { named: null, refusal: new LastAdminError() }
      return { named: await bury(tx, id, { device, cause: 'deleted' }), outcome: undefined }
    }, { lockFirst: isAdmin ? store.lockAdmins : undefined })
    await erase(id)
  }

  /** Ends every token of the account and empties its row; returns what is to be named. `erase` belongs behind the COMMIT. */
  async function bury (tx: RevokingTx, id: string, ending: EndReason): Promise<TokenHash[]> {
    await sessions.endPersonalTokens(tx, id, ending)
    await store.bury(tx, id, new Date(clock.now()))
    return await sessions.endAllOfUser(tx, id, ending)
  }

  /** Deletes what is left of a buried account whose tokens are dead everywhere, in pieces; whoever comes second finds nothing. */
  async function erase (id: string): Promise<void> {
    const piece = () => transactions.transaction(async tx => {
      const locked = await store.lock(tx, id)
      if (locked === null || !isBuried(locked.user)) return false
      for (const forget of [tokens.forget, sessions.deleteOfUser, audit.forget]) if (await forget(tx, id, batchSize) === batchSize) return true
      await store.deleteBuried(tx, id)
      await audit.record(tx, null, { type: 'account_deleted', userId: id })
      return false
    })
    while (await piece()) await turn()
  }

  /** Deletes accounts whose deletion somebody began and didn't end; returns how many. */
  async function finishRemovals (): Promise<number> {
    let finished = 0
    for (let ids = await store.findBuried(100); ids.length > 0; ids = await store.findBuried(100)) {
      for (const id of ids) {
        // He may have died before the tokens were dead in every cache.
        await revocation.revoke(async tx => {
          await store.lock(tx, id)
          return { named: await tokens.endSessions(tx, id, []), outcome: undefined }
        })
        await erase(id)
        finished++
      }
    }
    return finished
  }

  return { change, remove, bury, erase, finishRemovals }
}
