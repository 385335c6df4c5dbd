import type { Audit } from '../audit/service.js'
import type { Log } from '../observability/logger.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InvalidTokenError, superseded, TokenReusedError } from '../shared/errors.js'
import type { Counters } from '../token-cache/counters.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { EndingOfSessions } from './ending.js'
import type { Lifetimes, Opened, OpeningOfSessions } from './opening.js'
import type { SessionStore } from './store.js'

interface Parts {
  store: SessionStore
  tokens: TokenService
  users: Pick<UserService, 'lock'>
  revocation: Pick<Revocation, 'revoke'>
  audit: Pick<Audit, 'record'>
  clock: Clock
  counters: Pick<Counters, 'refreshes'>
  log: Pick<Log, 'info' | 'warn'>
  lifetimes: Pick<Lifetimes, 'refreshGraceSeconds'>
  opening: Pick<OpeningOfSessions, 'succeed' | 'repeat'>
  ending: Pick<EndingOfSessions, 'end' | 'endAllOf'>
}

/** What a client does with a refresh token. */
export function createRefreshing ({ store, tokens, users, revocation, audit, clock, counters, log, lifetimes, opening: { succeed, repeat }, ending: { end, endAllOf } }: Parts) {
  const now = () => new Date(clock.now())

  /**
   * Exchanges a refresh token for its successors. Within the grace the same token gives the same successors again, so that a client whose
   * reply was lost, or whose tabs refresh at once, goes on; past it a second use is a thief's or his victim's, and ends the session
   * (RFC 9700 4.14.2).
   */
  async function refresh (candidate: string, device: Device): Promise<Opened> {
    const presented = await tokens.findRefresh(candidate)
    if (presented === null) {
      counters.refreshes.refused++
      throw new InvalidTokenError()
    }
    const { plain, row: { userId, sessionId } } = presented
    const { opened, outcome } = await revocation.revoke<{ opened: Opened, outcome: 'succeeded' | 'repeated' }>(async tx => {
      const owner = await users.lock(tx, userId)
      const row = await tokens.requireRefresh(tx, plain)
      const session = await store.find(tx, userId, sessionId, now())
      if (owner === null || owner.disabled || row === null || session === null) return { named: null, refusal: new InvalidTokenError() }
      if (row.revoked) return { named: null, refusal: superseded() }
      if (row.consumedAt === null) {
        if (row.expiresAt <= now()) return { named: null, refusal: new InvalidTokenError() }
        return { named: null, outcome: { opened: await succeed(tx, session, owner.user, plain, row), outcome: 'succeeded' } }
      }
      if (row.successorSecret !== null && now().getTime() < row.consumedAt.getTime() + lifetimes.refreshGraceSeconds * 1000) {
        const same = await repeat(tx, session, owner.user, plain, row.successorSecret)
        return same === null ? { named: null, refusal: superseded() } : { named: null, outcome: { opened: same, outcome: 'repeated' } }
      }
      await audit.record(tx, device, { type: 'refresh_token_reused', userId, sessionId, tokenId: row.id })
      return { named: await end(tx, userId, [sessionId], { device, cause: 'refresh_token_reused' }), refusal: new TokenReusedError() }
    }).catch((error: unknown) => {
      if (error instanceof TokenReusedError) noteRefresh('reused', presented.row, device)
      else if (error instanceof InvalidTokenError) noteRefresh('refused', presented.row, device)
      throw error
    })
    noteRefresh(outcome, presented.row, device)
    return opened
  }

  function noteRefresh (outcome: keyof Counters['refreshes'], { id, userId, sessionId }: { id: string, userId: string, sessionId: string }, { requestId }: Device): void {
    counters.refreshes[outcome]++
    log[outcome === 'reused' ? 'warn' : 'info']({ outcome, tokenId: id, userId, sessionId, reqId: requestId }, outcome === 'reused' ? 'a refresh token was used again: its session is ended' : 'refresh')
  }

  /**
   * Ends the session of a refresh token, or all of its user's: for a client whose access token has run out. A consumed token will do, as
   * whoever has it can end the session anyway; so will one whose session is over, which names its tokens again. Throws InvalidTokenError for
   * a token that a password change has replaced, and, where it is to end every session, for one that is expired or of a session that is over.
   */
  async function logOutByRefresh (candidate: string, everywhere: boolean, device: Device): Promise<void> {
    const presented = await tokens.findRefresh(candidate)
    if (presented === null) throw new InvalidTokenError()
    const { plain, row: { userId, sessionId } } = presented
    await revocation.revoke(async tx => {
      await users.lock(tx, userId)
      const row = await tokens.requireRefresh(tx, plain)
      const over = await store.find(tx, userId, sessionId, now()) === null
      const replaced = !over && (row === null || row.revoked)
      const tooOld = everywhere && (over || row === null || row.expiresAt <= now())
      if (replaced || tooOld) return { named: await tokens.endSessions(tx, userId, []), refusal: new InvalidTokenError() }
      return { named: everywhere ? await endAllOf(tx, userId, { device, cause: 'logout_all' }) : await end(tx, userId, [sessionId], { device, cause: 'logout' }), outcome: undefined }
    })
  }

  return { refresh, logOutByRefresh }
}
