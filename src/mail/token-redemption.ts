import type { Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import { MailTokenInvalidError } from '../shared/errors.js'
import type { TokenHash } from '../tokens/token.js'
import type { MailStore, MailTokenRow } from './store.js'
import { type MailPurpose, parseMailToken } from './token.js'

/** Finds and redeems the tokens that mails carry. */
export interface TokenRedemption {
  /** The row of a token that is still good, without locking it. Throws MailTokenInvalidError. */
  requireToken (candidate: string, purpose: MailPurpose): Promise<{ hash: TokenHash, row: MailTokenRow }>
  /** Uses the token up; null when somebody else has, or it has expired. */
  redeem (tx: Tx, hash: TokenHash): Promise<MailTokenRow | null>
}

export function createTokenRedemption (store: Pick<MailStore, 'findToken' | 'takeToken'>, clock: Clock): TokenRedemption {
  const isExpired = ({ expiresAt }: MailTokenRow) => expiresAt.getTime() <= clock.now()
  return {
    async requireToken (candidate, purpose) {
      const hash = parseMailToken(candidate, purpose)?.hash()
      const row = hash === undefined ? null : await store.findToken(hash)
      if (hash === undefined || row === null || isExpired(row)) throw new MailTokenInvalidError()
      return { hash, row }
    },

    async redeem (tx, hash) {
      const row = await store.takeToken(tx, hash)
      return row === null || isExpired(row) ? null : row
    }
  }
}
