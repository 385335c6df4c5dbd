import type { AnyPrincipal, Principal as FullPrincipal } from '../tokens/principal.js'

/** Whose token it is: what `request.token` of the plugin is, too. */
export type Principal = FullPrincipal

/**
 * The same as far as `POST /v1/introspections` tells. `email` is there only if its owner has proved it, or the server has
 * INTROSPECT_UNVERIFIED.
 */
export interface IntrospectedPrincipal {
  /** Milliseconds since 1970. */
  issuedAtMs: number
  /** Milliseconds since 1970; the largest safe integer for a token that never expires. */
  expiresAtMs: number
  /** How the session was opened (RFC 8176); empty for a personal token. */
  amr: string[]
  /** Null for a personal token. */
  acr: string | null
  emailVerified: boolean
  token: { abilities: string[] }
  session: { id: string } | null
  user: { id: string, email?: string, emailVerified: boolean }
}

/** What a verifier has done since it was made. */
export interface VerifierStats {
  /** Tokens that were asked about. */
  verified: number
  /** Of these, the ones that the cache answered. */
  hits: number
  /** Statements, or requests, that asked for tokens; one asks for all of an event-loop turn. */
  asked: number
  /** Whether the cache is believed now, and if not, why (as `/health/ready` says); null for a verifier by URL. */
  cache: string | null
}

/** Where a verifier has its answers from. */
export interface Source<P extends Pick<AnyPrincipal, 'token'> | IntrospectedPrincipal> {
  /** Whose token this is; null if it is malformed, unknown, expired or revoked, or a service's. Throws UnavailableError. */
  find (token: string): Promise<P | null>
  /** The data of the token's session; null for what `find` answers with null, and for a token without a session. */
  sessionData (token: string): Promise<Record<string, unknown> | null>
  ready (): Promise<void>
  stats (): VerifierStats
  close (): Promise<void>
}
