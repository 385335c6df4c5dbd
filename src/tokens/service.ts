import { createTokenIssuer, type TokenIssuer, type TokenIssuerNeeds } from './issuer.js'
import { createTokenReader, type TokenReader, type TokenReaderNeeds } from './reader.js'
import { createRefreshTokens, type RefreshTokens, type RefreshTokensNeeds } from './refresh-tokens.js'
import { createTokenRevoker, type ProgramTokens, type TokenRevoker, type TokenRevokerNeeds } from './revoker.js'
import type { TokenStore } from './store.js'
import type { TokenMint } from './token.js'

export type { Issued } from './issuer.js'
export type { Period } from './program-store.js'
export type { TokenReader } from './reader.js'
export type { PersonalToken, RefreshToken, ServiceToken, TokenRow } from './rows.js'

/** A token's whole life. Features take the part that they need: TokenReader, TokenIssuer, RefreshTokens, TokenRevoker, ProgramTokens. */
export interface TokenService extends TokenReader, TokenIssuer, RefreshTokens, TokenRevoker, ProgramTokens {}

type TokenServiceNeeds = Omit<TokenReaderNeeds & TokenIssuerNeeds & RefreshTokensNeeds & TokenRevokerNeeds, 'mint' | 'store'> & {
  mint: TokenMint
  store: TokenStore
}

export function createTokenService (needs: TokenServiceNeeds): TokenService {
  return { ...createTokenReader(needs), ...createTokenIssuer(needs), ...createRefreshTokens(needs), ...createTokenRevoker(needs) }
}
