import type { Principal } from '../tokens/principal.js'
import type { JsonObject } from './document.js'

/** The data of a session, and the version that it has; a copy of one's own. */
export interface SessionData { data: JsonObject, version: string }

/**
 * A session's data for an application's own handlers, which pass `request.token` on. Throws MissingTokenError for null,
 * SessionRequiredError for a personal token, InvalidTokenError once the session is over.
 */
export interface SessionDataAccess {
  read (token: Principal | null): Promise<SessionData>
  /**
   * Once it resolves, every instance reads this; with `version` only if that is still the one. Throws ConflictError, InvalidRequestError,
   * TooLargeError, RateLimitedError.
   */
  replace (token: Principal | null, data: object, version?: string): Promise<SessionData>
  /** The same for the data after a JSON Merge Patch (RFC 7396). */
  merge (token: Principal | null, patch: object, version?: string): Promise<SessionData>
}
