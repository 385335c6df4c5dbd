import type { Credentials } from '../http/credentials.js'

/** The body of an error, as on every other route. */
export interface ErrorBody { statusCode: number, code: string, error: string, message: string, field?: string, reason?: string }

/** An error in the shape of RFC 6749 5.2; the fields of all our errors stay beside it, for clients that read `code`. */
export function toOauthError (failure: ErrorBody, scheme: Credentials['scheme'] | null) {
  // RFC 6749 5.2 allows neither quotes nor backslashes in a description.
  const description = failure.message.replace(/["\\]/g, "'").replace(/[^\x20-\x7E]/g, '?')
  return { ...failure, error: nameOf(failure, scheme), error_description: description }
}

function nameOf ({ statusCode, code }: ErrorBody, scheme: Credentials['scheme'] | null): string {
  switch (code) {
    case 'AUTH_MISSING_TOKEN': return 'invalid_client'
    // RFC 7662 2.3: a Bearer is answered as in RFC 6750, a client as in RFC 6749.
    case 'AUTH_INVALID_TOKEN': return scheme === 'bearer' ? 'invalid_token' : 'invalid_client'
    case 'AUTH_INSUFFICIENT_ABILITY': return 'insufficient_scope'
    case 'AUTH_INVALID_GRANT': return 'invalid_grant'
    case 'AUTH_INVALID_SCOPE': return 'invalid_scope'
    case 'AUTH_UNSUPPORTED_GRANT_TYPE': return 'unsupported_grant_type'
  }
  if (statusCode === 429 || statusCode === 503) return 'temporarily_unavailable'
  return statusCode >= 500 ? 'server_error' : 'invalid_request'
}

/** The challenge of a 401 or 403, which names both schemes (RFC 6749 5.2, RFC 6750 3); null for other statuses. */
export function challengeOf ({ statusCode, code }: ErrorBody, scheme: Credentials['scheme'] | null): string | null {
  if (statusCode === 403) return 'Bearer realm="latchkey", error="insufficient_scope", scope="introspect"'
  if (statusCode !== 401) return null
  const error = code === 'AUTH_INVALID_TOKEN' && scheme === 'bearer' ? ', error="invalid_token"' : ''
  return `Bearer realm="latchkey"${error}, Basic realm="latchkey", charset="UTF-8"`
}
