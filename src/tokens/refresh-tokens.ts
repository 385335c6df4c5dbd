import { randomBytes } from 'node:crypto'
import type { Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { RefreshTokenStore } from './refresh-store.js'
import type { RefreshToken } from './rows.js'
import type { PlainToken, TokenMint } from './token.js'

/** Finds refresh tokens, and derives their successors. */
export interface RefreshTokens {
  /** The refresh token that `candidate` is, with its row; null if there is none, or it is another kind of token. */
  findRefresh (candidate: string): Promise<{ plain: PlainToken, row: RefreshToken } | null>
  /** Its row again, within a transaction that has locked the owner's row; null if it is gone. */
  findRefreshLocked (tx: Tx, plain: PlainToken): Promise<RefreshToken | null>
  /** Marks a refresh token as consumed and returns the secret from which its successors are derived. */
  consume (tx: Tx, id: string): Promise<Buffer>
  /** The only pair of successors of `presented` under `secret`. */
  successors (presented: PlainToken, secret: Buffer): Record<'access' | 'refresh', PlainToken>
}

export interface RefreshTokensNeeds {
  mint: Pick<TokenMint, 'parse' | 'derive'>
  store: Pick<RefreshTokenStore, 'findRefresh' | 'consume'>
  clock: Clock
}

export function createRefreshTokens ({ mint, store, clock }: RefreshTokensNeeds): RefreshTokens {
  return {
    async findRefresh (candidate) {
      const plain = mint.parse(candidate)
      if (plain?.kind !== 'refresh') return null
      const row = await store.findRefresh(plain.hash())
      return row === null ? null : { plain, row }
    },

    findRefreshLocked: (tx, plain) => store.findRefresh(plain.hash(), tx),

    async consume (tx, id) {
      const secret = randomBytes(32)
      await store.consume(tx, id, new Date(clock.now()), secret)
      return secret
    },

    successors: (
      presented,
      secret
    ) => ({ access: mint.derive('access', presented, secret), refresh: mint.derive('refresh', presented, secret) })
  }
}
