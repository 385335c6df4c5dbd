/** Why a look-up went to the database although there is a cache. */
export type Bypass = 'untrusted' | 'failed' | 'leased' | 'newer' | 'unreadable' | 'moved'

/** What this process has counted since it started; plain numbers, read by metrics and by the tests. */
export type Counters = ReturnType<typeof createCounters>

export function createCounters () {
  return {
    hits: 0,
    /** Look-ups answered `R`. */
    refusals: 0,
    misses: 0,
    fills: 0,
    bypasses: { untrusted: 0, failed: 0, leased: 0, newer: 0, unreadable: 0, moved: 0 } satisfies Record<Bypass, number>,
    databaseReads: 0,
    settlements: 0,
    settledByPeers: 0,
    assists: 0,
    bumps: 0,
    registrations: 0,
    settleMsTotal: 0,
    settleMsMax: 0,
    trustLosses: 0
  }
}
