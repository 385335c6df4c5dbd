import { schedule } from 'node-cron'
import { describe } from '../errors.js'
import type { Prune } from '../tokens/prune.js'

interface Parts {
  prune: Prune
  expression: string
  timezone: string
  log: { info (fields: object, text: string): void, error (fields: object, text: string): void }
}

/** Prunes at PRUNE_SCHEDULE in PRUNE_TIMEZONE until `stop`. Every instance wakes up; the database lets one of them work. */
export function schedulePrune ({ prune, expression, timezone, log }: Parts): { stop (): Promise<void> } {
  let running: Promise<void> = Promise.resolve()
  const task = schedule(expression, () => {
    running = prune({ dryRun: false }).then(
      report => log.info(report, report.skipped ? 'another instance is pruning' : 'pruned'),
      error => log.error({ failure: describe(error) }, 'pruning failed; the next run tries again')
    )
    return running
  }, { timezone, noOverlap: true })
  return {
    async stop () {
      await task.destroy()
      await running
    }
  }
}
