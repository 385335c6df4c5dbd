import { setTimeout as delay } from 'node:timers/promises'

/** Time as the code reads it, so that a test can hold it still. */
export interface Clock {
  /** Milliseconds since 1970, as the operating system tells them: they may jump. */
  now (): number
  /** Milliseconds since some start: they never jump, but may stand still while a machine is suspended. */
  monotonic (): number
  sleep (ms: number): Promise<void>
}

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  sleep: ms => delay(ms)
}
