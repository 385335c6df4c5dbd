import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { ForbiddenError, NotFoundError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { ServiceToken, TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'

/** Tokens with which other services ask what a token stands for. A service is nothing but its token: a second token is a second service. */
export interface ServiceTokenService {
  /**
   * Makes a service; only the operator's command does. Nothing else grants `introspect`. Names may repeat, so that a new token can replace
   * an old one.
   */
  create (name: string): Promise<{ plain: PlainToken, service: ServiceToken }>
  /** The services whose tokens aren't revoked, newest first. */
  list (): Promise<ServiceToken[]>
  /** Throws NotFoundError when there is no such service, ForbiddenError when the caller is no administrator any more. */
  end (caller: Principal, id: string, device: Device): Promise<void>
}

interface ServiceTokenDependencies {
  tokens: Pick<TokenService, 'issue' | 'listServices' | 'revokeOne'>
  sessions: Pick<SessionService, 'withLiveCaller'>
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  clock: Clock
}

export function createServiceTokenService ({
  tokens,
  sessions,
  audit,
  transactions,
  clock
}: ServiceTokenDependencies): ServiceTokenService {
  return {
    create: name => transactions.transaction(async tx => {
      const createdAt = new Date(clock.now())
      const { id, plain } = await tokens.issue(
        tx,
        { kind: 'service', userId: null, sessionId: null, name, abilities: ['introspect'], createdAt, expiresAt: null }
      )
      await audit.record(tx, null, { type: 'service_created', userId: null, tokenId: id, cause: 'command' })
      return { plain, service: { id, name, createdAt, lastUsedAt: null } }
    }),

    list: () => tokens.listServices(),

    end: (caller, id, device) => sessions.withLiveCaller(caller, async (tx, _session, { user }) => {
      if (user.role !== 'admin') return { named: null, refusal: new ForbiddenError() }
      const revoked = await tokens.revokeOne(tx, id, 'service')
      if (revoked === null) return { named: null, refusal: new NotFoundError() }
      if (revoked.ended) await audit.record(
        tx,
        device,
        { type: 'service_ended', userId: null, actorId: caller.user.id, tokenId: id, cause: 'ended_by_admin' }
      )
      return { named: [revoked.hash], outcome: undefined }
    })
  }
}
