/** Nobody can say whose token it is: answer 503, never 401. Its fields are those of `UnavailableError` in `latchkey/verifier`. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError'
  readonly code = 'AUTH_UNAVAILABLE'
  readonly statusCode = 503
  /** For Retry-After (RFC 9110 10.2.3). */
  readonly retryAfterSeconds: number
  /** Why, for an operator: without a token. */
  readonly detail: string

  constructor (detail: string, seconds = 1, cause?: unknown) {
    super('The service cannot answer this at the moment: try again soon', cause === undefined ? {} : { cause })
    this.detail = detail
    this.retryAfterSeconds = Number.isFinite(seconds) && seconds > 0 ? seconds : 1
  }
}
