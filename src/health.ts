import { randomUUID } from 'node:crypto'
import { inTime } from './in-time.js'
import { type CacheLink, noLink } from './tokens/link.js'

/** What the two probes look at; each promise resolves within a second or so. */
export interface Health {
  /** Milliseconds of one statement, or null when the database can't answer. */
  database (): Promise<number | null>
  /** Milliseconds of a real write, read and delete; null when it failed, or there is no cache. */
  cache (): Promise<number | null>
  cacheState (): string
  hasCache: boolean
}

interface Parts {
  database: { prepared (text: string, parameters: []): Promise<unknown> }
  link: CacheLink
  epoch: { state (): string }
  keyPrefix: string
}

/** Looks at database and cache by using them. */
export function createHealth ({ database, link, epoch, keyPrefix }: Parts): Health {
  return {
    database: () => timed(() => inTime(database.prepared('select 1', []), 1_000, () => {})),
    cache: () => timed(() => probe(link, `${keyPrefix}probe:${randomUUID()}`)),
    cacheState: epoch.state,
    hasCache: link !== noLink
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

/** A real write, read and delete: a server that only answers PING may be full, or a replica. */
async function probe (link: CacheLink, key: string): Promise<void> {
  if (await link.takeLease(key, 'Lprobe', 1_000) !== null) throw new Error('the key was not free')
  if (await link.takeLease(key, 'Lprobe', 1_000) !== 'Lprobe') throw new Error('the write was lost')
  await link.overwrite([key], null)
}
