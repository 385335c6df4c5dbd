import type { Credentials } from '../http/credentials.js'

/** The body of an error, as on every other route. */
export interface ErrorBody { statusCode: number, code: string, error: string, message: string }

/** `failure` as RFC 6749 5.2 has it. What an error says everywhere else stays beside it, so that who reads `code` can go on doing so. */
export function toOauthError (failure: ErrorBody, scheme: Credentials['scheme'] | null) {
  // RFC 6749 5.2 leaves neither quotes nor backslashes to a description.
  const description = failure.message.replace(/["\\]/g, "'").replace(/[^\x20-\x7E]/g, '?')
  return { error: nameOf(failure, scheme), error_description: description, statusCode: failure.statusCode, code: failure.code, message: failure.message }
}

function nameOf ({ statusCode, code }: ErrorBody, scheme: Credentials['scheme'] | null): string {
  switch (code) {
    case 'AUTH_MISSING_TOKEN': return 'invalid_client'
    // RFC 7662 2.3: who authenticates as a bearer is answered as RFC 6750 does, who does as a client as RFC 6749 does.
    case 'AUTH_INVALID_TOKEN': return scheme === 'bearer' ? 'invalid_token' : 'invalid_client'
    case 'AUTH_INSUFFICIENT_ABILITY': return 'insufficient_scope'
    case 'AUTH_INVALID_GRANT': return 'invalid_grant'
    case 'AUTH_INVALID_SCOPE': return 'invalid_scope'
    case 'AUTH_UNSUPPORTED_GRANT_TYPE': return 'unsupported_grant_type'
  }
  if (statusCode === 429 || statusCode === 503) return 'temporarily_unavailable'
  return statusCode >= 500 ? 'server_error' : 'invalid_request'
}

/** What a 401 or 403 asks for: either scheme will do (RFC 6749 5.2, RFC 6750 3). Null where nothing is asked for. */
export function challengeOf ({ statusCode, code }: ErrorBody, scheme: Credentials['scheme'] | null): string | null {
  if (statusCode === 403) return 'Bearer realm="latchkey", error="insufficient_scope", scope="introspect"'
  if (statusCode !== 401) return null
  const error = code === 'AUTH_INVALID_TOKEN' && scheme === 'bearer' ? ', error="invalid_token"' : ''
  return `Bearer realm="latchkey"${error}, Basic realm="latchkey", charset="UTF-8"`
}
