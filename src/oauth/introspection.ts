import type { AnyPrincipal } from '../tokens/principal.js'

/** RFC 7662 2.2; times are whole seconds since 1970. A personal token has no `sid`, and without an end no `exp`. */
export type Introspection = { active: false } | {
  active: true
  sub: string
  scope: string
  token_type: 'Bearer'
  exp?: number
  iat: number
  sid?: string
  username: string
}

/** What a service may know of a token; of a dead one nothing but that. A service's own is no user's, and opens nothing but this API: inactive. */
export function introspectionOf (principal: AnyPrincipal | null): Introspection {
  if (principal === null || principal.user === null) return { active: false }
  const { user, session, token, issuedAtMs, expiresAtMs } = principal
  return {
    active: true,
    sub: user.id,
    scope: token.abilities.join(' '),
    token_type: 'Bearer',
    ...expiresAtMs === Number.MAX_SAFE_INTEGER ? {} : { exp: Math.floor(expiresAtMs / 1000) },
    iat: Math.floor(issuedAtMs / 1000),
    ...session === null ? {} : { sid: session.id },
    username: user.email
  }
}
