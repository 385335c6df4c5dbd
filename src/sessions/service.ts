import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Challenges } from '../factors/challenges.js'
import type { FactorCheck } from '../factors/check.js'
import type { Log } from '../observability/logger.js'
import type { Revocation, RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { type ListPage, type PageQuery, readPage } from '../shared/pagination.js'
import type { AuthenticationMethod, Principal } from '../tokens/principal.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { RefreshCounters } from './counters.js'
import { createSessionEnder, type EndReason, type SessionEnder } from './ending.js'
import type { RefreshLimiter } from './limiter.js'
import { createLiveCaller, type LiveCaller } from './live-caller.js'
import { createLogin, type Login } from './login.js'
import { createLogout, type Logout } from './logout.js'
import { createSessionOpener, type IssuedTokens, type Lifetimes } from './opening.js'
import { createPasswordChange, type PasswordChange } from './password-change.js'
import { createRefresh, type Refresh } from './refreshing.js'
import { createIsReplaced, type IsReplaced } from './replaced.js'
import { createFinishLogin, type FinishLogin } from './second-step.js'
import type { Session, SessionStore } from './store.js'

export type { EndReason, Session }

/** A session's life: log in, refresh, list, end. Everything that ends a session goes through `revocation`. */
export interface SessionService extends Login, Logout, SessionEnder, LiveCaller {
  finishLogin: FinishLogin
  refresh: Refresh
  changePassword (caller: Principal, change: PasswordChange, device: Device): Promise<IssuedTokens>
  /** How many whole seconds the caller's token still lives. */
  secondsLeft (caller: Principal): number
  isReplaced: IsReplaced
  /** Ids of the user's sessions that nobody has ended and that this method helped to open. */
  unendedOpenedBy (tx: Tx, userId: string, method: AuthenticationMethod): Promise<string[]>
  /** The session's user has proved themselves by these methods; `tx` names the tokens of the user. */
  setMethods (tx: RevokingTx, sessionId: string, amr: AuthenticationMethod[]): Promise<void>
  /** A page of the user's live sessions, newest first. Throws CursorRejectedError. */
  list (userId: string, page: PageQuery): Promise<ListPage<Session>>
  /** Deletes up to `limit` sessions of an account that has no tokens left; returns how many. */
  deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number>
}

interface SessionDependencies {
  store: SessionStore
  tokens: TokenService
  users: UserService
  limiter: RefreshLimiter
  challenges: Challenges
  check: FactorCheck
  revocation: Revocation
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  clock: Clock
  counters: { refreshes: RefreshCounters }
  log: Pick<Log, 'info' | 'warn'>
  sessionLimit: number
  lifetimes: Lifetimes
}

export function createSessionService (dependencies: SessionDependencies): SessionService {
  const { store, clock } = dependencies
  const opener = createSessionOpener(dependencies)
  const ender = createSessionEnder(dependencies)
  const liveCaller = createLiveCaller(dependencies)
  const isReplaced = createIsReplaced(dependencies)
  const parts = { ...dependencies, opener, ender, liveCaller, isReplaced }
  const { openReplacing, ...login } = createLogin(parts)
  return {
    ...ender,
    ...liveCaller,
    ...login,
    finishLogin: createFinishLogin({ ...parts, openReplacing }),
    ...createLogout(parts),
    refresh: createRefresh(parts),
    isReplaced,
    unendedOpenedBy: store.unendedOpenedBy,
    setMethods: store.setMethods,
    changePassword: createPasswordChange(parts),
    secondsLeft: ({ expiresAtMs }) => Math.max(0, Math.floor((expiresAtMs - clock.now()) / 1000)),
    list: (userId, query) => readPage(query, page => store.list(userId, new Date(clock.now()), page)),
    deleteOfUser: store.deleteOfUser
  }
}
