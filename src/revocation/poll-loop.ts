import type { Clock } from '../shared/clock.js'

/** Runs `work` every `everyMs`, one at a time, until `stop`. */
export interface PollLoop {
  start (): void
  /** The run after the one under way begins at once. */
  again (): void
  /** Resolves when the run under way has ended. */
  stop (): Promise<void>
}

/** `work` must not reject. */
export function createPollLoop (clock: Clock, everyMs: number, work: () => Promise<void>): PollLoop {
  let running: Promise<void> | null = null
  let stopping = false
  let wake = () => {}

  async function run (): Promise<void> {
    while (!stopping) {
      const startedAt = clock.monotonic()
      let again = false
      const woken = new Promise<void>(resolve => { wake = () => { again = true; resolve() } })
      await work()
      if (!again && !stopping) await Promise.race([clock.sleep(Math.max(10, everyMs - (clock.monotonic() - startedAt))), woken])
    }
  }

  return {
    start () { running ??= run() },
    again: () => wake(),
    async stop () {
      stopping = true
      wake()
      await running
    }
  }
}
