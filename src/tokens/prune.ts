import { setImmediate as turn } from 'node:timers/promises'
import type { IdleAttempts } from '../attempts/service.js'
import type { Audit } from '../audit/service.js'
import type { Clock } from '../clock.js'
import type { Expired } from '../mail/expired.js'
import type { TokenStore } from './store.js'

const batchSize = 5_000

/**
 * What a prune deleted, or (dry run) would delete: tokens and sessions that ended before `before`, events older than AUDIT_RETENTION, counts of failures
 * that stand still, expired tokens of mails and registrations that nobody confirmed; `skipped` when another instance is at it.
 */
export interface PruneReport extends Expired { tokens: number, sessions: number, events: number, failures: number, before: string, dryRun: boolean, skipped: boolean }

interface Parts {
  store: TokenStore
  audit: Pick<Audit, 'countOld' | 'deleteOld'>
  accounts: { finishRemovals (): Promise<number> }
  idleAttempts: IdleAttempts
  mail: { count (): Promise<Expired>, delete (limit: number): Promise<Expired> }
  clock: Clock
  retentionSeconds: number
}

/** Deletes rows that expired or were revoked longer ago than the retention, in ordered batches that hold up nobody; and what deletions of accounts have left. */
export type Prune = ReturnType<typeof createPrune>

export function createPrune ({ store, audit, accounts, idleAttempts, mail, clock, retentionSeconds }: Parts) {
  return async ({ dryRun }: { dryRun: boolean }): Promise<PruneReport> => {
    const before = new Date(clock.now() - retentionSeconds * 1000)
    const report: PruneReport = { tokens: 0, sessions: 0, events: 0, failures: 0, mailTokens: 0, registrations: 0, before: before.toISOString(), dryRun, skipped: false }
    if (dryRun) return { ...report, ...await store.countDead(before), events: await audit.countOld(), failures: await idleAttempts.count(), ...await mail.count() }
    await accounts.finishRemovals()
    while (true) {
      const deleted = await store.deleteDead(before, batchSize)
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
    }
  }
}
