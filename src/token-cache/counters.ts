import { Durations } from '../observability/durations.js'

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
    settling: new Durations(),
    trustLosses: 0,
    /** Commands of requests that failed: each puts the cache aside until the next poll. */
    failures: 0,
    /** What became of refresh tokens; `repeated`: within the grace, `reused`: past it. */
    refreshes: { succeeded: 0, repeated: 0, reused: 0, refused: 0 },
    /** Prunes by this process. */
    prune: { done: 0, skipped: 0, failed: 0, lastDoneAtMs: 0, lastMs: 0, rows: { tokens: 0, sessions: 0, events: 0, failures: 0, mailTokens: 0, registrations: 0 } },
    /** What became of attempts to send a mail. */
    mails: { sent: 0, postponed: 0, refused: 0, abandoned: 0, dropped: 0 }
  }
}
