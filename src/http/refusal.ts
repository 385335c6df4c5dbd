import { STATUS_CODES } from 'node:http'
import { type AboutFactors, type AboutField, UnavailableError } from '../shared/errors.js'

/** What an error tells a client: the same on every door, whoever writes it to the wire. */
export interface Refusal {
  status: number
  headers: Record<string, string>
  body: {
    statusCode: number, code: string, error: string, message: string,
    field?: string, reason?: string, factors?: string[], challenge?: string, expiresIn?: number
  }
}

/** An error as it reaches a door; `retryAfterSeconds` is of a 429 or 503 (RFC 9110 10.2.3). */
export type Refused = AboutField & AboutFactors & { statusCode?: number | undefined, code?: string, retryAfterSeconds?: number }

type AboutFactorsBody = Pick<Refusal['body'], 'factors' | 'challenge' | 'expiresIn'>

/** `error` in the shape of all errors; one that no client may see is a 500 without a word. */
export function refusalOf (error: Refused): Refusal {
  const known = error.statusCode !== undefined && (error.statusCode < 500 || error instanceof UnavailableError)
  const status = known ? error.statusCode as number : 500
  return {
    status,
    headers: known ? refusalHeaders(error) : {},
    body: {
      statusCode: status,
      code: known ? error.code ?? 'FST_ERR' : 'AUTH_INTERNAL',
      error: STATUS_CODES[status] ?? 'Error',
      // The message of a 5xx may carry a query, a path or an address.
      message: known ? error.message : 'Something went wrong on our side',
      ...known ? factorsOf(error) : {},
      ...status === 400 && error.field !== undefined && error.reason !== undefined ? { field: error.field, reason: error.reason } : {}
    }
  }
}

function factorsOf ({ factors, challenge, expiresIn }: Refused): AboutFactorsBody {
  return {
    ...factors === undefined ? {} : { factors },
    ...challenge === undefined || expiresIn === undefined ? {} : { challenge, expiresIn }
  }
}

/** The headers of a refusal: the challenge of a 401, how long to wait on 429 and 503. */
export function refusalHeaders ({ statusCode, code, retryAfterSeconds }: Partial<Refused>): Record<string, string> {
  if (statusCode === 401) return { 'www-authenticate': challenge(code) }
  return statusCode === 429 || statusCode === 503 ? { 'retry-after': String(retryAfterSeconds ?? 1) } : {}
}

/** The challenge of a 403 for a token that lacks `ability` (RFC 6750 3.1). */
export function insufficientScope (ability: string): string {
  return `Bearer realm="latchkey", error="insufficient_scope", scope="${ability}"`
}

/** The challenge of a 403 for a session that no second factor helped to open (RFC 9470 3). */
export const insufficientAuthentication = 'Bearer realm="latchkey", error="insufficient_user_authentication", acr_values="aal2"'

/** RFC 6750 3: no error code when the request carried no token. */
function challenge (code: string | undefined): string {
  if (code !== 'AUTH_INVALID_TOKEN' && code !== 'AUTH_SESSION_REPLACED') return 'Bearer realm="latchkey"'
  return 'Bearer realm="latchkey", error="invalid_token", error_description="The access token is malformed, unknown, expired or revoked"'
}
