import type { RevokingTx, Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import { type ListPage, type PageQuery, readPage } from '../shared/pagination.js'
import type { Period, ProgramTokenStore } from './program-store.js'
import type { PersonalToken, ServiceToken, TokenRow } from './rows.js'
import type { TokenWriter } from './store.js'
import type { SurplusStore } from './surplus-store.js'
import type { PlainToken, TokenHash, TokenKind } from './token.js'

/** Live access tokens that a session may have: for tabs and retries there are never so many. A refresh past it ends the oldest. */
export const mostAccessTokens = 10

/** Revokes tokens, and names the hashes that caches may hold. */
export interface TokenRevoker {
  isLive (tx: Tx, tokenId: string): Promise<boolean>
  /** The token's row, of whatever kind and in whatever state; null if there is none. */
  findRow (tx: Tx, plain: PlainToken): Promise<TokenRow | null>
  /** Revokes one token. Returns its hash, to be named, and whether it was live until now; null if there is no such token. */
  revokeOne (tx: RevokingTx, id: string, kind: TokenKind): Promise<{ hash: TokenHash, ended: boolean } | null>
  /** Revokes the tokens of these sessions and names every revoked hash of the user's that a cache may still hold. */
  endSessions (tx: RevokingTx, userId: string, sessionIds: string[]): Promise<TokenHash[]>
  /** Revokes every token of a session that goes on under new ones, used refresh tokens too; names as `endSessions` does. */
  replaceTokens (tx: RevokingTx, userId: string, sessionId: string): Promise<TokenHash[]>
  /**
   * Makes room for one more access token in the session: ends the oldest past `mostAccessTokens` and names them. Rows of the session that
   * have been dead for long are deleted.
   */
  endSurplus (tx: RevokingTx, sessionId: string): Promise<TokenHash[]>
  /** Names again what `endSurplus` has ended and a cache may still hold: whoever ended it may have died before it reached the cache. */
  namedSurplus (tx: RevokingTx, sessionId: string): Promise<TokenHash[]>
  /** Names every hash of the user's that a cache may hold, of live tokens too: for changes of the user. */
  namedOfUser (tx: RevokingTx, userId: string): Promise<TokenHash[]>
  /** Revokes every token of these users and returns the personal ones among them. For callers that void every cache entry: names none. */
  revokeOfUsers (tx: RevokingTx, userIds: string[]): Promise<Array<{ id: string, userId: string }>>
  /** Deletes up to `limit` rows of an account whose tokens are dead in every cache; returns how many. */
  forget (tx: Tx, userId: string, limit: number): Promise<number>
}

/** Personal tokens and those of services, listed and ended. */
export interface ProgramTokens {
  /** How many live personal tokens the user has. */
  countPersonal (tx: Tx, userId: string): Promise<number>
  /** A page of the user's live personal tokens, newest first. Throws CursorRejectedError. */
  listPersonal (userId: string, page: PageQuery): Promise<ListPage<PersonalToken>>
  /**
   * Revokes one personal token of the user's, or all of them (null) but those made in `keep`. Returns the ids of those that were live; null
   * if there is no such token.
   */
  revokePersonal (tx: RevokingTx, userId: string, id: string | null, keep?: Period): Promise<string[] | null>
  /** Whether a living service has the name; nobody else makes one of that name before `tx` ends. */
  isServiceNamed (tx: Tx, name: string): Promise<boolean>
  /** A page of the services whose tokens aren't revoked, newest first. Throws CursorRejectedError. */
  listServices (page: PageQuery): Promise<ListPage<ServiceToken>>
  /** Revokes the tokens of all services and returns their ids. For callers that void every cache entry: names none. */
  revokeServices (tx: RevokingTx): Promise<string[]>
}

export interface TokenRevokerNeeds {
  store: Omit<TokenWriter, 'insert'> & ProgramTokenStore & SurplusStore
  clock: Clock
  cacheTtlSeconds: number
}

export function createTokenRevoker ({ store, clock, cacheTtlSeconds }: TokenRevokerNeeds): TokenRevoker & ProgramTokens {
  /** An entry lives this long at most, and its writer may be slow. */
  const cacheableSeconds = cacheTtlSeconds + 60

  return {
    isLive: (tx, tokenId) => store.isLive(tx, tokenId, new Date(clock.now())),
    findRow: (tx, plain) => store.findRow(tx, plain.hash()),
    revokeOne: store.revokeOne,
    async endSessions (tx, userId, sessionIds) {
      await store.revokeOfSessions(tx, sessionIds)
      return await store.revokedOfUser(tx, userId, cacheableSeconds)
    },
    async replaceTokens (tx, userId, sessionId) {
      await store.revokeAllOfSession(tx, sessionId)
      return await store.revokedOfUser(tx, userId, cacheableSeconds)
    },
    async endSurplus (tx, sessionId) {
      await store.deleteSurplus(tx, sessionId, cacheableSeconds)
      return await store.revokeSurplus(tx, sessionId, mostAccessTokens - 1, new Date(clock.now()))
    },
    namedSurplus: (tx, sessionId) => store.revokedOfSession(tx, sessionId, cacheableSeconds),
    namedOfUser: (tx, userId) => store.cacheableOfUser(tx, userId, cacheableSeconds),
    revokeOfUsers: store.revokeOfUsers,
    forget: store.deleteOfUser,
    countPersonal: (tx, userId) => store.countPersonal(tx, userId, new Date(clock.now())),
    listPersonal: (userId, query) => readPage(query, page => store.listPersonal(userId, new Date(clock.now()), page)),
    revokePersonal: store.revokePersonal,
    isServiceNamed: store.isServiceNamed,
    listServices: query => readPage(query, store.listServices),
    revokeServices: store.revokeServices
  }
}
