import { after, now } from './platform.js'
import type { Refreshing } from './refreshing.js'
import type { State } from './state.js'
import { isHidden } from './tabs.js'

/**
 * What the client does without being asked: it finds out who is signed in, for whoever listens, and renews tokens in time, once that is
 * started.
 */
export function createAutoRefresh ({ state, refreshing }: { state: State, refreshing: Refreshing }) {
  /** So that tabs which wait for another one's refresh don't all lose patience at once. */
  const rank = Math.random()
  let isOn = false
  let failures = 0
  let cancel: (() => void) | null = null

  /** The tab that got the tokens renews them a seventh of their life, or a minute, before they end; the others only if it doesn't. */
  const dueAt = (): number => state.endsAt - Math.min(60_000, state.lifeMs / 7) * (state.mine ? 1 : 0.5 - 0.3 * rank)

  function schedule (delayMs = state.known ? dueAt() - now() : 0): void {
    cancel?.()
    cancel = (state.known ? isOn && state.canRefresh : isOn || state.hasListeners()) ? after(delayMs, () => void run()) : null
  }

  async function run (): Promise<void> {
    // When it is seen again, the page wakes up and schedules anew.
    if (state.known && isHidden()) return
    // The longest delay of a timer is shorter than some lives.
    if (state.known && now() < dueAt() - 1) return schedule()
    const error = await (state.known ? refreshing.refresh(state.version) : refreshing.ready())
    failures = error === null ? 0 : failures + 1
    if (error !== null) schedule(Math.max((error.retryAfterSeconds ?? 0) * 1000, Math.min(60_000, 1_000 * 2 ** failures)) * (1 + rank / 4))
  }

  return {
    /** What is known, or who wants to know it, has changed. */
    schedule: (): void => schedule(),

    start (): void {
      isOn = true
      schedule()
    },

    stop (): void {
      isOn = false
      schedule()
    }
  }
}
