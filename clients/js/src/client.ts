import { createAuthorizedFetch } from './authorized-fetch.js'
import { createAutoRefresh } from './auto-refresh.js'
import { createBearerSource } from './bearer-source.js'
import { createCookieSource } from './cookie-source.js'
import { platform } from './platform.js'
import { createRefreshing } from './refreshing.js'
import type { TokenReply } from './source.js'
import { createState } from './state.js'
import { createMemoryStorage } from './storage.js'
import { createTabs } from './tabs.js'
import { createTransport, jsonOf, readReply, refuse } from './transport.js'
import type {
  AuthError,
  AuthListener,
  AuthSession,
  ClientOptions,
  Factors,
  ListedSession,
  ListOptions,
  PersonalToken,
  Result,
  SessionResult,
  User
} from './types.js'

export type Client = ReturnType<typeof createClient>

/** A client of the Latchkey at `url`. Sends nothing, and listens to nothing, before it is used. */
export function createClient ({ url, mode = 'cookie', storage: given, fetch: givenFetch, origins = [] }: ClientOptions) {
  const byCookie = mode === 'cookie'
  const storage = given ?? createMemoryStorage()
  const fetch: typeof globalThis.fetch = givenFetch ?? ((...args) => globalThis.fetch(...args))
  const transport = createTransport({ url, byCookie, fetch })
  const name = `latchkey/1 ${byCookie ? url : storage.shared}`
  const tabs = createTabs({
    name: byCookie || storage.shared !== undefined ? name : null,
    key: byCookie ? name : storage.shared ?? null,
    onNews: news => source.takeNews(news),
    async onWake (surely) {
      await refreshing.recheck(surely)
      auto.schedule()
    }
  })
  const state = createState(() => auto.schedule())
  const source = byCookie ? createCookieSource({ state, tabs, transport }) : createBearerSource({ state, tabs, storage })
  const refreshing = createRefreshing({ state, source, tabs, transport })
  const auto = createAutoRefresh({ state, refreshing })
  const authorized = createAuthorizedFetch({ state, refreshing, transport, fetch, origins })

  /** A request as the user; none is sent for nobody. */
  async function call<T> (method: string, path: string, body?: object): Promise<Result<T>> {
    tabs.start()
    const error = await refreshing.live()
    if (error !== null) return { data: null, error }
    if (state.auth === null) return refuse('AUTH_MISSING_TOKEN', 'Nobody is signed in', 401)
    return await readReply<T>(authorized(transport.addressOf(path), { method, ...jsonOf(body) }))
  }

  /** A page of one of the user's lists. */
  function list<T> (path: string, page: ListOptions = {}) {
    const query = Object.entries(page).flatMap(([name, value]) => value == null ? [] : `${name}=${encodeURIComponent(value)}`).join('&')
    return call<T & { nextCursor: string | null }>('GET', query === '' ? path : `${path}?${query}`)
  }

  /** A request that opens a session. Null where a mail has to confirm it first. */
  async function open (path: string, body: object): Promise<Result<AuthSession | null>> {
    tabs.start()
    const reply = await transport.send<TokenReply | null>('POST', path, { ...body, refresh: true, cookies: byCookie })
    if (reply.error !== null || reply.data === null) return reply
    // Without an error of its own, for a browser drops cookies in silence.
    if (byCookie && platform.location !== undefined && platform.location.hostname !== transport.base().hostname) {
      const { data, error } = await transport.send<{ user: User | null }>('GET', 'session')
      if (error === null &&
        data.user === null) return refuse('COOKIES_BLOCKED', 'The browser keeps no cookies of another site')
    }
    return await enter(reply.data)
  }

  async function enter (reply: TokenReply): Promise<Result<AuthSession>> {
    await source.enter(reply)
    const { user, session } = reply
    return { data: { user, session }, error: null }
  }

  async function session (error: AuthError | null): Promise<SessionResult> {
    return { data: state.auth, error }
  }

  async function takeUser<T extends { user: User }> (result: Result<T>): Promise<Result<T>> {
    if (result.error === null) await source.takeUser(result.data.user)
    return result
  }

  return {
    /** Makes an account and signs in. `data` is null where a mail has to confirm the address first. */
    signUp: (body: { email: string, password: string, name?: string, deviceName?: string }) => open('register', body),

    /** Signs in. An account with a second factor answers with the error AUTH_SECOND_FACTOR_REQUIRED, whose `challenge` it takes. */
    signInWithPassword: (
      body: { email: string, password: string, deviceName?: string, abilities?: string[] }
    ) => open('login', body) as Promise<Result<AuthSession>>,

    /** The second step of a sign-in: `challenge` is that of the error, which lasts five minutes, and one of the other two the answer to it. */
    signInWithSecondFactor: (
      body: { challenge: string, deviceName?: string, abilities?: string[] } & ({ totp: string } | { recoveryCode: string })
    ) => open('login/second-factor', body) as Promise<Result<AuthSession>>,

    /**
     * Ends this session, all others of the user, or all. Tokens are forgotten here even if the server can't be told; cookies can't be, so
     * then the error means that the user is still signed in.
     */
    async signOut ({ scope = 'local' }: { scope?: 'local' | 'others' | 'global' } = {}): Promise<Result<null>> {
      if (scope === 'others') return await call<null>('DELETE', 'sessions')
      tabs.start()
      await source.look()
      if (state.known && state.auth === null) return { data: null, error: null }
      const { error } = await transport.send<null>('POST', scope === 'global' ? 'logout-all' : 'logout', source.proof())
      const isOver = error === null || error.status === 401
      if (isOver || !byCookie) await source.forget(null)
      return { data: null, error: isOver ? null : error } as Result<null>
    },

    /** Who is signed in, or null. Asks Latchkey where that isn't known, and renews what has run out. */
    async getSession (): Promise<SessionResult> {
      tabs.start()
      return session(await refreshing.live())
    },

    /** As Latchkey knows the user at this moment; `data` is null where nobody is signed in. */
    async getUser (): Promise<Result<AuthSession | null>> {
      const result = await takeUser(await call<AuthSession>('GET', 'me'))
      return state.known && state.auth === null ? { data: null, error: null } : result
    },

    /** Renews the tokens now, unless another tab is at it: then it waits for those. */
    async refreshSession (): Promise<SessionResult> {
      tabs.start()
      return session(await refreshing.ready() ?? (state.auth === null ? null : await refreshing.refresh(state.version)))
    },

    /** Changes the name at once; another address counts when the mail that goes there is confirmed. */
    updateUser: async (
      body: { name?: string | null, email?: string, password?: string }
    ) => takeUser(await call<{ user: User }>('PATCH', 'me', body)),

    /** Ends every other session; this one goes on under new tokens. */
    async changePassword (
      body: { currentPassword: string, newPassword: string, revokePersonalTokens?: boolean }
    ): Promise<Result<AuthSession>> {
      const result = await call<TokenReply>('PUT', 'password', body)
      return result.error === null ? await enter(result.data) : result
    },

    sessions: {
      /** Newest first, 100 at a time: `nextCursor` is the `cursor` of the next page, and null at the end. */
      list: (page?: ListOptions) => list<{ sessions: ListedSession[] }>('sessions', page),
      /** Ends one of the user's sessions; the user is signed out here if it is this one. */
      async end (id: string): Promise<Result<null>> {
        const isThis = id === state.auth?.session.id
        const result = await call<null>('DELETE', `sessions/${encodeURIComponent(id)}`)
        if (result.error === null && isThis) await source.forget(null)
        return result
      }
    },

    tokens: {
      /** As `sessions.list`. */
      list: (page?: ListOptions) => list<{ tokens: PersonalToken[] }>('tokens', page),
      /** Makes a personal token. `accessToken` is its plaintext, and is shown this once. */
      create: (
        body: { name: string, abilities?: string[], expiresIn?: number, password?: string }
      ) => call<{ accessToken: string, token: PersonalToken }>('POST', 'tokens', body),
      end: (id: string) => call<null>('DELETE', `tokens/${encodeURIComponent(id)}`)
    },

    /** Second factors. Changing them needs a sign-in of the last 15 minutes, or a proof, such as a code, for which the listeners are asked. */
    factors: {
      get: () => call<Factors>('GET', 'factors'),
      /** An app that shows codes (RFC 6238). */
      totp: {
        /** Makes the app's secret; `uri` is what its QR code says. It counts once `confirm` has had a code of it. */
        create: () => call<{ secret: string, uri: string }>('POST', 'totp'),
        /** `recoveryCodes` comes with the first factor, and is shown this once. */
        confirm: (code: string) => call<{ recoveryCodes?: string[] }>('POST', 'totp/confirm', { code }),
        /** Voids the recovery codes too, and ends every session that a code has opened, which may be this one. */
        end: () => call<null>('DELETE', 'totp')
      },
      recoveryCodes: {
        /** Ten new ones, shown this once; the old ones are void. */
        create: () => call<{ recoveryCodes: string[] }>('POST', 'recovery-codes')
      }
    },

    /** What the application keeps with this session on the server: an object of 16 KB at most, which ends with it. */
    sessionData: {
      get: <T extends object>() => call<{ data: T }>('GET', 'session/data'),
      replace: <T extends object>(data: T) => call<{ data: T }>('PUT', 'session/data', data),
      /** By a JSON Merge Patch (RFC 7396): objects merge, and null removes a member. */
      merge: <T extends object>(patch: object) => call<{ data: T }>('PATCH', 'session/data', patch)
    },

    fetch: ((input, init) => {
      tabs.start()
      return authorized(input, init)
    }) as typeof globalThis.fetch,

    /** Calls back once with INITIAL_SESSION, as soon as that is known, and then at each change, whichever tab it comes from. */
    onAuthStateChange (listener: AuthListener): { unsubscribe (): void } {
      tabs.start()
      const subscription = state.listen(listener)
      if (!state.known) auto.schedule()
      return subscription
    },

    /** Renews the tokens shortly before they run out, while the page is visible, so that no request has to wait for it. */
    startAutoRefresh (): void {
      tabs.start()
      auto.start()
    },

    stopAutoRefresh: (): void => auto.stop(),

    /** Lets go of timers, channels and listeners. What is stored stays. */
    dispose (): void {
      auto.stop()
      state.forgetListeners()
      tabs.stop()
    }
  }
}
