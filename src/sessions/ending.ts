import type { EventCause } from '../audit/event.js'
import type { Audit } from '../audit/service.js'
import type { RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import type { TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import type { SessionStore } from './store.js'

/** Why sessions end, and at whose bidding: `actorId` null is the user's own. */
export interface Ending { device: Device | null, actorId?: string | null, cause: EventCause }

interface Parts { store: SessionStore, tokens: TokenService, audit: Pick<Audit, 'record'>, clock: Clock }

export type EndingOfSessions = ReturnType<typeof createEnding>

/** Ends sessions and personal tokens within a transaction that revokes, with the row of their user taken, and puts it on the record. */
export function createEnding ({ store, tokens, audit, clock }: Parts) {
  const now = () => new Date(clock.now())

  /** Every session of `userId`, whoever asks for it. */
  async function endAllOf (tx: RevokingTx, userId: string, ending: Ending): Promise<TokenHash[]> {
    return await end(tx, userId, await store.others(tx, userId, null), ending)
  }

  /** Sessions of `userId`, whoever asks for it; over ones are ended again. Returns what is to be named. */
  async function end (tx: RevokingTx, userId: string, sessionIds: string[], { device, actorId = null, cause }: Ending): Promise<TokenHash[]> {
    const ended = await store.end(tx, sessionIds, now())
    await audit.record(tx, device, ...ended.map(sessionId => ({ type: 'session_ended' as const, userId, actorId, sessionId, cause })))
    return await tokens.endSessions(tx, userId, sessionIds)
  }

  /** Every session and token of users whose rows are taken, for who makes every cache entry void: names none. */
  async function endAllOfMany (tx: RevokingTx, userIds: string[], { device, actorId = null, cause }: Ending): Promise<{ sessions: number, personalTokens: number }> {
    const ended = await store.endOfUsers(tx, userIds, now())
    const personal = await tokens.revokeOfUsers(tx, userIds)
    await audit.record(tx, device,
      ...ended.map(({ id, userId }) => ({ type: 'session_ended' as const, userId, actorId, sessionId: id, cause })),
      ...personal.map(({ id, userId }) => ({ type: 'personal_token_ended' as const, userId, actorId, tokenId: id, cause })))
    return { sessions: ended.length, personalTokens: personal.length }
  }

  /** All personal tokens of `userId`; which hashes that names, endSessions tells. */
  async function endPersonal (tx: RevokingTx, userId: string, { device, actorId = null, cause }: Ending): Promise<void> {
    const ended = await tokens.revokePersonal(tx, userId, null) ?? []
    await audit.record(tx, device, ...ended.map(tokenId => ({ type: 'personal_token_ended' as const, userId, actorId, tokenId, cause })))
  }

  return { end, endAllOf, endAllOfMany, endPersonal }
}
