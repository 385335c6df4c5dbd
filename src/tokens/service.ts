import { randomBytes } from 'node:crypto'
import { afterCommit, type Tx } from '../database/transaction.js'
import type { RevokingTx } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import { batchPerTurn } from '../token-cache/batch.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { Counters } from '../token-cache/counters.js'
import type { LastUse } from './last-use.js'
import type { Found } from './lookup-store.js'
import type { AnyPrincipal, Principal } from './principal.js'
import type { NewToken, PersonalToken, RefreshToken, ServiceToken, TokenRow, TokenStore } from './store.js'
import type { PlainToken, TokenHash, TokenKind, TokenMint } from './token.js'

export type { PersonalToken, RefreshToken, ServiceToken, TokenRow } from './store.js'

/** A token just made. */
export interface Issued { id: string, plain: PlainToken }

/** `plain`: the token, where it is derived instead of random; `principalOf`: what a token of that id stands for. */
interface IssueOptions { plain?: PlainToken | undefined, principalOf?: (id: string) => Principal }

interface Parts {
  lastUse: Pick<LastUse, 'note'>
  mint: TokenMint
  cache: TokenCache
  store: TokenStore
  clock: Clock
  counters: Counters
  cacheTtlSeconds: number
}

/** The rules of a token's life. */
export type TokenService = ReturnType<typeof createTokenService>

export function createTokenService ({ lastUse, mint, cache, store, clock, counters, cacheTtlSeconds }: Parts) {
  const lookUp = batchPerTurn<Found>(async hexes => {
    counters.databaseReads++
    const found = await store.find([...new Set(hexes)], clock.now())
    return hexes.map(hex => found.get(hex) ?? { state: 'unknown' })
  })

  async function askDatabase (hash: TokenHash, fill: ((found: Found) => void) | null): Promise<AnyPrincipal | null> {
    const found = await lookUp(hash.hex())
    fill?.(found)
    return found.state === 'live' ? found.principal : null
  }

  return {
    /** Whose token this is, or null when it is malformed, unknown, expired or revoked. Throws UnavailableError. */
    async authenticate (candidate: string): Promise<AnyPrincipal | null> {
      const plain = mint.parse(candidate)
      if (plain === null || plain.kind === 'refresh') return null
      const hash = plain.hash()
      const reading = await cache.read(hash)
      if (reading.verdict === 'refuse') return null
      const principal = reading.verdict === 'accept' ? reading.principal : await askDatabase(hash, reading.fill)
      if (principal !== null) lastUse.note(principal)
      return principal
    },

    /** The token that `candidate` has the shape and the check of, or null: told without I/O. */
    parse: (candidate: string): PlainToken | null => mint.parse(candidate),

    /**
     * Makes a token within `tx`. With `principalOf` it is cached as soon as `tx` is committed, under a lease taken before; without, at its first use.
     */
    async issue (tx: Tx, grant: Omit<NewToken, 'hash'>, { plain = mint.issue(grant.kind), principalOf }: IssueOptions = {}): Promise<Issued> {
      const hash = plain.hash()
      const fill = principalOf === undefined ? null : await cache.prepare(hash)
      const id = await store.insert(tx, { ...grant, hash })
      if (principalOf !== undefined) afterCommit(tx, () => fill?.(principalOf(id)))
      return { id, plain }
    },

    /** The refresh token that `candidate` names, with its row; null when there is none, or it is another kind of token. */
    async findRefresh (candidate: string): Promise<{ plain: PlainToken, row: RefreshToken } | null> {
      const plain = mint.parse(candidate)
      if (plain?.kind !== 'refresh') return null
      const row = await store.findRefresh(plain.hash())
      return row === null ? null : { plain, row }
    },

    /** Its row again, in a transaction that has taken the owner's. */
    requireRefresh: async (tx: Tx, plain: PlainToken): Promise<RefreshToken | null> => store.findRefresh(plain.hash(), tx),

    /** Marks a refresh token as consumed and returns what its successors are derived from. */
    async consume (tx: Tx, id: string): Promise<Buffer> {
      const secret = randomBytes(32)
      await store.consume(tx, id, new Date(clock.now()), secret)
      return secret
    },

    /** The one pair of successors of `presented` under `secret`. */
    successors: (presented: PlainToken, secret: Buffer): Record<'access' | 'refresh', PlainToken> =>
      ({ access: mint.derive('access', presented, secret), refresh: mint.derive('refresh', presented, secret) }),

    listPersonal: (userId: string): Promise<PersonalToken[]> => store.listPersonal(userId, new Date(clock.now())),
    revokePersonal: (tx: RevokingTx, userId: string, id: string | null): Promise<string[] | null> => store.revokePersonal(tx, userId, id),

    /** The token's row, whatever its kind and whatever became of it; null for none. */
    findRow: (tx: Tx, plain: PlainToken): Promise<TokenRow | null> => store.findRow(tx, plain.hash()),
    listServices: (): Promise<ServiceToken[]> => store.listServices(),
    /** Revokes one token. Returns its hash, to be named, and whether it was not revoked before; null when there never was such a one. */
    revokeOne: (tx: RevokingTx, id: string, kind: TokenKind): Promise<{ hash: TokenHash, ended: boolean } | null> => store.revokeOne(tx, id, kind),

    isLive: (tx: Tx, tokenId: string): Promise<boolean> => store.isLive(tx, tokenId, new Date(clock.now())),

    /** Names every hash of the user's that a cache may hold, of live tokens too: for what changes the user himself. */
    namedOfUser: (tx: RevokingTx, userId: string): Promise<TokenHash[]> => store.cacheableOfUser(tx, userId, cacheTtlSeconds + 60),

    revokeOfUsers: (tx: RevokingTx, userIds: string[]): Promise<Array<{ id: string, userId: string }>> => store.revokeOfUsers(tx, userIds),

    revokeServices: (tx: RevokingTx): Promise<string[]> => store.revokeServices(tx),

    /** Deletes up to `limit` rows of an account whose tokens are dead everywhere. */
    forget: (tx: Tx, userId: string, limit: number): Promise<number> => store.deleteOfUser(tx, userId, limit),

    /** Revokes the tokens of these sessions and names every hash of the user's that a cache may still hold. */
    async endSessions (tx: RevokingTx, userId: string, sessionIds: string[]): Promise<TokenHash[]> {
      await store.revokeOfSessions(tx, sessionIds)
      return await store.revokedOfUser(tx, userId, cacheTtlSeconds + 60)
    }
  }
}
