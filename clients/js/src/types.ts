/** The wire's user. Times are RFC 3339, UTC. */
export interface User {
  id: string
  email: string
  emailVerifiedAt: string | null
  name: string | null
  role: 'user' | 'admin'
  createdAt: string
}

/** One log-in of a user. */
export interface Session { id: string, deviceName: string | null, createdAt: string, expiresAt: string }

/** Who is signed in, and by which session. */
export interface AuthSession { user: User, session: Session }

/** A session as the list of sessions shows it. */
export interface ListedSession extends Session { userAgent: string | null, ip: string | null, lastUsedAt: string, current: boolean }

/** Which page of a list: the one behind `cursor`, the `nextCursor` of the page before, with up to `limit` entries. */
export interface ListOptions { cursor?: string | null | undefined, limit?: number | undefined }

/** A personal token, without its plaintext. */
export interface PersonalToken {
  id: string
  name: string
  abilities: string[]
  createdAt: string
  expiresAt: string | null
  lastUsedAt: string | null
}

/** The second factors of an account. */
export interface Factors {
  /** The app that shows codes; null while there is none that is confirmed. */
  totp: { confirmedAt: string } | null
  recoveryCodesLeft: number
}

/**
 * Why something was not done. `code` is the server's, and stable. Besides there are `NETWORK` (no connection, or it timed out), `STORAGE`
 * (the storage could not be read), `UNEXPECTED_REPLY` (the server that answered is not Latchkey) and `COOKIES_BLOCKED` (the browser did not
 * keep the cookies); `status` is 0 where nothing answered.
 */
export interface AuthError {
  code: string
  status: number
  message: string
  field?: string
  reason?: string
  retryAfterSeconds?: number
  challenge?: string
  factors?: string[]
}

/** Either the server's reply or why there is none. Nothing is thrown for what a server says. */
export type Result<T> = { data: T, error: null } | { data: null, error: AuthError }

/** What is known of the session, and why that may be out of date: while a server can't answer, `data` stays what it was. */
export interface SessionResult { data: AuthSession | null, error: AuthError | null }

export type AuthEvent = 'INITIAL_SESSION' | 'SIGNED_IN' | 'SIGNED_OUT' | 'TOKEN_REFRESHED' | 'USER_UPDATED' | 'REAUTHENTICATION_REQUIRED'

/**
 * `error` comes with SIGNED_OUT, where it is the refusal that ended the session (null after signOut), and with REAUTHENTICATION_REQUIRED,
 * where it is the refusal that a listener may answer by what it returns, or promises: an object such as `{ password }` is sent along when
 * the request is sent again, the password under the name in `error.field`; where that is `totp`, it takes `{ totp }` or `{ recoveryCode }`.
 * After a new sign-in the request is sent again as it was. Else the refusal stands. Whatever else a listener returns is ignored.
 */
export type AuthListener = (event: AuthEvent, session: AuthSession | null, error: AuthError | null) => unknown

/** Keeps one text, which is the session: nobody else may read it. */
export interface TokenStorage {
  /** The text, or null when there is none. Rejects when it can't be read now. */
  load (): Promise<string | null>
  save (text: string): Promise<void>
  clear (): Promise<void>
  /** The key in localStorage under which all tabs of the origin share the text; absent where each client has its own. */
  readonly shared?: string
}

export interface ClientOptions {
  /** Latchkey's address, with the prefix that it is mounted at. In a browser it may be relative to the page's origin. */
  url: string
  /** `cookie`: HttpOnly cookies, for pages on the same site. `bearer`: tokens, for everything else. */
  mode?: 'cookie' | 'bearer'
  /** Where bearer mode keeps the session: in memory unless told otherwise. Cookie mode keeps nothing. */
  storage?: TokenStorage
  fetch?: typeof globalThis.fetch
  /** Origins besides Latchkey's and the page's that `fetch` may send the access token to: those of your own APIs. */
  origins?: string[]
}
