import { now } from './platform.js'
import { knownFrom, type Source, type TokenReply, timesOf } from './source.js'
import { isSame, type State } from './state.js'
import type { Tabs } from './tabs.js'
import type { Transport } from './transport.js'
import type { AuthError, AuthSession } from './types.js'

type SessionReply = ({ user: null, session: null } | AuthSession) & { refreshable: boolean, expiresIn?: number }

interface News {
  auth: AuthSession | null
  canRefresh: boolean
  leftMs: number
  lifeMs: number
  at: number
  stamp: string | null
  renewed: boolean
  error: AuthError | null
}

/**
 * The cookies, which no script sees: Latchkey says what they are worth. Nothing is kept but a stamp in localStorage that shows whether a
 * tab has got others since.
 */
export function createCookieSource ({ state, tabs, transport }: { state: State, tabs: Tabs, transport: Transport }): Source {
  let stamp: string | null = null
  let inDoubt = false

  function tell (renewed: boolean, error: AuthError | null = null): void {
    const { auth, canRefresh, endsAt, lifeMs } = state
    tabs.tell({ auth, canRefresh, leftMs: endsAt - now(), lifeMs, at: Date.now(), stamp, renewed, error } satisfies News)
  }

  async function take (reply: TokenReply, signedIn: boolean): Promise<void> {
    stamp = tabs.newStamp()
    inDoubt = false
    state.set(knownFrom(reply), { renewed: true, signedIn })
    tell(true)
  }

  async function forget (error: AuthError | null): Promise<void> {
    stamp = tabs.newStamp()
    inDoubt = false
    state.set({ auth: null }, { error })
    tell(true, error)
  }

  return {
    async look (surely = false, refusal) {
      const { version, known } = state
      const current = tabs.stamp()
      if (known && !surely && current === stamp) return null
      const { data, error } = await transport.send<SessionReply>('GET', 'session')
      if (error !== null) return error
      if (state.version !== version) return null
      const renewed = known && current !== null && current !== stamp
      stamp = current
      inDoubt = data.user === null && data.refreshable
      if (data.user !== null) state.set(
        { ...timesOf(data.expiresIn), auth: { user: data.user, session: data.session }, canRefresh: data.refreshable, mine: false },
        { renewed }
      )
      else if (inDoubt) Object.assign(state, { canRefresh: true, endsAt: 0 })
      else if (state.auth === null) state.set({ auth: null })
      else await forget(refusal ?? null)
      return null
    },

    isInDoubt: () => inDoubt,
    proof: () => undefined,
    enter: reply => take(reply, true),
    async renew (reply, version) {
      if (state.version === version) await take(reply, false)
    },

    forget,

    async takeUser (user) {
      if (state.auth === null || isSame(user, state.auth.user)) return
      state.set({ auth: { ...state.auth, user } })
      tell(false)
    },

    takeNews (news) {
      const { auth, canRefresh, leftMs, lifeMs, at, stamp: theirs, renewed, error } = news as News
      stamp = theirs
      inDoubt = false
      // It may have waited for a tab that was frozen.
      state.set(
        { auth, canRefresh, lifeMs, endsAt: now() + leftMs - Math.max(0, Date.now() - at), ...renewed ? { mine: false } : {} },
        { renewed, error }
      )
    }
  }
}
