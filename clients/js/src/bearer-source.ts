import { now } from './platform.js'
import { knownFrom, type Source, type TokenReply } from './source.js'
import { isSame, type State } from './state.js'
import type { Tabs } from './tabs.js'
import { parse, refuse } from './transport.js'
import type { AuthError, AuthSession, TokenStorage } from './types.js'

/**
 * The text in the storage: tokens, and what makes a reload need no request. `expiresAt` is by this device's clock, so no more than a hint.
 * `count` grows with each renewal: a tab that has just read writes nothing older over what another has written since.
 */
interface Kept extends Partial<AuthSession> {
  refreshToken: string
  accessToken?: string
  expiresAt?: number
  lifeMs?: number
  count?: number
}

/** Tokens in a storage, which other tabs may share. */
export function createBearerSource ({ state, tabs, storage }: { state: State, tabs: Tabs, storage: TokenStorage }): Source {
  /** What the storage holds, as far as is known. */
  let kept: Kept | null = null
  /** The storage failed to take it: what it holds is older. */
  let unsaved = false
  let queue: Promise<unknown> = Promise.resolve()

  /** One at a time: a storage that takes its time must not get an old token behind a newer one, or any behind a sign-out. */
  function inTurn<T> (work: () => Promise<T>): Promise<T> {
    const turn = queue.then(work)
    queue = turn.catch(() => {})
    return turn
  }

  async function load (refusal?: AuthError): Promise<AuthError | null> {
    const { known } = state
    if (unsaved) return null
    let found: Kept | null
    try {
      found = keptIn(await storage.load())
    } catch (error) {
      return refuse('STORAGE', String(error)).error
    }
    if (known && isSame(found, kept)) return null
    if (found !== null && kept !== null) {
      // A keychain holds the refresh token alone: there is nothing to learn from one that is known.
      if (found.user === undefined && found.refreshToken === kept.refreshToken) return null
      if (found.session?.id === kept.session?.id && (found.count ?? 0) < (kept.count ?? 0)) {
        await save(kept)
        return null
      }
    }
    take(found, refusal)
    return null
  }

  function take (found: Kept | null, error: AuthError | null = null): void {
    const isOther = found?.refreshToken !== kept?.refreshToken
    kept = found
    if (found === null) {
      state.set({ auth: null }, { error })
      return
    }
    const { accessToken = null, expiresAt = 0, lifeMs = 0, user, session } = found
    const known = {
      accessToken,
      canRefresh: true,
      ...isOther ? { lifeMs, mine: false, endsAt: now() + Math.min(expiresAt - Date.now(), lifeMs) } : {}
    }
    if (user === undefined || session === undefined) Object.assign(state, known, { endsAt: 0 })
    else state.set({ ...known, auth: { user, session } }, { renewed: isOther })
  }

  async function save (next: Kept): Promise<void> {
    kept = next
    unsaved = await storage.save(JSON.stringify(next)).then(() => false, () => true)
  }

  /** First saved, then used: an app that is ended in between wakes up with the newer token. */
  async function keep (reply: TokenReply, signedIn: boolean): Promise<void> {
    const known = knownFrom(reply)
    const { user, session, accessToken, refreshToken } = reply
    await save(
      {
        user,
        session,
        accessToken,
        refreshToken,
        expiresAt: Date.now() + known.lifeMs,
        lifeMs: known.lifeMs,
        count: (kept?.count ?? 0) + 1
      } as Kept
    )
    state.set(known, { renewed: true, signedIn })
    tabs.tell({})
  }

  return {
    look: (_surely, refusal) => inTurn(() => load(refusal)),
    isInDoubt: () => kept !== null && kept.user === undefined,
    proof: () => kept === null ? undefined : { refreshToken: kept.refreshToken },
    enter: reply => inTurn(() => keep(reply, true)),

    renew: (reply, version) => inTurn(async () => {
      // Another tab may have signed in or out, or changed the password: what it has kept is newer.
      const error = await load()
      if (state.version === version || error !== null) await keep(reply, false)
    }),

    forget: error => inTurn(async () => {
      kept = null
      unsaved = await storage.clear().then(() => false, () => true)
      state.set({ auth: null }, { error })
      tabs.tell({})
    }),

    takeUser: user => inTurn(async () => {
      if (await load() !== null || kept === null || state.auth === null || isSame(user, state.auth.user)) return
      await save({ ...kept, user })
      state.set({ auth: { ...state.auth, user } })
      tabs.tell({})
    }),

    takeNews: () => { void inTurn(() => load()) }
  }
}

/** Null for no session, and for what can't be read. A refresh token alone will do. */
function keptIn (text: string | null): Kept | null {
  if (text?.startsWith('lkr_') === true) return { refreshToken: text }
  const kept = parse(text ?? '') as Kept | null
  return typeof kept?.refreshToken === 'string' ? kept : null
}
