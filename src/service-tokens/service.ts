import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { ForbiddenError, NotFoundError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { ServiceToken, TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'
import type { UserService } from '../users/service.js'

interface Parts { tokens: TokenService, users: Pick<UserService, 'lock'>, sessions: Pick<SessionService, 'withLiveCaller'>, audit: Pick<Audit, 'record'>, transactions: Transactions, clock: Clock }

/** Tokens of other services, with which they ask whose a token is. A service is its token: another token is another service. */
export type ServiceTokenService = ReturnType<typeof createServiceTokenService>

export function createServiceTokenService ({ tokens, users, sessions, audit, transactions, clock }: Parts) {
  return {
    /** Makes a service, for the operator's command alone: nothing else grants `introspect`. Names may repeat, so that one token can relieve another. */
    async create (name: string): Promise<{ plain: PlainToken, service: ServiceToken }> {
      return await transactions.transaction(async tx => {
        const createdAt = new Date(clock.now())
        const { id, plain } = await tokens.issue(tx, { kind: 'service', userId: null, sessionId: null, name, abilities: ['introspect'], createdAt, expiresAt: null })
        await audit.record(tx, null, { type: 'service_created', userId: null, tokenId: id, cause: 'command' })
        return { plain, service: { id, name, createdAt, lastUsedAt: null } }
      })
    },

    /** Those that nobody has ended, newest first; never the secret. */
    list: (): Promise<ServiceToken[]> => tokens.listServices(),

    /** Throws NotFoundError for what is no service, ForbiddenError for a caller who is no admin any more. */
    end: (caller: Principal, id: string, device: Device): Promise<void> => sessions.withLiveCaller(caller, async tx => {
      const owner = await users.lock(tx, caller.user.id)
      if (owner?.user.role !== 'admin') return { named: null, refusal: new ForbiddenError() }
      const ending = await tokens.revokeOne(tx, id, 'service')
      if (ending === null) return { named: null, refusal: new NotFoundError() }
      if (ending.ended) await audit.record(tx, device, { type: 'service_ended', userId: null, actorId: caller.user.id, tokenId: id, cause: 'ended_by_admin' })
      return { named: [ending.hash], outcome: undefined }
    })
  }
}
