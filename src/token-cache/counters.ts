/** Why a look-up went to the database although there is a cache. */
export type Bypass = 'untrusted' | 'failed' | 'leased' | 'newer' | 'unreadable' | 'moved'

/** What this process has counted of its look-ups in the cache. */
export interface CacheCounters {
  hits: number
  /** Look-ups answered `R`. */
  refusals: number
  misses: number
  fills: number
  bypasses: Record<Bypass, number>
}

export function createCacheCounters (): CacheCounters {
  return { hits: 0, refusals: 0, misses: 0, fills: 0, bypasses: { untrusted: 0, failed: 0, leased: 0, newer: 0, unreadable: 0, moved: 0 } }
}
