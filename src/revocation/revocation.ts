import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import { describe } from '../shared/errors.js'
import type { TokenHash } from '../tokens/token.js'
import type { Committed, Settle } from './settle.js'
import type { EpochStore } from './store.js'

declare const revoking: unique symbol

/** A transaction opened by the one door. The stores end tokens within no other, so nothing can be revoked without being settled. */
export interface RevokingTx extends Tx { readonly [revoking]: true }

/**
 * What a revoking transaction leaves behind: the hashes it names (null: it turned out to end nothing) and what to answer once they
 * are settled. A `refusal` is thrown, but after the COMMIT and after settling: a caller whose token turns out to be revoked may be
 * the repetition of a revoker who died on the way.
 */
export type Revoked<T> = { named: TokenHash[] | null, outcome: T } | { named: TokenHash[] | null, refusal: Error }

interface Parts {
  transactions: Transactions
  store: Pick<EpochStore, 'insertSettlement' | 'bumpWithin'>
  settle: Pick<Settle, 'settle' | 'voidAll'>
  log: Pick<Log, 'info' | 'warn'>
}

/** The one door through which tokens end. */
export type Revocation = ReturnType<typeof createRevocation>

export function createRevocation ({ transactions, store, settle, log }: Parts) {
  const underWay = new Set<Promise<unknown>>()

  async function revoke<T> (mark: Committed['mark'], work: (tx: RevokingTx) => Promise<Revoked<T>>): Promise<T> {
    const id = randomUUID()
    const revoked = await transactions.transaction(async tx => {
      const done = await work(tx as RevokingTx)
      // Last, in the same transaction: it is there exactly if the revocation is, whenever this process dies.
      if (done.named !== null) await store.insertSettlement(tx as RevokingTx, id, done.named)
      return done
    })
    if (revoked.named !== null) await told({ settlement: id, tokens: revoked.named.length, mark }, settle.settle({ id, hashes: revoked.named, mark }))
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
    while (await batch()) await turn()
    await told({ tokens: 'all' }, settle.voidAll())
  }

  /** One line, when it is known whether every cache has it. */
  async function told (fields: object, settling: Promise<void>): Promise<void> {
    try {
      await settling
      log.info(fields, 'settled in every cache')
    } catch (error) {
      log.warn({ ...fields, failure: describe(error) }, 'committed, and not settled in every cache')
      throw error
    }
  }

  /** Whoever hangs up doesn't stop it, and a shutdown waits for it. */
  function tracked<T> (work: Promise<T>): Promise<T> {
    underWay.add(work)
    const forget = () => { underWay.delete(work) }
    work.then(forget, forget)
    return work
  }

  return {
    /** Ends tokens: when this resolves, no instance accepts one of those named in a request that starts later. */
    revoke: <T>(work: (tx: RevokingTx) => Promise<Revoked<T>>): Promise<T> => tracked(revoke('revoked', work)),

    /** Ends so many tokens that naming them would take longer than filling the caches anew: in batches, until `work` returns false. */
    revokeMany: (work: (tx: RevokingTx) => Promise<boolean>): Promise<void> => tracked(revokeMany(work)),

    /** Changes what an entry says (name, role, email): when this resolves, no instance answers with the old one. */
    change: <T>(work: (tx: RevokingTx) => Promise<Revoked<T>>): Promise<T> => tracked(revoke('forgotten', work)),

    /** Resolves when nothing is being revoked any more. */
    async drain (): Promise<void> {
      while (underWay.size > 0) await Promise.allSettled(underWay)
    }
  }
}
