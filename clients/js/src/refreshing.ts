import { now, sleep } from './platform.js'
import type { Source, TokenReply } from './source.js'
import type { State } from './state.js'
import type { Tabs } from './tabs.js'
import type { Transport } from './transport.js'
import type { AuthError } from './types.js'

/** Within this a reply that was lost is asked for again with the same token: the server's REFRESH_GRACE is longer. */
const repeatMs = 20_000

export type Refreshing = ReturnType<typeof createRefreshing>

/**
 * Renews the tokens, once for all who ask in all tabs. Nobody is signed out because nobody can say: only Latchkey's own 401 ends a session.
 */
export function createRefreshing ({ state, source, tabs, transport }: { state: State, source: Source, tabs: Tabs, transport: Transport }) {
  let flight: Promise<AuthError | null> | null = null
  let blocked: { until: number, error: AuthError | null } = { until: 0, error: null }

  /** Null: renewed by this tab or another since version `seen`, or nobody is signed in any more. Else why it could not be done. */
  const refresh = (seen: number): Promise<AuthError | null> => once(() => renew(seen))

  function once (work: () => Promise<AuthError | null>): Promise<AuthError | null> {
    return flight ??= work().then(error => {
      tabs.release(error)
      return error
    }).finally(() => { flight = null })
  }

  async function renew (seen: number): Promise<AuthError | null> {
    const startedAt = now()
    for (let losses = 0, refusals = 0; ;) {
      if (now() < blocked.until) return blocked.error
      const theirs = await tabs.claim()
      if (theirs) return block(theirs)
      // As late as can be: a tab that was frozen would replay a token that others have used since, and end the session for everybody.
      // Without a refresh token there is nothing to renew, but something to find out.
      const unclear = await source.look(!state.canRefresh)
      if (unclear !== null || !state.canRefresh || (state.version !== seen && state.isLive())) return unclear
      if (theirs === null) continue

      const { version } = state
      const { data, error } = await transport.send<TokenReply>('POST', 'refresh', source.proof())
      if (error === null) {
        await source.renew(data, version)
        return null
      }
      if (error.code === 'NETWORK' && ++losses < 3 && now() - startedAt < repeatMs) {
        await sleep(losses * 500)
        continue
      }
      // A proxy may have a 401 of its own.
      if (error.status !== 401 || !error.code.startsWith('AUTH_')) return block(error)
      const unknown = await source.look(true, error)
      if (unknown !== null) return unknown
      // Another tab was faster after all; with cookies that shows in a second refusal alone.
      if (state.version !== version || (source.proof() === undefined && source.isInDoubt() && ++refusals < 2)) continue
      if (state.canRefresh) await source.forget(error)
      return null
    }
  }

  function block (error: AuthError): AuthError {
    blocked = { until: now() + (error.retryAfterSeconds ?? 1) * 1000, error }
    return error
  }

  async function start (): Promise<AuthError | null> {
    if (now() < blocked.until) return blocked.error
    const error = await source.look()
    if (error !== null) return block(error)
    return source.isInDoubt() ? await renew(state.version) : null
  }

  /** Null once it is known whether somebody is signed in; asks once for all who wait. */
  async function ready (): Promise<AuthError | null> {
    return state.known ? null : await once(start)
  }

  return {
    refresh,
    ready,

    /** Null when nobody is signed in, or the access token is good for a while. */
    async live (): Promise<AuthError | null> {
      const error = await ready()
      // A request takes its time to arrive.
      if (error !== null || state.auth === null || !state.canRefresh || state.isLive(Math.min(5_000, state.lifeMs / 10))) return error
      const failed = await refresh(state.version)
      return state.isLive() ? null : failed
    },

    /** After something may have been missed. */
    async recheck (surely: boolean): Promise<void> {
      blocked.until = 0
      if (!state.known) await ready()
      else if (await source.look(surely) === null && source.isInDoubt()) await refresh(state.version)
    }
  }
}
