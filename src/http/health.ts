import { randomUUID } from 'node:crypto'
import { withTimeout } from '../shared/timeout.js'
import { type CacheBackend, noBackend } from '../token-cache/backend.js'

/** What the two probes look at; each promise resolves within a second or so. */
export interface Health {
  /** Milliseconds of one statement, or null when the database can't answer, or is a standby: that refuses every token. */
  database (): Promise<number | null>
  /** Milliseconds of a real write, read and delete; null when it failed, or there is no cache. */
  cache (): Promise<number | null>
  cacheState (): string
  hasCache: boolean
  /** Whether this server is about to end, so that nobody should send it requests any more. */
  readonly leaving: boolean
  leave (): void
}

/** As far as it is needed here: the types of an application that mounts us hang on this file. */
interface Primary { prepared<Row> (text: string, parameters: []): Promise<Row[]> }

interface Parts {
  database: Primary
  backend: CacheBackend
  epoch: { state (): string }
  keyPrefix: string
}

/** Looks at database and cache by using them. */
export function createHealth ({ database, backend, epoch, keyPrefix }: Parts): Health {
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

/** A real write, read and delete: a server that only answers PING may be full, or a replica. */
async function probe (backend: CacheBackend, key: string): Promise<void> {
  if (await backend.takeLease(key, 'Lprobe', 1_000) !== null) throw new Error('the key was not free')
  if (await backend.takeLease(key, 'Lprobe', 1_000) !== 'Lprobe') throw new Error('the write was lost')
  await backend.overwrite([key], null)
}
