import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { Revocation, Revoked, RevokingTx } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { ForbiddenError, NotFoundError } from '../shared/errors.js'
import type { ListPage, PageQuery } from '../shared/pagination.js'
import type { Principal } from '../tokens/principal.js'
import type { ServiceToken, TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'

/** A living service has the name: commands and administrators could not tell the two apart. */
export class ServiceNameTakenError extends Error {
  override name = 'ServiceNameTakenError'
  constructor (name: string) { super(`There is a service named ${name}: choose another name, or end that one first with services:delete.`) }
}

/** Tokens with which other services ask what a token stands for. A service is nothing but its token: a second token is a second service. */
export interface ServiceTokenService {
  /**
   * Makes a service; only the operator's command does. Nothing else grants `introspect`. Throws ServiceNameTakenError where a living
   * service has the name.
   */
  create (name: string): Promise<{ plain: PlainToken, service: ServiceToken }>
  /** A page of the services whose tokens aren't revoked, newest first. Throws CursorRejectedError. */
  list (page: PageQuery): Promise<ListPage<ServiceToken>>
  /** Throws NotFoundError when there is no such service, ForbiddenError when the caller is no administrator any more. */
  end (caller: Principal, id: string, device: Device): Promise<void>
  /** The same for the operator's command. */
  endByOperator (id: string): Promise<void>
}

interface EndedBy { actorId: string | null, device: Device | null, cause: 'ended_by_admin' | 'command' }

interface ServiceTokenDependencies {
  tokens: Pick<TokenService, 'issue' | 'isServiceNamed' | 'listServices' | 'revokeOne'>
  sessions: Pick<SessionService, 'withLiveCaller'>
  revocation: Pick<Revocation, 'revoke'>
  audit: Pick<Audit, 'record'>
  transactions: Transactions
  clock: Clock
}

export function createServiceTokenService ({
  tokens,
  sessions,
  revocation,
  audit,
  transactions,
  clock
}: ServiceTokenDependencies): ServiceTokenService {
  async function end (tx: RevokingTx, id: string, { actorId, device, cause }: EndedBy): Promise<Revoked<undefined>> {
    const revoked = await tokens.revokeOne(tx, id, 'service')
    if (revoked === null) return { named: null, refusal: new NotFoundError() }
    if (revoked.ended) await audit.record(tx, device, { type: 'service_ended', userId: null, actorId, tokenId: id, cause })
    return { named: [revoked.hash], outcome: undefined }
  }

  return {
    create: name => transactions.transaction(async tx => {
      if (await tokens.isServiceNamed(tx, name)) throw new ServiceNameTakenError(name)
      const createdAt = new Date(clock.now())
      const { id, plain } = await tokens.issue(
        tx,
        { kind: 'service', userId: null, sessionId: null, name, abilities: ['introspect'], createdAt, expiresAt: null }
      )
      await audit.record(tx, null, { type: 'service_created', userId: null, tokenId: id, cause: 'command' })
      return { plain, service: { id, name, createdAt, lastUsedAt: null } }
    }),

    list: page => tokens.listServices(page),

    end: (caller, id, device) => sessions.withLiveCaller(caller, async (tx, _session, { user }) => {
      if (user.role !== 'admin') return { named: null, refusal: new ForbiddenError() }
      return await end(tx, id, { actorId: caller.user.id, device, cause: 'ended_by_admin' })
    }),

    endByOperator: id => revocation.revoke(tx => end(tx, id, { actorId: null, device: null, cause: 'command' }))
  }
}
