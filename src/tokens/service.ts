import type { Clock } from '../clock.js'
import type { Tx } from '../transaction.js'
import { batchPerTurn } from './batch.js'
import type { TokenCache } from './cache.js'
import type { Counters } from './counters.js'
import type { Principal } from './principal.js'
import type { RevokingTx } from './revocation.js'
import type { Found, NewToken, TokenStore } from './store.js'
import type { PlainToken, TokenHash, TokenMint } from './token.js'

interface Parts {
  mint: TokenMint
  cache: TokenCache
  store: TokenStore
  clock: Clock
  counters: Counters
  cacheTtlSeconds: number
}

/** The rules of a token's life. */
export type TokenService = ReturnType<typeof createTokenService>

export function createTokenService ({ mint, cache, store, clock, counters, cacheTtlSeconds }: Parts) {
  const lookUp = batchPerTurn<Found>(hexes => {
    counters.databaseReads++
    return store.find(hexes, clock.now())
  }, { state: 'unknown' })

  return {
    /** Whose token this is, or null when it is malformed, unknown, expired or revoked. Throws UnavailableError. */
    async authenticate (candidate: string): Promise<Principal | null> {
      const plain = mint.parse(candidate)
      if (plain === null) return null
      const hash = plain.hash()
      const reading = await cache.read(hash)
      if (reading.verdict === 'accept') return reading.principal
      if (reading.verdict === 'refuse') return null
      const found = await lookUp(hash.hex())
      reading.fill?.(found)
      return found.state === 'live' ? found.principal : null
    },

    /**
     * Makes a token within `tx`. `announce` belongs behind the COMMIT: it fills the cache under a lease taken before.
     */
    async issue (tx: Tx, grant: Omit<NewToken, 'hash'>): Promise<{ id: string, plain: PlainToken, announce (principal: Principal): void }> {
      const plain = mint.issue(grant.kind)
      const hash = plain.hash()
      const fill = await cache.prepare(hash)
      const id = await store.insert(tx, { ...grant, hash })
      return { id, plain, announce: principal => fill?.(principal) }
    },

    isLive: (tx: Tx, tokenId: string): Promise<boolean> => store.isLive(tx, tokenId, new Date(clock.now())),

    /** Revokes the tokens of these sessions and names every hash of the user's that a cache may still hold. */
    async endSessions (tx: RevokingTx, userId: string, sessionIds: string[]): Promise<TokenHash[]> {
      await store.revokeOfSessions(tx, sessionIds)
      return await store.revokedOfUser(tx, userId, cacheTtlSeconds + 60)
    }
  }
}
