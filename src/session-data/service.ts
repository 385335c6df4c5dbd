import { randomUUID } from 'node:crypto'
import type { SessionService } from '../sessions/service.js'
import { ConflictError, InvalidTokenError, SessionRequiredError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import { sessionDataHash } from '../tokens/token.js'
import { type JsonObject, requireDocument, textOf } from './document.js'
import type { Kept } from './entry.js'
import { mergePatch } from './merge-patch.js'
import type { SessionDataReader } from './reader.js'
import type { SessionDataStore } from './store.js'

/** Whether a write may replace the data of this version. */
export type IsExpected = (version: string) => boolean

/** How often a session's data may be written: throws RateLimitedError. */
export interface WriteLimiter { admit (sessionId: string): Promise<void> }

/**
 * A JSON object for each session, which its tokens alone read and write, and which ends with it. Writers of one user take turns: none
 * undoes what another has done, unless it replaces everything. All throw SessionRequiredError for callers without a session.
 */
export interface SessionDataService {
  /** `{}` before the first write. Throws InvalidTokenError once the session is over. */
  read (caller: Principal): Promise<Kept>
  /**
   * Once it resolves, every instance reads this. Throws ConflictError where `isExpected` says no, InvalidRequestError, TooLargeError,
   * RateLimitedError.
   */
  replace (caller: Principal, data: unknown, isExpected?: IsExpected): Promise<Kept>
  /** The same for the data after a JSON Merge Patch (RFC 7396). */
  merge (caller: Principal, patch: unknown, isExpected?: IsExpected): Promise<Kept>
}

interface SessionDataDependencies {
  reader: SessionDataReader
  store: Pick<SessionDataStore, 'findLocked' | 'write'>
  sessions: Pick<SessionService, 'withLiveCaller'>
  limiter: WriteLimiter
}

export function createSessionDataService ({ reader, store, sessions, limiter }: SessionDataDependencies): SessionDataService {
  async function read (caller: Principal): Promise<Kept> {
    const kept = await reader.find(sessionIdOf(caller))
    if (kept === null) throw new InvalidTokenError()
    return kept
  }

  async function write (caller: Principal, isExpected: IsExpected, make: (current: Kept) => string): Promise<Kept> {
    await limiter.admit(sessionIdOf(caller))
    return await sessions.withLiveCaller(caller, async (tx, session) => {
      const current = await store.findLocked(tx, session.id)
      // Also where nothing is written: what is refused here may not have reached the cache, and the caller will read it next.
      const named = [sessionDataHash(session.id)]
      if (!isExpected(current.version)) return { named, refusal: new ConflictError() }
      const kept = { version: randomUUID(), text: make(current) }
      await store.write(tx, session.id, kept)
      return { named, outcome: kept }
    }, { through: 'change' })
  }

  return {
    read,

    async replace (caller, data, isExpected = always) {
      const text = textOf(requireDocument(data))
      return await write(caller, isExpected, () => text)
    },

    async merge (caller, patch, isExpected = always) {
      const checked = requireDocument(patch)
      return await write(caller, isExpected, ({ text }) => textOf(mergePatch(JSON.parse(text), checked) as JsonObject))
    }
  }
}

const always: IsExpected = () => true

function sessionIdOf ({ session }: Principal): string {
  if (session === null) throw new SessionRequiredError()
  return session.id
}
