import { afterCommit, type Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import type { Device } from '../shared/device.js'
import type { AuditEvent } from './store.js'

/** More events than this at once get a single line with their number, as when every session of every user ends. */
const maxLines = 20

/** Logs events once they are committed: ids only, without the network addresses that the audit trail keeps. */
export function logEvents (log: Pick<Log, 'info'>, tx: Tx, events: AuditEvent[], device: Device | null): void {
  afterCommit(tx, () => {
    if (events.length > maxLines) return log.info({ events: events.length }, 'many events recorded')
    for (const { type, userId, actorId, sessionId, tokenId, cause, role } of events) {
      log.info(present({ event: type, cause, role, userId, actorId, sessionId, tokenId, reqId: device?.requestId }), 'event recorded')
    }
  })
}

function present (fields: Record<string, string | null | undefined>): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}
