import { setImmediate as turn } from 'node:timers/promises'
import type { IdleAttempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { Expired } from '../mail/expired.js'
import type { Clock } from '../shared/clock.js'
import type { Counters } from '../token-cache/counters.js'
import type { DeadStore } from './store.js'

const batchSize = 5_000

/**
 * What a prune deleted, or (dry run) would delete: tokens and sessions that ended before `before`, events older than AUDIT_RETENTION, counts of failures
 * that stand still, expired tokens of mails and registrations that nobody confirmed; `skipped` when another instance is at it.
 */
export interface PruneReport extends Expired { tokens: number, sessions: number, events: number, failures: number, before: string, dryRun: boolean, skipped: boolean }

interface Parts {
  store: DeadStore
  audit: Pick<Audit, 'countOld' | 'deleteOld'>
  accounts: { finishRemovals (): Promise<number> }
  idleAttempts: IdleAttempts
  mail: { count (): Promise<Expired>, delete (limit: number): Promise<Expired> }
  clock: Clock
  counters: Pick<Counters, 'prune'>
  retentionSeconds: number
}

/** Deletes rows that expired or were revoked longer ago than the retention, in ordered batches that hold up nobody; and what deletions of accounts have left. Told to end by `signal`, it does so after the batch under way. */
export type Prune = ReturnType<typeof createPrune>

export function createPrune ({ store, audit, accounts, idleAttempts, mail, clock, counters, retentionSeconds }: Parts) {
  async function run ({ dryRun, signal }: { dryRun: boolean, signal?: AbortSignal | undefined }): Promise<PruneReport> {
    const before = new Date(clock.now() - retentionSeconds * 1000)
    const report: PruneReport = { tokens: 0, sessions: 0, events: 0, failures: 0, mailTokens: 0, registrations: 0, before: before.toISOString(), dryRun, skipped: false }
    if (dryRun) return { ...report, ...await store.count(before), events: await audit.countOld(), failures: await idleAttempts.count(), ...await mail.count() }
    await accounts.finishRemovals()
    do {
      const deleted = await store.delete(before, batchSize)
      if (deleted === null) return { ...report, skipped: true }
      const events = await audit.deleteOld(batchSize)
      const failures = await idleAttempts.delete(batchSize)
      const expired = await mail.delete(batchSize)
      if (deleted.tokens + deleted.sessions + events + failures + expired.mailTokens + expired.registrations === 0) return report
      report.tokens += deleted.tokens
      report.sessions += deleted.sessions
      report.events += events
      report.failures += failures
      report.mailTokens += expired.mailTokens
      report.registrations += expired.registrations
      // The embedded database answers in microtasks: without this nobody else would get a turn.
      await turn()
    } while (signal?.aborted !== true)
    return report
  }

  function note (report: PruneReport, tookMs: number): void {
    const { prune } = counters
    if (report.skipped) {
      prune.skipped++
      return
    }
    prune.done++
    prune.lastDoneAtMs = clock.now()
    prune.lastMs = tookMs
    for (const rows of Object.keys(prune.rows) as Array<keyof typeof prune.rows>) prune.rows[rows] += report[rows]
  }

  return async ({ dryRun, signal }: { dryRun: boolean, signal?: AbortSignal }): Promise<PruneReport> => {
    if (dryRun) return await run({ dryRun })
    const startedAt = clock.monotonic()
    try {
      const report = await run({ dryRun, signal })
      note(report, clock.monotonic() - startedAt)
      return report
    } catch (error) {
      counters.prune.failed++
      throw error
    }
  }
}
