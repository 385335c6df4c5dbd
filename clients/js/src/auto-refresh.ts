import { after, now, platform } from './platform.js'
import type { Refreshing } from './refreshing.js'
import type { State } from './state.js'
import { isHidden } from './tabs.js'

/** What the client does without being asked. */
export function createAutoRefresh ({ state: { state, hasListeners }, refreshing }: { state: State, refreshing: Refreshing }) {
  /** So that the tabs that wait for another one's refresh don't all lose patience at once. */
  const rank = Math.random()
  let isOn = false
  let cancel: (() => void) | null = null
  let failures = 0
  let waiting = false

  /** The tab that got the tokens renews them a tenth of their life, or a minute, before they end; the others only if it doesn't. */
  function dueAt (): number {
    const marginMs = Math.min(60_000, state.lifeMs / 10)
    return state.endsAt - marginMs * (state.mine ? 1 : 0.5 - 0.3 * rank)
  }

  function schedule (delayMs = dueAt() - now()): void {
    cancel?.()
    cancel = isOn && state.auth !== null && state.canRefresh && !isHidden() ? after(delayMs, () => void fire()) : null
  }

  async function fire (): Promise<void> {
    // The longest delay of a timer is shorter than some lives.
    if (now() < dueAt() - 1) return schedule()
    const error = await refreshing.refresh(state.version)
    failures = error === null ? 0 : failures + 1
    schedule(error === null ? undefined : waitMs(error.retryAfterSeconds))
  }

  const waitMs = (retryAfterSeconds = 0): number => Math.max(retryAfterSeconds * 1000, Math.min(60_000, 1_000 * 2 ** failures)) * (1 + rank / 4)

  const onVisible = (): void => schedule()

  return {
    /** What is known has changed. */
    schedule (): void {
      failures = 0
      schedule()
    },

    start (): void {
      if (isOn) return
      isOn = true
      platform.document?.addEventListener?.('visibilitychange', onVisible)
      schedule()
      this.untilKnown()
    },

    stop (): void {
      isOn = false
      platform.document?.removeEventListener?.('visibilitychange', onVisible)
      schedule()
    },

    /** Asks until it is known whether somebody is signed in, for as long as somebody wants to know. */
    untilKnown (tries = 0): void {
      if (waiting || state.known) return
      waiting = true
      void refreshing.ready().then(error => {
        waiting = false
        failures = tries
        if (error !== null && (hasListeners() || isOn)) after(waitMs(error.retryAfterSeconds), () => this.untilKnown(tries + 1))
      })
    }
  }
}
