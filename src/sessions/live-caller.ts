import type { Tx } from '../database/transaction.js'
import type { Revocation, Revoked, RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import { InvalidTokenError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { Credentials, UserService } from '../users/service.js'
import type { Session, SessionStore } from './store.js'

/** What a live caller wants done in the transaction; `owner` is the caller's own row, which the transaction holds. */
export type CallerWork<T> = (tx: RevokingTx, session: Session, owner: Credentials) => Promise<Revoked<T>>

export interface CallerOptions {
  /** `revoke` (the default) for work that ends tokens, `change` for work that changes what their cache entries say. */
  through?: 'revoke' | 'change'
  /** Locks that have to be taken before the user's row. */
  lockFirst?: ((tx: Tx) => Promise<void>) | undefined
}

/** Checks the caller's token once more, in the database: the cache may still hold one whose revocation is being settled. */
export interface LiveCaller {
  /**
   * Runs `work` while holding the user's row, if the caller's token is live in the database. If it isn't, a revocation may have been
   * committed without reaching the cache: its tokens are named and settled again, and InvalidTokenError is thrown.
   */
  withLiveCaller<T> (caller: Principal, work: CallerWork<T>, options?: CallerOptions): Promise<T>
  /** The caller's session, if it and the token are live in the database; else null. `owner` is the caller's row, locked by `tx`. */
  findLiveSession (tx: RevokingTx, caller: Principal, owner: Credentials | null): Promise<Session | null>
}

interface LiveCallerDependencies {
  store: Pick<SessionStore, 'find'>
  tokens: Pick<TokenService, 'endSessions' | 'isLive'>
  users: Pick<UserService, 'lock'>
  revocation: Pick<Revocation, 'revoke' | 'change'>
  clock: Clock
}

export function createLiveCaller ({ store, tokens, users, revocation, clock }: LiveCallerDependencies): LiveCaller {
  function withLiveCaller<T> (caller: Principal, work: CallerWork<T>, { through = 'revoke', lockFirst }: CallerOptions = {}): Promise<T> {
    return revocation[through](async tx => {
      await lockFirst?.(tx)
      const owner = await users.lock(tx, caller.user.id)
      const session = await findLiveSession(tx, caller, owner)
      if (owner === null || session === null) {
        return { named: await tokens.endSessions(tx, caller.user.id, []), refusal: new InvalidTokenError() }
      }
      return await work(tx, session, owner)
    }, { of: caller.user.id })
  }

  async function findLiveSession (tx: RevokingTx, caller: Principal, owner: Credentials | null): Promise<Session | null> {
    if (owner === null || owner.disabled || caller.session === null || !await tokens.isLive(tx, caller.token.id)) return null
    return await store.find(tx, caller.user.id, caller.session.id, new Date(clock.now()))
  }

  return { withLiveCaller, findLiveSession }
}
