import type { EventCause } from '../audit/event.js'
import type { Audit } from '../audit/service.js'
import type { RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import type { Period, TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import type { SessionStore } from './store.js'

/** Why sessions end and who ends them; `actorId` null: the user. `device` null: no request did, a command for instance. */
export interface EndReason { device: Device | null, actorId?: string | null, cause: EventCause }

/**
 * Ends sessions and personal tokens and records it. The caller's transaction holds the user's row. What returns hashes returns those that
 * the transaction has to name.
 */
export interface SessionEnder {
  /** These sessions of the user; sessions that have already ended are named again. */
  endSessions (tx: RevokingTx, userId: string, sessionIds: string[], reason: EndReason): Promise<TokenHash[]>
  /** Every session of the user. */
  endAllOfUser (tx: RevokingTx, userId: string, reason: EndReason): Promise<TokenHash[]>
  /** Every session and personal token of several users. Names no hashes: for callers that void the whole cache. */
  endAllOfUsers (tx: RevokingTx, userIds: string[], reason: EndReason): Promise<{ sessions: number, personalTokens: number }>
  /** Every personal token of the user but those made in `keep`. Returns no hashes: endSessions, called after it, names them. */
  endPersonalTokens (tx: RevokingTx, userId: string, reason: EndReason, keep?: Period): Promise<void>
  /**
   * Calls `listener` in each transaction that ends a user's sessions from outside of them, even if the user has none: by an administrator,
   * a command, logout-all, another of the user's sessions, a reset. A plain logout and a login past SESSION_LIMIT don't count.
   */
  onEndedFromOutside (listener: EndListener): void
}

export type EndListener = (tx: RevokingTx, userIds: string[]) => Promise<void>

/** Causes that say nothing about whether somebody else used the account. */
const insideCauses: ReadonlySet<EventCause> = new Set(['logout', 'session_limit', 'token_revoked'])

interface EnderDependencies {
  store: Pick<SessionStore, 'unendedExcept' | 'end' | 'endOfUsers'>
  tokens: Pick<TokenService, 'endSessions' | 'revokeOfUsers' | 'revokePersonal'>
  audit: Pick<Audit, 'record'>
  clock: Clock
}

export function createSessionEnder ({ store, tokens, audit, clock }: EnderDependencies): SessionEnder {
  const now = () => new Date(clock.now())
  const listeners: EndListener[] = []
  const sessionEnded = (userId: string, sessionId: string, { actorId = null, cause }: EndReason) =>
    ({ type: 'session_ended' as const, userId, actorId, sessionId, cause })
  const personalTokenEnded = (userId: string, tokenId: string, { actorId = null, cause }: EndReason) =>
    ({ type: 'personal_token_ended' as const, userId, actorId, tokenId, cause })

  async function endSessions (tx: RevokingTx, userId: string, sessionIds: string[], reason: EndReason): Promise<TokenHash[]> {
    const ended = await store.end(tx, sessionIds, now())
    await audit.record(tx, reason.device, ...ended.map(id => sessionEnded(userId, id, reason)))
    await notify(tx, [userId], reason)
    return await tokens.endSessions(tx, userId, sessionIds)
  }

  async function endAllOfUser (tx: RevokingTx, userId: string, reason: EndReason): Promise<TokenHash[]> {
    return await endSessions(tx, userId, await store.unendedExcept(tx, userId, null), reason)
  }

  async function endAllOfUsers (tx: RevokingTx, userIds: string[], reason: EndReason) {
    const ended = await store.endOfUsers(tx, userIds, now())
    const personal = await tokens.revokeOfUsers(tx, userIds)
    await audit.record(tx, reason.device,
      ...ended.map(({ id, userId }) => sessionEnded(userId, id, reason)),
      ...personal.map(({ id, userId }) => personalTokenEnded(userId, id, reason)))
    await notify(tx, userIds, reason)
    return { sessions: ended.length, personalTokens: personal.length }
  }

  async function notify (tx: RevokingTx, userIds: string[], { cause }: EndReason): Promise<void> {
    if (insideCauses.has(cause)) return
    for (const listener of listeners) await listener(tx, userIds)
  }

  async function endPersonalTokens (tx: RevokingTx, userId: string, reason: EndReason, keep?: Period): Promise<void> {
    const ended = await tokens.revokePersonal(tx, userId, null, keep) ?? []
    await audit.record(tx, reason.device, ...ended.map(id => personalTokenEnded(userId, id, reason)))
  }

  return { endSessions, endAllOfUser, endAllOfUsers, endPersonalTokens, onEndedFromOutside: listener => { listeners.push(listener) } }
}
