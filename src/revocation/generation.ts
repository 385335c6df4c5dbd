import type { Clock } from '../shared/clock.js'
import { trustMs } from './timing.js'

/** How long ago this process first saw the newest generation. */
export interface GenerationAge {
  observe (generation: number): void
  /** Milliseconds until no instance can believe a generation older than this one any more. */
  msUntilOlderAreVoid (generation: number): number
}

export function createGenerationAge (clock: Pick<Clock, 'monotonic'>): GenerationAge {
  let newest = { generation: 0, firstSeenAt: Number.NEGATIVE_INFINITY }

  function observe (generation: number): void {
    // Counted from the reply: the bump happened before it at the latest.
    if (generation > newest.generation) newest = { generation, firstSeenAt: clock.monotonic() }
  }

  return {
    observe,
    msUntilOlderAreVoid (generation) {
      observe(generation)
      return Math.max(0, newest.firstSeenAt + trustMs - clock.monotonic())
    }
  }
}
