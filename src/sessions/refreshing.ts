import type { Audit } from '../audit/service.js'
import type { Log } from '../observability/logger.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InvalidTokenError, SessionReplacedError, type Superseded, superseded, TokenReusedError } from '../shared/errors.js'
import type { RefreshToken, TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import type { UserService } from '../users/service.js'
import type { RefreshCounters } from './counters.js'
import type { SessionEnder } from './ending.js'
import type { RefreshLimiter } from './limiter.js'
import type { IssuedTokens, Lifetimes, SessionOpener } from './opening.js'
import type { IsReplaced } from './replaced.js'
import type { SessionStore } from './store.js'

/** Whether a token consumed at `consumedAt` still gives its successors. */
export function isWithinGrace (consumedAt: Date, now: Date, { refreshGraceSeconds }: Pick<Lifetimes, 'refreshGraceSeconds'>): boolean {
  return now.getTime() < consumedAt.getTime() + refreshGraceSeconds * 1000
}

/**
 * Exchanges a refresh token for its successors. Within the grace period the same token returns the same successors again, for clients
 * whose reply got lost and for tabs that refresh at the same time. After it, a second use means that the token was stolen: either the
 * thief or the owner is using it, so the session ends (RFC 9700 4.14.2). Past `mostAccessTokens` the session's oldest access token ends,
 * in every cache, before this resolves. Throws InvalidTokenError, TokenReusedError, RateLimitedError.
 */
export type Refresh = (candidate: string, device: Device) => Promise<IssuedTokens>

type Outcome = keyof RefreshCounters

interface RefreshDependencies {
  store: Pick<SessionStore, 'find'>
  tokens: Pick<TokenService, 'findRefresh' | 'findRefreshLocked' | 'endSurplus' | 'namedSurplus'>
  users: Pick<UserService, 'lock'>
  limiter: RefreshLimiter
  revocation: Pick<Revocation, 'revoke'>
  audit: Pick<Audit, 'record'>
  clock: Clock
  counters: { refreshes: RefreshCounters }
  log: Pick<Log, 'info' | 'warn'>
  lifetimes: Pick<Lifetimes, 'refreshGraceSeconds'>
  opener: Pick<SessionOpener, 'succeed' | 'repeat'>
  ender: Pick<SessionEnder, 'endSessions'>
  isReplaced: IsReplaced
}

export function createRefresh (
  { store, tokens, users, limiter, revocation, audit, clock, counters, log, lifetimes, opener, ender, isReplaced }: RefreshDependencies
): Refresh {
  const now = () => new Date(clock.now())

  async function refresh (candidate: string, device: Device): Promise<IssuedTokens> {
    const presented = await tokens.findRefresh(candidate)
    if (presented === null) {
      counters.refreshes.refused++
      throw new InvalidTokenError()
    }
    const { plain, row: { userId, sessionId } } = presented
    // A stolen token ends its session, however often it is presented.
    if (!isReused(presented.row)) await limiter.consume(sessionId)
    const { issued, outcome } = await revocation.revoke<{ issued: IssuedTokens, outcome: 'succeeded' | 'repeated' }>(async tx => {
      const owner = await users.lock(tx, userId)
      const row = await tokens.findRefreshLocked(tx, plain)
      const session = await store.find(tx, userId, sessionId, now())
      if (owner === null || owner.disabled || row === null || session === null) return { named: null, refusal: new InvalidTokenError() }
      if (row.revoked) return { named: null, refusal: superseded() }
      if (row.consumedAt === null) {
        if (row.expiresAt <= now()) return { named: null, refusal: new InvalidTokenError() }
        const ended = await tokens.endSurplus(tx, session.id)
        const issued = await opener.succeed(tx, session, owner.user, plain, row)
        return { named: namedIfAny(ended), outcome: { issued, outcome: 'succeeded' } }
      }
      if (row.successorSecret !== null && isWithinGrace(row.consumedAt, now(), lifetimes)) {
        const issued = await opener.repeat(tx, session, owner.user, plain, row.successorSecret)
        if (issued === null) return { named: null, refusal: superseded() }
        // The first request may have ended an access token and died before it reached the caches.
        return { named: namedIfAny(await tokens.namedSurplus(tx, session.id)), outcome: { issued, outcome: 'repeated' } }
      }
      await audit.record(tx, device, { type: 'refresh_token_reused', userId, sessionId, tokenId: row.id })
      const named = await ender.endSessions(tx, userId, [sessionId], { device, cause: 'refresh_token_reused' })
      return { named, refusal: new TokenReusedError() }
    }, { of: userId }).catch(async (error: unknown) => {
      if (error instanceof TokenReusedError) count('reused', presented.row, device)
      else if (error instanceof InvalidTokenError) count('refused', presented.row, device)
      throw await explained(error, candidate)
    })
    count(outcome, presented.row, device)
    return issued
  }

  function isReused ({ revoked, consumedAt }: RefreshToken): boolean {
    return !revoked && consumedAt !== null && !isWithinGrace(consumedAt, now(), lifetimes)
  }

  /** A login past SESSION_LIMIT is told as what it is. */
  async function explained (error: unknown, candidate: string): Promise<unknown> {
    const unexplained = error instanceof InvalidTokenError && (error as Superseded).sessionGoesOn !== true
    return unexplained && await isReplaced(candidate) ? new SessionReplacedError() : error
  }

  function count (outcome: Outcome, { id, userId, sessionId }: RefreshToken, { requestId }: Device): void {
    counters.refreshes[outcome]++
    const fields = { outcome, tokenId: id, userId, sessionId, reqId: requestId }
    if (outcome === 'reused') log.warn(fields, 'a refresh token was used again: its session is ended')
    else log.info(fields, 'refresh')
  }

  return refresh
}

/** Most refreshes end nothing, and need no settling. */
const namedIfAny = (hashes: TokenHash[]) => hashes.length > 0 ? hashes : null
