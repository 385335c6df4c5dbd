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

interface Parts {
  tokens: TokenService
  users: Pick<UserService, 'lock'>
  sessions: Pick<SessionService, 'refresh' | 'endSessions'>
  revocation: Revocation
  audit: Pick<Audit, 'record'>
  clock: Clock
}

/** What other services and OAuth clients ask by the standard: RFC 7662, RFC 7009, RFC 6749 6. */
export type OauthService = ReturnType<typeof createOauthService>

export function createOauthService ({ tokens, users, sessions, revocation, audit, clock }: Parts) {
  /** Throws InvalidTokenError unless the token is live. */
  async function requireCaller (candidate: string): Promise<AnyPrincipal> {
    const caller = await tokens.authenticate(candidate)
    if (caller === null) throw new InvalidTokenError()
    return caller
  }

  /** What `token` stands for, asked by the owner of the token `caller`. Throws InvalidTokenError and InsufficientAbilityError about the caller alone. */
  async function introspect (caller: string, token: string): Promise<Introspection> {
    // Both in one turn of the event loop, so they share the round trips to cache and database.
    const [asking, asked] = await Promise.all([requireCaller(caller), tokens.authenticate(token)])
    if (!can(asking, 'introspect')) throw new InsufficientAbilityError('introspect')
    return introspectionOf(asked)
  }

  /**
   * Ends what `candidate` is a token of, whoever presents it: having it is the proof. Of a session's tokens either ends the session with all
   * its tokens, as RFC 7009 2.1 recommends; a token for a program ends alone. Anything else is nothing to end, and no error (2.2).
   */
  async function revoke (candidate: string, by: By): Promise<void> {
    const plain = tokens.parse(candidate)
    if (plain === null) return
    await revocation.revoke(async tx => {
      const seen = await tokens.findRow(tx, plain)
      if (seen === null) return { named: null, outcome: undefined }
      // A service has no owner's row to be taken: its token's own is enough, as nothing else hangs on it.
      if (seen.userId === null) return { named: await endOne(tx, seen, by), outcome: undefined }
      await users.lock(tx, seen.userId)
      const row = await tokens.findRow(tx, plain)
      return { named: row === null ? null : await end(tx, { ...row, userId: seen.userId }, by), outcome: undefined }
    })
  }

  async function end (tx: RevokingTx, row: TokenRow & { userId: string }, by: By): Promise<TokenHash[]> {
    const { kind, userId, sessionId, expiresAt } = row
    // Its first revoker may have died on the way to the caches: it is named again. But it ends no session that has gone on without it.
    if (row.revoked) return await tokens.endSessions(tx, userId, [])
    // An access token that has run out proves nothing any more; on an instance whose clock is behind it may still be accepted.
    const alone = sessionId === null || (kind === 'access' && expiresAt !== null && expiresAt.getTime() <= clock.now())
    return alone ? await endOne(tx, row, by) : await sessions.endSessions(tx, userId, [sessionId], { device: by.device, actorId: actorOf(row, by), cause: 'token_revoked' })
  }

  async function endOne (tx: RevokingTx, row: TokenRow, by: By): Promise<TokenHash[]> {
    const ending = await tokens.revokeOne(tx, row.id, row.kind)
    if (ending === null) return []
    const type = ({ personal: 'personal_token_ended', service: 'service_ended' } as const)[row.kind as string]
    if (ending.ended && type !== undefined) await audit.record(tx, by.device, { type, userId: row.userId, actorId: actorOf(row, by), tokenId: row.id, cause: 'token_revoked' })
    return [ending.hash]
  }

  /** Exchanges a refresh token. A `scope` that isn't exactly the token's is refused, as no narrower token is made. Throws InvalidGrantError, InvalidScopeError. */
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

/** Null where the token's own user, or nobody known, does it. */
function actorOf ({ userId }: TokenRow, { caller }: By): string | null {
  if (caller === null) return null
  const id = caller.user?.id ?? caller.token.id
  return id === userId ? null : id
}
