import { schedule } from 'node-cron'
import { describe } from '../shared/errors.js'
import type { Prune } from './prune.js'

interface Log {
  info (fields: object, text: string): void
  warn (fields: object, text: string): void
  error (fields: object, text: string): void
}

interface PruneScheduleNeeds {
  prune: Prune
  expression: string
  timezone: string
  log: Log
}

/**
 * Prunes at PRUNE_SCHEDULE in PRUNE_TIMEZONE until `stop`, which ends a prune after its current batch. Every instance starts; a lock in the
 * database lets one of them work.
 */
export function schedulePrune ({ prune, expression, timezone, log }: PruneScheduleNeeds): { stop (): Promise<void> } {
  let running: Promise<void> = Promise.resolve()
  const ending = new AbortController()
  const scheduler = {
    info: (text: string) => log.info({}, text),
    warn: (text: string) => log.warn({}, text),
    error: (failure: string | Error) => log.error({ failure: describe(failure) }, 'the schedule failed'),
    debug () {}
  }
  const task = schedule(expression, () => {
    running = prune({ dryRun: false, signal: ending.signal }).then(
      report => log.info(report, report.skipped ? 'another instance is pruning' : 'pruned'),
      error => log.error({ failure: describe(error) }, 'pruning failed; the next run tries again')
    )
    return running
  // A busy minute must not cost a night's run.
  }, { timezone, noOverlap: true, missedExecutionTolerance: 60_000, logger: scheduler })
  return {
    async stop () {
      ending.abort()
      await task.destroy()
      await running
    }
  }
}
