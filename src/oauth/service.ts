import type { Audit } from '../audit/service.js'
import type { Revocation, RevokingTx } from '../revocation/revocation.js'
import type { IssuedTokens } from '../sessions/opening.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InsufficientAbilityError, InvalidGrantError, InvalidScopeError, InvalidTokenError, TokenReusedError } from '../shared/errors.js'
import { type AnyPrincipal, can } from '../tokens/principal.js'
import type { TokenRow, TokenService } from '../tokens/service.js'
import type { TokenHash } from '../tokens/token.js'
import type { UserService } from '../users/service.js'
import { type Introspection, introspectionOf } from './introspection.js'

/** Who revokes, and from where. */
interface By { device: Device, caller: AnyPrincipal | null }

interface OauthPorts {
  tokens: TokenService
  users: Pick<UserService, 'lock'>
  sessions: Pick<SessionService, 'refresh' | 'endSessions'>
  revocation: Revocation
  audit: Pick<Audit, 'record'>
  clock: Clock
  /** Where edges read what was found, too; null: nowhere. */
  hints: { live (hash: TokenHash, answer: Introspection, at: { askedAt: number, endsAt: number }): void } | null
  /** INTROSPECT_UNVERIFIED: whether introspection names addresses that nobody has proved. */
  introspectUnverified: boolean
  /** Of a token that may do nothing but enrol a second factor services learn nothing. */
  owesFactor (principal: AnyPrincipal): boolean
}

/** Introspection (RFC 7662), revocation (RFC 7009) and refreshing (RFC 6749 6), for other services and OAuth clients. */
export interface OauthService {
  /** The principal of a caller's token. Throws InvalidTokenError unless it is live. */
  requireCaller (candidate: string): Promise<AnyPrincipal>
  /**
   * What each of `candidates` stands for, in their order, if the token `caller` may ask. One round trip to the cache serves them all.
   * Throws InvalidTokenError, InsufficientAbilityError about `caller`.
   */
  introspect (caller: string, candidates: string[]): Promise<Introspection[]>
  /**
   * Ends what `candidate` belongs to, whoever presents it: possession is the proof. Either token of a session ends the session with all its
   * tokens, as RFC 7009 2.1 recommends; a personal or service token ends alone. Anything else is no error (2.2).
   */
  revoke (candidate: string, by: By): Promise<void>
  /** Exchanges a refresh token. Throws InvalidGrantError; InvalidScopeError for a `scope` other than the token's, as none is narrowed. */
  refresh (candidate: string, scope: string | undefined, device: Device): Promise<IssuedTokens>
}

export function createOauthService (
  { tokens, users, sessions, revocation, audit, clock, hints, introspectUnverified, owesFactor }: OauthPorts
): OauthService {
  async function requireCaller (candidate: string): Promise<AnyPrincipal> {
    const caller = await tokens.authenticate(candidate)
    if (caller === null) throw new InvalidTokenError()
    return caller
  }

  async function introspect (caller: string, candidates: string[]): Promise<Introspection[]> {
    const askedAt = clock.now()
    // Looked up in the same event-loop turn, all share the round trips to cache and database.
    const [asking, asked] = await Promise.all([requireCaller(caller), Promise.all(candidates.map(tokens.authenticate))])
    if (!can(asking, 'introspect')) throw new InsufficientAbilityError('introspect')
    return asked.map((principal, i) => {
      const answer = introspectionOf(principal !== null && owesFactor(principal) ? null : principal, introspectUnverified)
      if (principal !== null && answer.active) hint(candidates[i] as string, principal, answer, askedAt)
      return answer
    })
  }

  function hint (candidate: string, { expiresAtMs, idleAtMs = expiresAtMs }: AnyPrincipal, answer: Introspection, askedAt: number): void {
    const hash = hints === null ? undefined : tokens.parse(candidate)?.hash()
    if (hash !== undefined) hints?.live(hash, answer, { askedAt, endsAt: Math.min(expiresAtMs, idleAtMs) })
  }

  async function revoke (candidate: string, by: By): Promise<void> {
    const plain = tokens.parse(candidate)
    if (plain === null) return
    await revocation.revoke(async tx => {
      const seen = await tokens.findRow(tx, plain)
      if (seen === null) return { named: null, outcome: undefined }
      // A service token has no user whose row could be locked, and nothing depends on it but itself.
      if (seen.userId === null) return { named: await endOne(tx, seen, by), outcome: undefined }
      await users.lock(tx, seen.userId)
      const row = await tokens.findRow(tx, plain)
      return { named: row === null ? null : await end(tx, { ...row, userId: seen.userId }, by), outcome: undefined }
      // Whose token it is isn't known yet.
    }, { of: plain.hash().hex() })
  }

  async function end (tx: RevokingTx, row: TokenRow & { userId: string }, by: By): Promise<TokenHash[]> {
    const { kind, userId, sessionId, expiresAt } = row
    // The request that revoked it may have died before it reached the caches, so it is settled again. The session may go on without it.
    if (row.revoked) return await tokens.endSessions(tx, userId, [])
    // An expired access token no longer speaks for its session; on an instance whose clock is behind it may still be accepted.
    const alone = sessionId === null || (kind === 'access' && expiresAt !== null && expiresAt.getTime() <= clock.now())
    if (alone) return await endOne(tx, row, by)
    return await sessions.endSessions(tx, userId, [sessionId], { device: by.device, actorId: actorOf(row, by), cause: 'token_revoked' })
  }

  async function endOne (tx: RevokingTx, row: TokenRow, by: By): Promise<TokenHash[]> {
    const ending = await tokens.revokeOne(tx, row.id, row.kind)
    if (ending === null) return []
    const type = ({ personal: 'personal_token_ended', service: 'service_ended' } as const)[row.kind as string]
    if (ending.ended && type !== undefined) {
      const event = { type, userId: row.userId, actorId: actorOf(row, by), tokenId: row.id, cause: 'token_revoked' } as const
      await audit.record(tx, by.device, event)
    }
    return [ending.hash]
  }

  async function refresh (candidate: string, scope: string | undefined, device: Device): Promise<IssuedTokens> {
    try {
      if (scope !== undefined) await requireSameScope(candidate, scope)
      return await sessions.refresh(candidate, device)
    } catch (error) {
      throw error instanceof InvalidTokenError || error instanceof TokenReusedError ? new InvalidGrantError() : error
    }
  }

  async function requireSameScope (candidate: string, scope: string): Promise<void> {
    const presented = await tokens.findRefresh(candidate)
    if (presented === null) throw new InvalidTokenError()
    const [asked, granted] = [new Set(scope.split(' ')), new Set(presented.row.abilities)]
    if (asked.size !== granted.size || [...asked].some(ability => !granted.has(ability))) throw new InvalidScopeError()
  }

  return { requireCaller, introspect, revoke, refresh }
}

/** Null where the token's own user does it, or an unknown caller. */
function actorOf ({ userId }: TokenRow, { caller }: By): string | null {
  if (caller === null) return null
  const id = caller.user?.id ?? caller.token.id
  return id === userId ? null : id
}
