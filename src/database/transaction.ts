declare const tx: unique symbol

/** An open transaction: services pass it on, stores alone look inside. */
export interface Tx { readonly [tx]: true }

/** READ COMMITTED transactions; `work` that throws rolls back. `limitMs` is for work of many statements: by default it is a request's. */
export interface Transactions {
  transaction<T> (work: (tx: Tx) => Promise<T>, limitMs?: number): Promise<T>
}
