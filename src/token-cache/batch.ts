import { nextEventLoopTurn } from '../shared/event-loop.js'

/**
 * Collects the look-ups of one event-loop turn and sends them as one read in the next; `load` answers in the order of its keys. Nobody
 * joins a read that was sent: it may have looked before a revocation that the joining request started after.
 */
export function batchPerTurn<T> (load: (keys: string[]) => Promise<T[]>): (key: string) => Promise<T> {
  let next: { keys: string[], answers: Promise<T[]> } | null = null

  function open () {
    const keys: string[] = []
    const answers = nextEventLoopTurn().then(() => {
      next = null
      return load(keys)
    })
    return { keys, answers }
  }

  return async key => {
    next ??= open()
    const index = next.keys.push(key) - 1
    return (await next.answers)[index] as T
  }
}
