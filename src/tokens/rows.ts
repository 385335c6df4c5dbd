import type { TokenHash, TokenKind } from './token.js'

export interface NewToken {
  hash: TokenHash
  kind: TokenKind
  /** Null: a service's. */
  userId: string | null
  sessionId: string | null
  abilities: string[]
  createdAt: Date
  expiresAt: Date | null
  name?: string
}

/** The row of a refresh token. */
export interface RefreshToken {
  id: string
  userId: string
  sessionId: string
  abilities: string[]
  createdAt: Date
  expiresAt: Date
  /** Or its session has ended. */
  revoked: boolean
  consumedAt: Date | null
  successorSecret: Buffer | null
}

export interface PersonalToken {
  id: string
  name: string
  abilities: string[]
  createdAt: Date
  expiresAt: Date | null
  lastUsedAt: Date | null
}

/** The token of a service: Latchkey knows nothing else about a service. */
export interface ServiceToken { id: string, name: string, createdAt: Date, lastUsedAt: Date | null }

/** The row of a token of any kind. */
export interface TokenRow {
  id: string
  kind: TokenKind
  userId: string | null
  sessionId: string | null
  expiresAt: Date | null
  revoked: boolean
}
