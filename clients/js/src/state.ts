import { now } from './platform.js'
import type { AuthError, AuthEvent, AuthListener, AuthSession } from './types.js'

/** What this tab knows of the session. */
export interface Known {
  /** Null: nobody is signed in. */
  auth: AuthSession | null
  /** Null in cookie mode. */
  accessToken: string | null
  canRefresh: boolean
  /** Monotonic, in milliseconds; Infinity where the server didn't say. */
  endsAt: number
  lifeMs: number
  /** Whether this tab got the tokens itself. It is then the one that renews them, unless it is late. */
  mine: boolean
}

interface Change {
  /** The tokens are others. */
  renewed?: boolean
  signedIn?: boolean
  /** Why the session ended. */
  error?: AuthError | null
}

export type State = ReturnType<typeof createState>

const nobody: Known = { auth: null, accessToken: null, canRefresh: false, endsAt: 0, lifeMs: 0, mine: false }

/** The session as this tab knows it, and who is told when it changes. */
export function createState (onChange: () => void) {
  interface Entry { listener: AuthListener, told: boolean }
  const entries = new Set<Entry>()

  /** Never at once, so a listener may call the client. What it throws is reported as any error of the page. */
  async function tell (entry: Entry, event: AuthEvent, error: AuthError | null = null): Promise<unknown> {
    const { auth } = state
    await null
    return entries.has(entry) ? entry.listener(event, auth, error) : null
  }

  const tellAll = (
    event: AuthEvent,
    error?: AuthError | null
  ): Array<Promise<unknown>> => [...entries].filter(({ told }) => told).map(entry => tell(entry, event, error))

  function tellFirst (): void {
    for (const entry of entries) {
      if (!entry.told) void tell(entry, 'INITIAL_SESSION')
      entry.told = true
    }
  }

  const state = {
    ...nobody,
    /** Whether anything is known yet. */
    known: false,
    /** Counts the tokens: what was decided, or sent, under another number may be different now. */
    version: 0,

    /** Takes what is known from now on, and tells of what changed by it. */
    set (next: Partial<Known>, { renewed = false, signedIn = false, error = null }: Change = {}): void {
      const { auth: before, known } = state
      Object.assign(state, next.auth === null ? nobody : next, { known: true })
      const { auth } = state
      const isOther = auth?.session.id !== before?.session.id
      if (renewed || !known || isOther) state.version++
      if (!known) tellFirst()
      if (isOther) {
        if (auth === null) tellAll('SIGNED_OUT', error)
        else if (known || signedIn) tellAll('SIGNED_IN')
      } else if (auth !== null) {
        if (renewed) tellAll('TOKEN_REFRESHED')
        if (!isSame(auth.user, before?.user)) tellAll('USER_UPDATED')
      }
      onChange()
    },

    /** Whether the access token lives for `marginMs` more, as far as is known. */
    isLive: (marginMs = 0): boolean => state.auth !== null && state.endsAt - now() > marginMs,

    /** Calls the listener once with INITIAL_SESSION as soon as that is known, then with each change. */
    listen (listener: AuthListener) {
      const entry = { listener, told: false }
      entries.add(entry)
      if (state.known) tellFirst()
      return { unsubscribe () { entries.delete(entry) } }
    },

    hasListeners: () => entries.size > 0,
    forgetListeners: () => entries.clear(),

    /** What the listeners give as a proof that the user is there: `{}` when they have signed the user in anew, null when there is none. */
    async ask (refusal: AuthError): Promise<object | null> {
      const before = state.auth?.session.id
      const answers = await Promise.all(tellAll('REAUTHENTICATION_REQUIRED', refusal).map(answer =>
        answer.catch((error: unknown) => { queueMicrotask(() => { throw error }) })))
      const proof = answers.find(answer => typeof answer === 'object' && answer !== null) as object | undefined
      return proof ?? (state.auth?.session.id === before ? null : {})
    }
  }
  return state
}

export const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)
