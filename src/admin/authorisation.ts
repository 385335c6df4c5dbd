import type { RevokingTx } from '../database/transaction.js'
import type { Revocation, Revoked } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import { ForbiddenError, InvalidTokenError, NotFoundError } from '../shared/errors.js'
import type { TokenService } from '../tokens/service.js'
import type { Credentials, UserService } from '../users/service.js'
import type { AdminActor } from './actor.js'

/** Transactions in which an administrator or the operator acts. */
export interface AdminTransactions {
  /**
   * Runs `work` with the rows of the caller and of `userIds` locked, after checking in the database that the caller's token is live and
   * that they are still an administrator. Throws InvalidTokenError or ForbiddenError otherwise.
   */
  authorised<T> (
    actor: AdminActor,
    userIds: string[],
    work: (tx: RevokingTx, locked: Map<string, Credentials>) => Promise<Revoked<T>>
  ): Promise<T>
  /** The same for work on one user, whose cache entries are settled afterwards. Throws NotFoundError. */
  onUser (actor: AdminActor, userId: string, work: (tx: RevokingTx, target: Credentials) => Promise<void>): Promise<void>
}

interface AdminTransactionsDependencies {
  users: Pick<UserService, 'lockAdmins' | 'lockAll'>
  sessions: Pick<SessionService, 'findLiveSession'>
  tokens: Pick<TokenService, 'namedOfUser'>
  revocation: Pick<Revocation, 'change'>
}

export function createAdminTransactions ({ users, sessions, tokens, revocation }: AdminTransactionsDependencies): AdminTransactions {
  function authorised<T> (
    { caller }: AdminActor,
    userIds: string[],
    work: (tx: RevokingTx, locked: Map<string, Credentials>) => Promise<Revoked<T>>
  ): Promise<T> {
    return revocation.change(async tx => {
      await users.lockAdmins(tx)
      const locked = await users.lockAll(tx, caller === null ? userIds : [caller.user.id, ...userIds])
      if (caller === null) return await work(tx, locked)
      const own = locked.get(caller.user.id) ?? null
      const live = await sessions.findLiveSession(tx, caller, own) !== null
      if (live && own?.user.role === 'admin') return await work(tx, locked)
      // The cache said otherwise: the change may have been committed by a process that died before it reached the cache.
      return { named: await tokens.namedOfUser(tx, caller.user.id), refusal: live ? new ForbiddenError() : new InvalidTokenError() }
      // All of them take the administrators' lock first, so they wait for each other anyway.
    }, { of: 'administrators' })
  }

  return {
    authorised,
    onUser: (actor, userId, work) => authorised(actor, [userId], async (tx, locked) => {
      const target = locked.get(userId)
      if (target === undefined) return { named: null, refusal: new NotFoundError() }
      await work(tx, target)
      return { named: await tokens.namedOfUser(tx, userId), outcome: undefined }
    })
  }
}
