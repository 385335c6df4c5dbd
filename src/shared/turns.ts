import { rateLimited } from './errors.js'

/** More work than this may not wait under one name, nor for longer. */
const maxWaiting = 100
const maxWaitMs = 10_000

/** Work under one name runs one after another; what waits holds nothing. */
export interface Turns {
  /** Throws RateLimitedError if too much waits already, or the turn doesn't come in time. */
  take<T> (name: string, work: () => Promise<T>): Promise<T>
}

export function createTurns (): Turns {
  const queues = new Map<string, Array<() => void>>()

  async function turnOf (name: string): Promise<void> {
    const queue = queues.get(name)
    if (queue === undefined) {
      queues.set(name, [])
      return
    }
    if (queue.length >= maxWaiting) throw rateLimited(1)
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        queue.splice(queue.indexOf(begin), 1)
        reject(rateLimited(1))
      }, maxWaitMs)
      queue.push(begin)
    })
  }

  function pass (name: string): void {
    const next = queues.get(name)?.shift()
    if (next === undefined) queues.delete(name)
    else next()
  }

  return {
    async take (name, work) {
      await turnOf(name)
      try {
        return await work()
      } finally {
        pass(name)
      }
    }
  }
}
