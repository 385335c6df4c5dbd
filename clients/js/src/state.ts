import type { AuthError, AuthEvent, AuthListener, AuthSession, EventDetail } from './types.js'

/** What this tab knows of the session. */
export interface Known {
  /** Null: nobody is signed in. */
  auth: AuthSession | null
  /** Both null in cookie mode. */
  accessToken: string | null
  refreshToken: string | null
  canRefresh: boolean
  /** Monotonic, in milliseconds; Infinity where the server didn't say. */
  endsAt: number
  lifeMs: number
  /** Whether this tab got the tokens itself. It is then the one that renews them, unless it is late. */
  mine: boolean
}

const nobody: Known = { auth: null, accessToken: null, refreshToken: null, canRefresh: false, endsAt: 0, lifeMs: 0, mine: false }

export type State = ReturnType<typeof createState>

/** The session as this tab knows it, and who is told when it changes. */
export function createState (onChange: () => void) {
  interface Entry { listener: AuthListener, told: boolean }
  const entries = new Set<Entry>()
  const state = {
    ...nobody,
    /** Whether anything is known yet. */
    known: false,
    /** Counts the tokens: what was decided, or sent, under another number may be different now. */
    version: 0
  }

  /** In a microtask of its own: a listener may call the client, and what it throws is reported as any error of the page. */
  function tell (entry: Entry, event: AuthEvent, detail: EventDetail): void {
    const { auth } = state
    queueMicrotask(() => { if (entries.has(entry)) entry.listener(event, auth, detail) })
  }

  function tellAll (event: AuthEvent, detail: EventDetail = { error: null }): void {
    for (const entry of entries) if (entry.told) tell(entry, event, detail)
  }

  function tellFirst (): void {
    for (const entry of entries) {
      if (entry.told) continue
      entry.told = true
      tell(entry, 'INITIAL_SESSION', { error: null })
    }
  }

  return {
    state,
    tellAll,

    /** Takes what is known from now on, and tells of what changed by it. `renewed`: the tokens are others. `error`: why the session ended. */
    set (next: Partial<Known>, { renewed = false, signedIn = false, error = null }: { renewed?: boolean, signedIn?: boolean, error?: AuthError | null } = {}): void {
      const { auth: before, known } = state
      Object.assign(state, next.auth === null ? nobody : next, { known: true })
      const { auth } = state
      if (renewed || signedIn || !known || auth?.session.id !== before?.session.id) state.version++
      if (!known) tellFirst()
      if (auth === null || before === null) {
        if (auth !== null && (known || signedIn)) tellAll('SIGNED_IN')
        if (before !== null) tellAll('SIGNED_OUT', { error })
      } else if (auth.session.id !== before.session.id) {
        tellAll('SIGNED_IN')
      } else {
        if (renewed) tellAll('TOKEN_REFRESHED')
        if (JSON.stringify(auth.user) !== JSON.stringify(before.user)) tellAll('USER_UPDATED')
      }
      onChange()
    },

    /** Whether the access token lives for `marginMs` more, as far as is known. */
    isLive: (now: number, marginMs: number) => state.auth !== null && state.endsAt - now > marginMs,

    /** Calls the listener once with INITIAL_SESSION as soon as that is known, then with each change. */
    listen (listener: AuthListener) {
      const entry = { listener, told: false }
      entries.add(entry)
      if (state.known) tellFirst()
      return { unsubscribe () { entries.delete(entry) } }
    },

    hasListeners: () => entries.size > 0,
    forgetListeners: () => entries.clear(),

    /** Asks the listeners for a proof that the user is there; null when none of them answers. */
    ask: (error: AuthError) => new Promise<object | null>(resolve => {
      let answered = false
      tellAll('REAUTHENTICATION_REQUIRED', {
        error,
        answerWith (proof) {
          answered = true
          Promise.resolve(proof).then(resolve, () => resolve(null))
        }
      })
      // Behind the listeners in the same queue.
      queueMicrotask(() => { if (!answered) resolve(null) })
    })
  }
}
