import type { Audit } from '../audit/service.js'
import type { OwnerProof, Reauthenticate } from '../factors/reauthenticate.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { EmailUnverifiedError, InsufficientAbilityError, NotFoundError, TokenLimitError } from '../shared/errors.js'
import type { ListPage, PageQuery } from '../shared/pagination.js'
import { can, type Principal } from '../tokens/principal.js'
import type { PersonalToken, TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'

export interface PersonalTokenRequest extends OwnerProof {
  name: string
  abilities?: string[] | undefined
  expiresIn?: number | undefined
}

/** Tokens that users make for their programs: named, limited, and independent of any session. */
export interface PersonalTokenService {
  /**
   * Without `expiresIn` (seconds) it lives until it is revoked. Throws InsufficientAbilityError for abilities that the caller's token
   * lacks, ReauthenticateError, EmailUnverifiedError, TokenLimitError.
   */
  create (caller: Principal, request: PersonalTokenRequest, device: Device): Promise<{ plain: PlainToken, token: PersonalToken }>
  /** A page of the caller's live tokens, newest first. Throws CursorRejectedError. */
  list (caller: Principal, page: PageQuery): Promise<ListPage<PersonalToken>>
  /** Throws NotFoundError for a token that isn't the caller's. */
  end (caller: Principal, id: string, device: Device): Promise<void>
}

interface PersonalTokenDependencies {
  tokens: Pick<TokenService, 'issue' | 'countPersonal' | 'listPersonal' | 'revokePersonal' | 'endSessions'>
  reauthenticate: Reauthenticate
  sessions: Pick<SessionService, 'withLiveCaller'>
  audit: Pick<Audit, 'record'>
  clock: Clock
  /** PERSONAL_TOKEN_LIMIT */
  limit: number
  /** Whether the owner has to have proved their address: where mails are sent, they can. */
  needsVerifiedEmail: boolean
}

export function createPersonalTokenService ({
  tokens,
  reauthenticate,
  sessions,
  audit,
  clock,
  limit,
  needsVerifiedEmail
}: PersonalTokenDependencies): PersonalTokenService {
  return {
    async create (caller, { name, abilities = caller.token.abilities, expiresIn, ...proof }, device) {
      const beyond = abilities.find(ability => !can(caller, ability))
      if (beyond !== undefined) throw new InsufficientAbilityError(beyond)
      await reauthenticate(caller, proof, device)
      return await sessions.withLiveCaller(caller, async (tx, session, { user }) => {
        // Whoever registers somebody else's address must not leave a token behind for when its owner takes the account over.
        if (needsVerifiedEmail && user.emailVerifiedAt === null) return { named: null, refusal: new EmailUnverifiedError() }
        if (await tokens.countPersonal(tx, user.id) >= limit) return { named: null, refusal: new TokenLimitError() }
        const createdAt = new Date(clock.now())
        const expiresAt = expiresIn === undefined ? null : new Date(createdAt.getTime() + expiresIn * 1000)
        const { id, plain } = await tokens.issue(
          tx,
          { kind: 'personal', userId: caller.user.id, sessionId: null, name, abilities, createdAt, expiresAt }
        )
        await audit.record(tx, device, { type: 'personal_token_created', userId: caller.user.id, sessionId: session.id, tokenId: id })
        return { named: null, outcome: { plain, token: { id, name, abilities, createdAt, expiresAt, lastUsedAt: null } } }
      })
    },

    list: (caller, page) => tokens.listPersonal(caller.user.id, page),

    end: (caller, id, device) => sessions.withLiveCaller(caller, async tx => {
      const ended = await tokens.revokePersonal(tx, caller.user.id, id)
      if (ended === null) return { named: null, refusal: new NotFoundError() }
      await audit.record(
        tx,
        device,
        ...ended.map(
          tokenId => ({ type: 'personal_token_ended' as const, userId: caller.user.id, tokenId, cause: 'ended_by_user' as const }
        ))
      )
      return { named: await tokens.endSessions(tx, caller.user.id, []), outcome: undefined }
    })
  }
}
