import { nextTurn } from '../shared/event-loop.js'

/**
 * One read for all look-ups of an event-loop turn, sent in the next one; `load` answers in the order of its keys. A read that was sent
 * is never joined: it may have looked before a revocation that the joining request started after.
 */
export function batchPerTurn<T> (load: (keys: string[]) => Promise<T[]>): (key: string) => Promise<T> {
  let next: { keys: string[], answers: Promise<T[]> } | null = null

  function open () {
    const keys: string[] = []
    const answers = nextTurn().then(() => {
      next = null
      return load(keys)
    })
    return { keys, answers }
  }

  return async key => {
    next ??= open()
    const at = next.keys.push(key) - 1
    return (await next.answers)[at] as T
  }
}
