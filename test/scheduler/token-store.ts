import { randomUUID } from 'node:crypto'
import { createTokenLookUp } from '../../src/tokens/lookup-store.js'
import type { TokenStore } from '../../src/tokens/store.js'
import { TokenHash } from '../../src/tokens/token.js'
import type { TokenRow } from './database-state.js'
import { type Engine, of, requirePrimary, type Server, type Transaction } from './postgres.js'
import type { Process } from './scheduler.js'

/** The token store on a simulated database. The look-up is the real one: only its statement is simulated. */
export function createSimulatedTokenStore ({ rules, statement, inTransaction, principalOf }: Engine, process: Process): TokenStore {
  const absent = () => Promise.reject(new Error('the simulated PostgreSQL has no such query'))
  const visible = (tx: Transaction, { data }: Server) => [...(tx.snapshot ?? data.tokens).values(), ...tx.inserted]

  function revoke (tx: Transaction, server: Server, ends: (row: TokenRow) => boolean): void {
    requirePrimary(server)
    for (const { hash } of visible(tx, server).filter(row => row.revokedAt === null && ends(row))) {
      tx.revoked.add(hash)
      tx.changes.push(({ tokens }, committedAt) => Object.assign(tokens.get(hash) ?? {}, { revokedAt: tx.startedAt, committedAt }))
    }
  }

  const { find } = createTokenLookUp({
    prepared: <Row>(_text: string, [hashes, question]: unknown[]) => statement<Row[]>(process, 'find', ({ data, standby }, reply) => {
      const told = standby && rules.lookUpTellsStandby
      const rows = [...String(hashes).matchAll(/[0-9a-f]{64}/g)].flatMap(([hash]) => {
        const row = data.tokens.get(hash)
        return row === undefined ? [] : [{ standby: told, question, hash, json: jsonOf(row, data) }]
      })
      reply((rows.length === 0 ? [{ standby: told, question, hash: null, json: '[]' }] : rows) as Row[])
    }, { kind: 'find' })
  }, null)

  function jsonOf (row: TokenRow, data: Server['data']): string {
    const { token, session, user, amr } = principalOf(row, data)
    return JSON.stringify([
      row.revokedAt !== null, false,
      [token.id, token.kind, token.abilities, session?.createdAt, token.expiresAt],
      [session?.id, null, session?.createdAt, session?.expiresAt, null, amr],
      [user?.id, user?.email, null, user?.name, user?.role, user?.createdAt, false]
    ])
  }

  const store: Partial<TokenStore> = {
    find,
    insert: (tx, { hash, userId, sessionId, expiresAt }) => inTransaction(of(tx), 'INSERT token', (server, reply) => {
      requirePrimary(server)
      const row: TokenRow = {
        id: randomUUID(), hash: hash.hex(), userId: userId ?? '', sessionId: sessionId ?? '',
        expiresAt: expiresAt?.getTime() ?? Number.MAX_SAFE_INTEGER, revokedAt: null, committedAt: null
      }
      of(tx).inserted.push(row)
      of(tx).changes.push(({ tokens }) => { tokens.set(row.hash, { ...row }) })
      reply(row.id)
    }),
    isLive: (tx, id, at) => inTransaction(of(tx), 'isLive', (server, reply) => {
      const { revoked } = of(tx)
      reply(visible(of(tx), server).some(
        row => row.id === id && row.revokedAt === null && !revoked.has(row.hash
      ) && row.expiresAt > at.getTime()))
    }),
    findRow: (tx, hash) => inTransaction(of(tx), 'find row', (server, reply) => {
      const row = visible(of(tx), server).find(row => row.hash === hash.hex())
      if (row === undefined) return reply(null)
      const { id, userId, sessionId, expiresAt, revokedAt } = row
      reply({ id, kind: 'access', userId, sessionId, expiresAt: new Date(expiresAt), revoked: revokedAt !== null })
    }),
    revokeOfSessions: (tx, sessionIds) => inTransaction(of(tx), 'UPDATE tokens', (server, reply) => {
      revoke(of(tx), server, ({ sessionId }) => sessionIds.includes(sessionId))
      reply()
    }),
    revokeOfUsers: (tx, userIds) => inTransaction(of(tx), 'UPDATE tokens', (server, reply) => {
      revoke(of(tx), server, ({ userId }) => userIds.includes(userId))
      reply([])
    }),
    revokedOfUser: (tx, userId, withinSeconds) => inTransaction(of(tx), 'SELECT revoked', (server, reply) => {
      const { revoked, startedAt } = of(tx)
      const recently = ({ revokedAt }: TokenRow) => revokedAt !== null && revokedAt > startedAt - withinSeconds * 1000
      reply(visible(of(tx), server).filter(row => row.userId === userId && (revoked.has(row.hash) || recently(row)))
        .map(({ hash }) => new TokenHash(hash)))
    })
  }
  // What no schedule needs is not simulated.
  return new Proxy(store, { get: (target, name) => Reflect.get(target, name) ?? absent }) as TokenStore
}
