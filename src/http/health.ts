import { randomUUID } from 'node:crypto'
import { withTimeout } from '../shared/timeout.js'
import { type CacheBackend, noBackend } from '../token-cache/backend.js'

/** What the two probes report; each promise resolves within about a second. */
export interface Health {
  /** Milliseconds of one statement; null when the database can't answer, or is a standby, on which no token is accepted. */
  database (): Promise<number | null>
  /** Milliseconds of a real write, read and delete; null when one failed, or there is no cache. */
  cache (): Promise<number | null>
  cacheState (): string
  hasCache: boolean
  /** Whether this server is shutting down, so that no more requests should be sent to it. */
  readonly leaving: boolean
  leave (): void
}

/** Written out here because the public types of the package depend on this file. */
interface Primary { prepared<Row> (text: string, parameters: []): Promise<Row[]> }

interface HealthPorts {
  database: Primary
  backend: CacheBackend
  epoch: { state (): string }
  keyPrefix: string
}

/** Checks database and cache by using them. */
export function createHealth ({ database, backend, epoch, keyPrefix }: HealthPorts): Health {
  let leaving = false
  return {
    database: () => timed(() => withTimeout(requirePrimary(database), 1_000, () => {})),
    cache: () => timed(() => probe(backend, `${keyPrefix}probe:${randomUUID()}`)),
    cacheState: epoch.state,
    hasCache: backend !== noBackend,
    get leaving () { return leaving },
    leave () { leaving = true }
  }
}

async function timed (work: () => Promise<unknown>): Promise<number | null> {
  const startedAt = performance.now()
  try {
    await work()
    return Math.round((performance.now() - startedAt) * 100) / 100
  } catch {
    return null
  }
}

async function requirePrimary (database: Primary): Promise<void> {
  const [row] = await database.prepared<{ standby: boolean }>('select pg_is_in_recovery() as standby', [])
  if (row?.standby !== false) throw new Error('a standby')
}

/** Writes, reads and deletes a key: a server that only answers PING may be full, or a replica. */
async function probe (backend: CacheBackend, key: string): Promise<void> {
  if (await backend.takeLease(key, 'Lprobe', 1_000) !== null) throw new Error('the key was not free')
  if (await backend.takeLease(key, 'Lprobe', 1_000) !== 'Lprobe') throw new Error('the write was lost')
  await backend.overwrite([key], null)
}
