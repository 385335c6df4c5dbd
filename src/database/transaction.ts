declare const tx: unique symbol
declare const revoking: unique symbol

/** An open transaction. Services pass it on; only stores look inside. */
export interface Tx { readonly [tx]: true }

/**
 * A transaction opened by `revocation/revocation.ts`. Stores end tokens only within one, so nothing can be revoked without being settled.
 */
export interface RevokingTx extends Tx { readonly [revoking]: true }

/** READ COMMITTED transactions, rolled back if `work` throws. `limitMs` is for work of many statements; the default suits one request. */
export interface Transactions {
  transaction<T> (work: (tx: Tx) => Promise<T>, limitMs?: number): Promise<T>
}

const actions = new WeakMap<Tx, Array<() => void>>()

/** Runs `action` once `tx` is committed, in the order of the calls; never, if it is rolled back. `action` must not throw. */
export function afterCommit (tx: Tx, action: () => void): void {
  const waiting = actions.get(tx)
  if (waiting === undefined) throw new Error('afterCommit needs a transaction opened by runTransaction')
  waiting.push(action)
}

/** For implementations of Transactions: runs `work` in the transaction that `begin` opens, and after its COMMIT the actions left for it. */
export async function runTransaction<T> (begin: (work: (tx: Tx) => Promise<T>) => Promise<T>, work: (tx: Tx) => Promise<T>): Promise<T> {
  let waiting: Array<() => void> = []
  const outcome = await begin(async tx => {
    waiting = []
    actions.set(tx, waiting)
    return await work(tx)
  })
  for (const action of waiting) action()
  return outcome
}
