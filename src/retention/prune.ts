import { setImmediate as nextTurn } from 'node:timers/promises'
import type { IdleAttempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { ExpiredMail, ExpiredMailRows } from '../mail/expired.js'
import type { Clock } from '../shared/clock.js'
import type { OnProgress } from '../shared/progress.js'
import type { PruneCounters } from './counters.js'
import type { RetentionStore } from './store.js'

const batchSize = 5_000

/**
 * What a prune deleted, or a dry run would delete: tokens and sessions that ended before `before`, events older than AUDIT_RETENTION, idle
 * counts of failed logins, expired tokens of mails, registrations that nobody confirmed, and logins that waited for a second factor;
 * `skipped` if another instance is pruning.
 */
export interface PruneReport extends ExpiredMailRows {
  tokens: number
  sessions: number
  events: number
  failures: number
  challenges: number
  before: string
  dryRun: boolean
  skipped: boolean
}

/**
 * Deletes rows that expired or were revoked longer ago than the retention, in ordered batches that hold nobody up, and what interrupted
 * deletions of accounts have left. `signal` ends it after the batch under way.
 */
export type Prune = (options: PruneOptions) => Promise<PruneReport>

interface PruneOptions { dryRun: boolean, signal?: AbortSignal | undefined, onProgress?: OnProgress | undefined }

/** Logins that have waited too long for their second factor. */
export interface ExpiredChallenges { countExpired (): Promise<number>, deleteExpired (limit: number): Promise<number> }

interface PruneNeeds {
  store: RetentionStore
  audit: Pick<Audit, 'countOld' | 'deleteOld'>
  accounts: { finishRemovals (): Promise<number> }
  idleAttempts: IdleAttempts
  mail: ExpiredMail
  challenges: ExpiredChallenges
  clock: Clock
  counters: PruneCounters
  retentionSeconds: number
}

export function createPrune (
  { store, audit, accounts, idleAttempts, mail, challenges, clock, counters, retentionSeconds }: PruneNeeds
): Prune {
  async function run ({ dryRun, signal, onProgress }: PruneOptions): Promise<PruneReport> {
    const before = new Date(clock.now() - retentionSeconds * 1000)
    const report: PruneReport = {
      tokens: 0,
      sessions: 0,
      events: 0,
      failures: 0,
      challenges: 0,
      mailTokens: 0,
      registrations: 0,
      before: before.toISOString(),
      dryRun,
      skipped: false
    }
    if (dryRun) return {
      ...report,
      ...await store.count(before),
      events: await audit.countOld(),
      failures: await idleAttempts.count(),
      challenges: await challenges.countExpired(),
      ...await mail.count()
    }
    await accounts.finishRemovals()
    do {
      const deleted = await store.delete(before, batchSize)
      if (deleted === null) return { ...report, skipped: true }
      const events = await audit.deleteOld(batchSize)
      const failures = await idleAttempts.delete(batchSize)
      const expired = await mail.delete(batchSize)
      const waited = await challenges.deleteExpired(batchSize)
      if (deleted.tokens + deleted.sessions + events + failures + waited + expired.mailTokens + expired.registrations === 0) return report
      report.tokens += deleted.tokens
      report.sessions += deleted.sessions
      report.events += events
      report.failures += failures
      report.challenges += waited
      report.mailTokens += expired.mailTokens
      report.registrations += expired.registrations
      onProgress?.({ step: 'Deleting', count: rowsOf(report), unit: 'rows', fraction: null })
      // The embedded database answers in microtasks: without this, requests would have to wait.
      await nextTurn()
    } while (signal?.aborted !== true)
    return report
  }

  function count (report: PruneReport, tookMs: number): void {
    if (report.skipped) {
      counters.skipped++
      return
    }
    counters.done++
    counters.lastDoneAtMs = clock.now()
    counters.lastMs = tookMs
    for (const rows of Object.keys(counters.rows) as Array<keyof typeof counters.rows>) counters.rows[rows] += report[rows]
  }

  return async options => {
    const { dryRun, signal } = options
    if (dryRun) return await run(options)
    const startedAt = clock.monotonic()
    try {
      const report = await run(options)
      if (!report.skipped && signal?.aborted !== true) await store.reclaim()
      count(report, clock.monotonic() - startedAt)
      return report
    } catch (error) {
      counters.failed++
      throw error
    }
  }
}

const rowsOf = ({ tokens, sessions, events, failures, mailTokens, registrations }: PruneReport): number =>
  tokens + sessions + events + failures + mailTokens + registrations
