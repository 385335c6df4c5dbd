import type { Clock } from '../shared/clock.js'
import { isUuid } from '../shared/ids.js'
import { batchPerTurn } from '../token-cache/batch.js'
import type { Cache } from '../token-cache/cache.js'
import type { Found } from '../token-cache/found.js'
import { sessionDataHash } from '../tokens/token.js'
import type { Kept, KeptEntry } from './entry.js'
import type { SessionDataLookUp } from './store.js'

/** Reads the data of sessions, as strictly as tokens are read: what a write has been answered with is seen by every later call. */
export interface SessionDataReader {
  /** Null once the session is over. Throws UnavailableError. */
  find (sessionId: string): Promise<Kept | null>
}

interface ReaderNeeds {
  cache: Pick<Cache<KeptEntry>, 'read'>
  store: SessionDataLookUp
  clock: Clock
  /** How long a session may be unused; null: for ever. */
  idleSeconds: number | null
}

export function createSessionDataReader ({ cache, store, clock, idleSeconds }: ReaderNeeds): SessionDataReader {
  const lookUp = batchPerTurn<Found<KeptEntry>>(async ids => {
    const found = await store.find([...new Set(ids)], clock.now())
    return ids.map(id => found.get(id) ?? { state: 'unknown' })
  })

  /** An instance without SESSION_IDLE_TTL fills entries that don't say when their session is over for lack of use. */
  const saysWhenIdle = ({ idleAtMs }: KeptEntry) => idleSeconds === null || idleAtMs !== undefined

  return {
    async find (sessionId) {
      // Another id would fail the statement of everybody who asks in this turn.
      if (!isUuid(sessionId)) return null
      const answer = await cache.read(sessionDataHash(sessionId))
      if (answer.verdict === 'refuse') return null
      if (answer.verdict === 'accept' && saysWhenIdle(answer.value)) return answer.value
      const found = await lookUp(sessionId)
      if (answer.verdict === 'database') answer.fill?.(found)
      return found.state === 'live' ? found.value : null
    }
  }
}
