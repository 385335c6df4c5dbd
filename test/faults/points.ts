import type { Tx } from '../../src/database/transaction.js'

/** Where a process is to be killed: at the `nth` await named `point`, or the nth of any name. */
export interface Death { point: string | null, nth: number }

/** Wraps `tx` so that every statement calls `reach` before it is sent and after its answer. */
export function watchStatements (tx: Tx, reach: (point: string) => void): Tx {
  return watched(tx as object, reach) as Tx
}

function watched (target: object, reach: (point: string) => void): object {
  return new Proxy(target, {
    get (owner, name) {
      const value: unknown = Reflect.get(owner, name, owner)
      if (typeof value !== 'function' || name === 'constructor') return value
      if (name === 'then') {
        return (resolve: (result: unknown) => unknown, reject: (error: unknown) => unknown) => {
          reach('before statement')
          return value.call(owner, (result: unknown) => {
            reach('after statement')
            return resolve(result)
          }, reject)
        }
      }
      return (...args: unknown[]) => {
        const result: unknown = value.apply(owner, args)
        return typeof result === 'object' && result !== null ? watched(result, reach) : result
      }
    }
  })
}
