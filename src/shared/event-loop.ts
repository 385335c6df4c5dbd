let next: Promise<void> | null = null

/** Resolves in the next turn of the event loop, for all who asked in this one: what they answer then leaves together, at half the cost of one by one. */
export function nextTurn (): Promise<void> {
  return next ??= new Promise(resolve => {
    setImmediate(() => {
      next = null
      resolve()
    })
  })
}
