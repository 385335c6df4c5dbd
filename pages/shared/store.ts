import { useEffect, useState } from 'preact/hooks'

/** A value that components follow. */
export interface Store<T> {
  get (): T
  /** Tells everybody, unless it is the same value. */
  set (next: T): void
  /** Calls back after each change, until the function that it returns is called. */
  follow (listener: () => void): () => void
}

export function createStore<T> (initial: T): Store<T> {
  let value = initial
  const listeners = new Set<() => void>()
  return {
    get: () => value,
    set (next) {
      if (next === value) return
      value = next
      for (const listener of [...listeners]) listener()
    },
    follow (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}

/** The store's value now; the component is rendered again when it changes. */
export function useStore<T> (store: Store<T>): T {
  const [value, setValue] = useState(store.get())
  useEffect(() => {
    const update = () => setValue(() => store.get())
    // It may have changed between rendering and now.
    update()
    return store.follow(update)
  }, [store])
  return value
}
