import { Durations } from '../observability/durations.js'

/** What this process has counted of settlements, and of its trust in the cache. */
export interface RevocationCounters {
  settlements: number
  /** Of these, the ones that another instance settled for us. */
  settledByPeers: number
  /** Settlements of other instances that were carried out here. */
  assists: number
  bumps: number
  registrations: number
  settleMsTotal: number
  settleMsMax: number
  settling: Durations
  trustLosses: number
  /** Commands of requests that failed: each one puts the cache aside until the next poll. */
  failures: number
}

export function createRevocationCounters (): RevocationCounters {
  return {
    settlements: 0, settledByPeers: 0, assists: 0, bumps: 0, registrations: 0,
    settleMsTotal: 0, settleMsMax: 0, settling: new Durations(), trustLosses: 0, failures: 0
  }
}
