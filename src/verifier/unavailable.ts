import { UnavailableError } from '../shared/errors.js'

/** Nobody can say: `detail` and `cause` tell an operator why, without a token; `seconds` go into Retry-After. */
export function unavailable (detail: string, seconds = 1, cause?: unknown): Error {
  const retryAfterSeconds = Number.isFinite(seconds) && seconds > 0 ? seconds : 1
  return Object.assign(new UnavailableError(), { retryAfterSeconds, detail, ...cause === undefined ? {} : { cause } })
}
