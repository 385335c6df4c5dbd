import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import type { TokenStore } from './store.js'

const batchSize = 5_000

/** What a prune deleted, or (dry run) would delete; `skipped` when another instance is at it. */
export interface PruneReport { tokens: number, sessions: number, before: string, dryRun: boolean, skipped: boolean }

/** Deletes rows that expired or were revoked longer ago than the retention, in ordered batches that hold up nobody. */
export type Prune = ReturnType<typeof createPrune>

export function createPrune ({ store, clock, retentionSeconds }: { store: TokenStore, clock: Clock, retentionSeconds: number }) {
  return async ({ dryRun }: { dryRun: boolean }): Promise<PruneReport> => {
    const before = new Date(clock.now() - retentionSeconds * 1000)
    const report: PruneReport = { tokens: 0, sessions: 0, before: before.toISOString(), dryRun, skipped: false }
    if (dryRun) return { ...report, ...await store.countDead(before) }
    while (true) {
      const deleted = await store.deleteDead(before, batchSize)
      if (deleted === null) return { ...report, skipped: true }
      if (deleted.tokens + deleted.sessions === 0) return report
      report.tokens += deleted.tokens
      report.sessions += deleted.sessions
      // The embedded database answers in microtasks: without this nobody else would get a turn.
      await turn()
    }
  }
}
