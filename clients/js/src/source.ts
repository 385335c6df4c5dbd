import { now } from './platform.js'
import type { Known } from './state.js'
import type { AuthError, AuthSession } from './types.js'

/** What a login, a registration, a refresh and a password change answer. */
export interface TokenReply extends AuthSession { accessToken?: string, expiresIn: number, refreshToken?: string }

/** Where the truth about the session is kept for all tabs: the browser's cookies, or the storage. */
export interface Source {
  /**
   * Brings what this tab knows in line with it. `surely`: also where nothing seems to have changed. `refusal`: the reason, should nobody be
   * signed in any more.
   */
  look (surely?: boolean, refusal?: AuthError): Promise<AuthError | null>
  /** Only a refresh shows whether somebody is signed in. */
  isInDoubt (): boolean
  /** The body of requests that prove the session by its refresh token. */
  proof (): object | undefined
  /** Takes what a sign-in has given. */
  enter (reply: TokenReply): Promise<void>
  /** Takes the successors of the tokens known at `version`, unless others have come meanwhile. */
  renew (reply: TokenReply, version: number): Promise<void>
  /** The session is over; `error` is the refusal that says so, null after signing out. */
  forget (error: AuthError | null): Promise<void>
  /** The same session, whose user has changed. */
  takeUser (user: AuthSession['user']): Promise<void>
  /** What another tab tells. */
  takeNews (news: unknown): void
}

export function timesOf (expiresIn: number | undefined): Pick<Known, 'endsAt' | 'lifeMs'> {
  const lifeMs = (expiresIn ?? Number.POSITIVE_INFINITY) * 1000
  return { lifeMs, endsAt: now() + lifeMs }
}

export const knownFrom = ({ user, session, accessToken, expiresIn }: TokenReply): Known =>
  ({ ...timesOf(expiresIn), auth: { user, session }, accessToken: accessToken ?? null, canRefresh: true, mine: true })
