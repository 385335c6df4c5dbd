import type { UnavailableError } from './unavailable.js'

const invalid = 'Bearer realm="latchkey", error="invalid_token", error_description="The access token is malformed, unknown, expired or revoked"'

/** What Latchkey's own routes answer to requests that they refuse, by its code: status, title, message, challenge (RFC 6750 3). */
const refusals = {
  AUTH_MISSING_TOKEN: [
    401, 'Unauthorized', 'This route needs an access token: send "Authorization: Bearer lk_…"', 'Bearer realm="latchkey"'
  ],
  AUTH_INVALID_TOKEN: [401, 'Unauthorized', 'The access token is malformed, unknown, expired or revoked', invalid],
  AUTH_CROSS_SITE: [403, 'Forbidden', 'Cookies count only for requests from this origin or one in CORS_ORIGINS', null]
} as const

export type RefusalCode = keyof typeof refusals

/** The refusal of that name. */
export function refuse (code: RefusalCode): Response {
  const [status, error, message, challenge] = refusals[code]
  return respond({ statusCode: status, code, error, message }, challenge === null ? {} : { 'www-authenticate': challenge })
}

/** The refusal of a token that lacks `ability` (RFC 6750 3.1). */
export function refuseAbility (ability: string): Response {
  return respond(
    { statusCode: 403, code: 'AUTH_INSUFFICIENT_ABILITY', error: 'Forbidden', message: `The token lacks the ability ${ability}` },
    { 'www-authenticate': `Bearer realm="latchkey", error="insufficient_scope", scope="${ability}"` }
  )
}

/** The answer while nobody can say. */
export function refuseForNow ({ code, message, retryAfterSeconds }: UnavailableError): Response {
  return respond({ statusCode: 503, code, error: 'Service Unavailable', message }, { 'retry-after': String(retryAfterSeconds) })
}

function respond (body: { statusCode: number, code: string, error: string, message: string }, headers: Record<string, string>): Response {
  return new Response(JSON.stringify(body), {
    status: body.statusCode,
    headers: { ...headers, 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' }
  })
}
