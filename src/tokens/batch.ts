/**
 * One read for all look-ups of an event-loop turn: identical ones share it, different ones travel together. A read that was sent
 * is never joined: it may have looked before a revocation that the joining request started after.
 */
export function batchPerTurn<T> (load: (keys: string[]) => Promise<Map<string, T>>, missing: T) {
  let next: { keys: Set<string>, answer: Promise<Map<string, T>> } | null = null

  function open () {
    const keys = new Set<string>()
    const answer = new Promise<void>(resolve => { setImmediate(resolve) }).then(() => {
      next = null
      return load([...keys])
    })
    return { keys, answer }
  }

  return async (key: string): Promise<T> => {
    next ??= open()
    next.keys.add(key)
    return (await next.answer).get(key) ?? missing
  }
}
