import type { Database } from '../database/database.js'
import type { Reading } from '../revocation/index.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { CacheCounters } from '../token-cache/counters.js'
import { parseEntry } from './entry.js'
import { createSessionDataReader, type SessionDataReader } from './reader.js'
import { createSessionDataService, type SessionDataService, type WriteLimiter } from './service.js'
import { createSessionDataLookUp, createSessionDataStore } from './store.js'

interface ReadingPorts {
  database: Database
  protocol: Pick<Reading, 'cacheOf'>
  clock: Clock
  counters: CacheCounters
  idleSeconds: number | null
}

interface SessionDataPorts extends ReadingPorts {
  sessions: SessionService
  limiter: WriteLimiter
}

/** The data of sessions. */
export function createSessionData (
  { database, protocol, clock, counters, idleSeconds, sessions, limiter }: SessionDataPorts
): SessionDataService {
  const store = createSessionDataStore(database, idleSeconds)
  const reader = createSessionDataReader({ cache: protocol.cacheOf(parseEntry, counters), store, clock, idleSeconds })
  return createSessionDataService({ reader, store, sessions, limiter })
}

/** The same for a process that only reads. */
export function createSessionDataReading ({ database, protocol, clock, counters, idleSeconds }: ReadingPorts): SessionDataReader {
  const store = createSessionDataLookUp(database, idleSeconds)
  return createSessionDataReader({ cache: protocol.cacheOf(parseEntry, counters), store, clock, idleSeconds })
}
