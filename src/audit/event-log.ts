import type { Transactions, Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import type { Device } from '../shared/device.js'
import type { AuditEvent } from './service.js'

/** Past so many events of one transaction, as when everybody is logged out, a line counts them. */
const mostLines = 20

/** Tells the log what the audit trail has got, once it is committed: by ids, and without the addresses that the trail keeps. */
export function createAnnouncer (log: Log) {
  const recorded = new WeakMap<Tx, object[]>()

  function tell (lines: object[]): void {
    if (lines.length > mostLines) log.info({ events: lines.length }, 'many events recorded')
    else for (const line of lines) log.info(line, 'event recorded')
  }

  return {
    onRecorded (tx: Tx, events: AuditEvent[], device: Device | null): void {
      const lines = events.map(({ type, userId, actorId, sessionId, tokenId, cause }) => filled({ event: type, cause, userId, actorId, sessionId, tokenId, reqId: device?.requestId }))
      recorded.set(tx, [...recorded.get(tx) ?? [], ...lines])
    },

    /** `transactions`, after whose COMMIT the events in them are told. */
    watch: (transactions: Transactions): Transactions => ({
      async transaction<T> (work: (tx: Tx) => Promise<T>, limitMs?: number): Promise<T> {
        let lines: object[] = []
        const outcome = await transactions.transaction(async tx => {
          const done = await work(tx)
          lines = recorded.get(tx) ?? []
          return done
        }, limitMs)
        tell(lines)
        return outcome
      }
    })
  }
}

function filled (fields: Record<string, string | null | undefined>): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}
