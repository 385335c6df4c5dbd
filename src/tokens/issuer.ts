import { afterCommit, type Tx } from '../database/transaction.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { Principal } from './principal.js'
import type { NewToken } from './rows.js'
import type { TokenWriter } from './store.js'
import type { PlainToken, TokenMint } from './token.js'

/** A token just made. */
export interface Issued { id: string, plain: PlainToken }

/** `plain`: the token, if it is derived instead of random; `principalOf`: what a token of that id stands for. */
export interface IssueOptions { plain?: PlainToken | undefined, principalOf?: (id: string) => Principal }

/** Makes tokens. */
export interface TokenIssuer {
  /**
   * Makes a token within `tx`. With `principalOf` it is cached as soon as `tx` is committed, under a lease taken before; without, at its
   * first use.
   */
  issue (tx: Tx, grant: Omit<NewToken, 'hash'>, options?: IssueOptions): Promise<Issued>
}

export interface TokenIssuerNeeds {
  mint: Pick<TokenMint, 'issue'>
  cache: Pick<TokenCache, 'prepare'>
  store: Pick<TokenWriter, 'insert'>
}

export function createTokenIssuer ({ mint, cache, store }: TokenIssuerNeeds): TokenIssuer {
  return {
    async issue (tx, grant, { plain = mint.issue(grant.kind), principalOf } = {}) {
      const hash = plain.hash()
      const fill = principalOf === undefined ? null : await cache.prepare(hash)
      const id = await store.insert(tx, { ...grant, hash })
      if (principalOf !== undefined) afterCommit(tx, () => fill?.(principalOf(id)))
      return { id, plain }
    }
  }
}
