let next: Promise<void> | null = null

/**
 * Resolves in the next turn of the event loop, once for everybody who asked in this one. Replies that leave together cost half of replies
 * that leave one by one.
 */
export function nextEventLoopTurn (): Promise<void> {
  return next ??= new Promise(resolve => {
    setImmediate(() => {
      next = null
      resolve()
    })
  })
}
