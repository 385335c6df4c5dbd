import { randomUUID } from 'node:crypto'
import type { Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { cursorOf, positionOf } from '../shared/pagination.js'
import type { EventType, Happening } from './event.js'
import { logEvents } from './event-log.js'
import type { AuditEvent, AuditStore } from './store.js'

export type { AuditEvent }

interface Parts {
  store: AuditStore
  clock: Clock
  /** What happened longer ago is deleted by pruning. */
  retentionSeconds: number
  log: Pick<Log, 'info'>
}

/** The audit trail: who did what to which account, when and from where. */
export type Audit = ReturnType<typeof createAudit>

export function createAudit ({ store, clock, retentionSeconds, log }: Parts) {
  const listeners: Array<(tx: Tx, events: AuditEvent[]) => Promise<void>> = []
  const oldest = () => new Date(clock.now() - retentionSeconds * 1000)

  /** Notes what `tx` does, within it: the trail has it exactly if it happened. `device` null: no client was there. For who holds the row of an account that it tells of. */
  async function record (tx: Tx, device: Device | null, ...happenings: Happening[]): Promise<AuditEvent[]> {
    const createdAt = new Date(clock.now())
    const events = happenings.map(({ type, userId, actorId = null, sessionId = null, tokenId = null, cause = null }) =>
      ({ id: randomUUID(), createdAt, type, userId, actorId, sessionId, tokenId, ip: device?.address ?? null, userAgent: device?.userAgent ?? null, cause }))
    await store.insert(tx, events)
    logEvents(log, tx, events, device)
    for (const listener of listeners) await listener(tx, events)
    return events
  }

  return {
    record,

    /** From now on `listener` is called with all events, within the transaction that records them. */
    onRecorded (listener: (tx: Tx, events: AuditEvent[]) => Promise<void>): void {
      listeners.push(listener)
    },

    /** The same for who doesn't hold the account's row: of one that was deleted meanwhile the trail has no more than of one that never was. */
    async recordAttempt (tx: Tx, device: Device, userId: string | null, ...happenings: Array<Omit<Happening, 'userId'>>): Promise<void> {
      const stays = await store.accountStays(tx, userId)
      await record(tx, device, ...happenings.map(happening => ({ ...happening, userId: stays ? userId : null })))
    },

    /** Null when it was never there, or has been pruned. */
    find: (id: string): Promise<AuditEvent | null> => store.find(id),

    /** The account's newest `limit` events of these types before `event`. */
    before: (tx: Tx, event: AuditEvent, types: EventType[], limit: number): Promise<AuditEvent[]> => store.before(tx, event, types, limit),

    /** A page of `limit` events, newest first, of one account or of all; `cursor` is what the page before returned. */
    async list ({ userId, cursor, limit }: { userId: string | null, cursor: string | undefined, limit: number }): Promise<{ events: AuditEvent[], nextCursor: string | null }> {
      const found = await store.list({ userId, after: cursor === undefined ? null : positionOf(cursor), limit: limit + 1 })
      const events = found.slice(0, limit)
      const last = events.at(-1)
      return { events, nextCursor: found.length > limit && last !== undefined ? cursorOf(last) : null }
    },

    /** Deletes up to `limit` events of an account that is being deleted; returns how many. */
    forget: (tx: Tx, userId: string, limit: number): Promise<number> => store.deleteOfUser(tx, userId, limit),
    countOld: (): Promise<number> => store.countBefore(oldest()),
    deleteOld: (limit: number): Promise<number> => store.deleteBefore(oldest(), limit)
  }
}
