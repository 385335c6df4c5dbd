import type { AnyPrincipal, AssuranceLevel, AuthenticationMethod } from '../tokens/principal.js'

/** RFC 7662 2.2; times are whole seconds since 1970. Personal tokens have no `sid`; tokens that never expire have no `exp`. */
export type Introspection = { active: false } | {
  active: true
  sub: string
  scope: string
  token_type: 'Bearer'
  exp?: number
  iat: number
  sid?: string
  /** Absent for personal tokens, as `acr` is. */
  amr?: AuthenticationMethod[]
  acr?: AssuranceLevel
  email_verified: boolean
  username?: string
}

/**
 * What a service learns about a token; about a dead one, only that. Service tokens count as inactive: they have no user, and are for
 * this API alone.
 */
export function introspectionOf (principal: AnyPrincipal | null, namesUnverified: boolean): Introspection {
  if (principal === null || principal.user === null) return { active: false }
  const { user, session, token, issuedAtMs, expiresAtMs, amr, acr } = principal
  const verified = user.emailVerifiedAt !== null
  return {
    active: true,
    sub: user.id,
    scope: token.abilities.join(' '),
    token_type: 'Bearer',
    ...expiresAtMs === Number.MAX_SAFE_INTEGER ? {} : { exp: Math.floor(expiresAtMs / 1000) },
    iat: Math.floor(issuedAtMs / 1000),
    ...session === null ? {} : { sid: session.id },
    ...acr === null ? {} : { amr, acr },
    email_verified: verified,
    ...verified || namesUnverified ? { username: user.email } : {}
  }
}
