import Type from 'typebox'
import { about, closed, Id } from '../http/schemas.js'

const Hint = Type.Optional(Type.String({ description: 'Not needed: the token itself tells' }))

const anyToken = { examples: [{ token: 'lk_…' }] }

export const IntrospectForm = Type.Object({ token: Type.String(), token_type_hint: Hint }, anyToken)
export const RevokeForm = Type.Object({ token: Type.String(), token_type_hint: Hint }, anyToken)
export const TokenForm = Type.Object({
  grant_type: Type.String({ examples: ['refresh_token'] }),
  refresh_token: Type.Optional(Type.String({ description: 'Required' })),
  scope: Type.Optional(Type.String({ description: "Only the refresh token's own: no narrower token is issued" }))
}, { examples: [{ grant_type: 'refresh_token', refresh_token: 'lkr_…' }] })

/** Of an inactive token `active` alone. */
export const Introspected = Type.Object({
  active: Type.Boolean(),
  sub: Type.Optional(Id),
  scope: Type.Optional(Type.String({ description: 'The abilities, separated by spaces' })),
  token_type: Type.Optional(Type.Literal('Bearer')),
  exp: Type.Optional(Type.Integer({ description: 'Seconds since 1970; absent for a token that never expires' })),
  iat: Type.Optional(Type.Integer({ description: 'Seconds since 1970' })),
  sid: Type.Optional(Type.String({ description: 'The session; absent for personal tokens' })),
  amr: Type.Optional(Type.Array(Type.String(), { description: 'How the session was opened (RFC 8176); absent for personal tokens' })),
  acr: Type.Optional(Type.String({ description: 'aal2: a second factor helped to open the session; aal1: none did' })),
  email_verified: Type.Optional(Type.Boolean()),
  username: Type.Optional(Type.String({ description: "The user's email, once it is verified; with INTROSPECT_UNVERIFIED=true always" }))
}, { title: 'Introspection' })

export const IntrospectionsRequest = Type.Object({
  tokens: Type.Array(Type.String(), { minItems: 1, maxItems: 100, description: 'A token that comes twice is answered twice' })
}, { ...closed, examples: [{ tokens: ['lk_…', 'lkp_…'] }] })

export const Introspections = Type.Object({
  results: Type.Array(Introspected, { description: "What `/oauth/introspect` answers about each token, in the request's order" })
})

export const OauthTokens = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Seconds' }),
  refresh_token: Type.Optional(Type.String()),
  scope: Type.Optional(Type.String())
}, { title: 'OauthTokens' })

/** RFC 7009 2.2: the status is the whole answer. */
export const Nothing = Type.Unsafe<''>({ type: 'null', description: 'Revoked on every instance; or there was nothing to revoke' })

const Names = Type.Array(Type.String())

export const Metadata = Type.Object({
  issuer: Type.String(),
  token_endpoint: Type.String(),
  token_endpoint_auth_methods_supported: Names,
  grant_types_supported: Names,
  response_types_supported: Names,
  introspection_endpoint: Type.String(),
  introspection_endpoint_auth_methods_supported: Names,
  revocation_endpoint: Type.String(),
  revocation_endpoint_auth_methods_supported: Names,
  service_documentation: Type.String()
}, { title: 'OauthMetadata' })

const OauthFailure = Type.Object({
  error: Type.String({ description: 'RFC 6749 5.2, RFC 6750 3.1; temporarily_unavailable with 429 and 503, server_error with 500' }),
  error_description: Type.String(),
  statusCode: Type.Integer(),
  code: Type.String(),
  message: Type.String(),
  ...about
}, { title: 'OauthFailure' })

const titles: Record<number, string> = {
  400: 'Refused: see error', 401: 'No caller, or none that is live', 403: 'The caller lacks introspect',
  413: 'Body too large', 415: 'Not a form', 429: 'Too many attempts: see Retry-After', 503: 'Not now: see Retry-After'
}

/** The failures of a route below /oauth, for its OpenAPI. */
export function oauthFailures (...statuses: number[]) {
  return Object.fromEntries(statuses.map(status => [status, { description: titles[status] ?? 'Error', ...OauthFailure }]))
}
