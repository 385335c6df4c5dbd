import { setTimeout as pause } from 'node:timers/promises'
import { unavailable } from '../shared/errors.js'
import type { Queries } from './database.js'
import { isConnectionLoss, translateError } from './errors.js'
import type { Tx } from './transaction.js'

/**
 * A transaction that sends nothing more once its connection is lost. postgres.js would send the next statement, and the final ROLLBACK, to
 * whatever took the connection's place: to nothing, which ends the process (porsager/postgres#1208), or into another transaction.
 */
export async function guardedTransaction<T> (queries: Queries, work: (tx: Tx) => Promise<T>): Promise<T> {
  let lost = false
  const whole = queries.transaction(async tx => {
    const guarded = new Proxy(tx, {
      get (target, name) {
        if (lost) throw unavailable('CONNECTION_LOST')
        return Reflect.get(target, name, target) as unknown
      }
    })
    const outcome = await work(guarded as unknown as Tx).then(value => ({ value }), async (error: unknown) => {
      // postgres.js reports the loss only after the statement that failed because of it.
      await pause(isConnectionLoss(translateError(error)) ? 100 : 0)
      return { error }
    })
    if (lost) return await new Promise<never>(() => {})
    if ('error' in outcome) throw outcome.error
    return outcome.value
  })
  return await whole.finally(() => { lost = true })
}
