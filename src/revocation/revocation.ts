import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RevokingTx, Transactions } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import { describe } from '../shared/errors.js'
import { createTurns } from '../shared/turns.js'
import type { TokenHash } from '../tokens/token.js'
import { maxNamed } from './naming.js'
import type { CommittedChange, Settle } from './settle.js'
import type { EpochStore } from './store.js'

export type { RevokingTx }

/**
 * The result of a revoking transaction: the hashes that it names (null: there was nothing to end; more than `maxNamed`: all entries become
 * void instead), and what to answer once they are settled. A `refusal` is thrown, but only after the COMMIT and after settling: a caller
 * whose token turns out to be revoked may be repeating a request whose revoker died on the way.
 */
export type Revoked<T> = { named: TokenHash[] | null, outcome: T } | { named: TokenHash[] | null, refusal: Error }

/**
 * Whose row the transaction will lock. Transactions of one user wait for each other before they take a connection: waiting for the lock in
 * PostgreSQL, they would hold every connection of the pool. Throws RateLimitedError if too many wait.
 */
export interface Turn { of: string }

/** The only way in which tokens end, and in which what their entries say is changed. */
export interface Revocation {
  /** Ends tokens: once this resolves, no instance accepts one of those named in a request that starts later. */
  revoke<T> (work: (tx: RevokingTx) => Promise<Revoked<T>>, turn?: Turn): Promise<T>
  /** Ends so many tokens that naming them would take longer than filling the caches anew: in batches, until `work` returns false. */
  revokeMany (work: (tx: RevokingTx) => Promise<boolean>): Promise<void>
  /** Changes what an entry says (name, role, email): once this resolves, no instance answers with the old one. */
  change<T> (work: (tx: RevokingTx) => Promise<Revoked<T>>, turn?: Turn): Promise<T>
  /** Resolves when nothing is being revoked any more. */
  drain (): Promise<void>
}

interface RevocationNeeds {
  transactions: Transactions
  store: Pick<EpochStore, 'insertSettlement' | 'bumpWithin' | 'requirePrimary'>
  settle: Pick<Settle, 'settle' | 'voidAll'>
  log: Pick<Log, 'info' | 'warn'>
}

export function createRevocation ({ transactions, store, settle, log }: RevocationNeeds): Revocation {
  const underWay = new Set<Promise<unknown>>()
  const turns = createTurns()

  async function revoke<T> (mark: CommittedChange['mark'], work: (tx: RevokingTx) => Promise<Revoked<T>>, turn?: Turn): Promise<T> {
    const id = randomUUID()
    const commit = () => transactions.transaction(async tx => {
      const done = await work(tx as RevokingTx)
      // Last, in the same transaction: the row or the new generation is there exactly if the revocation is, whenever this process dies.
      if (done.named === null) await store.requirePrimary(tx as RevokingTx)
      else if (done.named.length > maxNamed) await store.bumpWithin(tx as RevokingTx)
      else await store.insertSettlement(tx as RevokingTx, id, done.named)
      return done
    })
    const revoked = await (turn === undefined ? commit() : turns.take(turn.of, commit))
    if (revoked.named !== null && revoked.named.length > maxNamed) await logged({ tokens: 'all', mark }, settle.voidAll())
    else if (revoked.named !== null) await logged(
      { settlement: id, tokens: revoked.named.length, mark },
      settle.settle({ id, hashes: revoked.named, mark })
    )
    if ('refusal' in revoked) throw revoked.refusal
    return revoked.outcome
  }

  async function revokeMany (work: (tx: RevokingTx) => Promise<boolean>): Promise<void> {
    const batch = () => transactions.transaction(async tx => {
      const more = await work(tx as RevokingTx)
      // Whenever this process dies, no entry outlives a row that it has revoked.
      await store.bumpWithin(tx as RevokingTx)
      return more
    })
    while (await batch()) await nextTurn()
    await logged({ tokens: 'all' }, settle.voidAll())
  }

  async function logged (fields: object, settling: Promise<void>): Promise<void> {
    try {
      await settling
      log.info(fields, 'settled in every cache')
    } catch (error) {
      log.warn({ ...fields, failure: describe(error) }, 'committed, and not settled in every cache')
      throw error
    }
  }

  /** A client that hangs up doesn't stop it, and a shutdown waits for it. */
  function tracked<T> (work: Promise<T>): Promise<T> {
    underWay.add(work)
    const forget = () => { underWay.delete(work) }
    work.then(forget, forget)
    return work
  }

  return {
    revoke: (work, turn) => tracked(revoke('revoked', work, turn)),
    revokeMany: work => tracked(revokeMany(work)),
    change: (work, turn) => tracked(revoke('forgotten', work, turn)),
    async drain () {
      while (underWay.size > 0) await Promise.allSettled(underWay)
    }
  }
}
