import { randomUUID } from 'node:crypto'
import type { Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { cursorOf, positionOf } from '../shared/pagination.js'
import type { EventType, Happening } from './event.js'
import { logEvents } from './event-log.js'
import type { AuditEvent, AuditStore, EventFilter } from './store.js'

export type { AuditEvent }

type EventListener = (tx: Tx, events: AuditEvent[], device: Device | null) => Promise<void>

/** The audit trail: who did what to which account, when and from where. */
export interface Audit {
  /**
   * Records events in the transaction that causes them, so that the trail has them exactly if they happened. `device` is null where no
   * client was involved. The caller holds the row of each account that the events are about.
   */
  record (tx: Tx, device: Device | null, ...happenings: Happening[]): Promise<AuditEvent[]>
  /** The same for a caller that doesn't hold the row: an account deleted in the meantime is left out, like one that never was. */
  recordAttempt (tx: Tx, device: Device, userId: string | null, ...happenings: Array<Omit<Happening, 'userId'>>): Promise<void>
  /** Has `listener` called with all events from now on, within the transaction that records them, and with the device that caused them. */
  onRecorded (listener: EventListener): void
  /** Null when there is no such event, or it has been pruned. */
  find (id: string): Promise<AuditEvent | null>
  /** The newest `limit` events of these types before `event`, of the same account. */
  before (tx: Tx, event: AuditEvent, types: EventType[], limit: number): Promise<AuditEvent[]>
  /**
   * A page of `limit` events, newest first; `cursor` is the previous page's `nextCursor`. Events of a rare type are looked for in some
   * thousands at a time: a page may have fewer of them than `limit`, even none, and still a `nextCursor`.
   */
  list (query: EventFilter & { cursor: string | undefined, limit: number }): Promise<{ events: AuditEvent[], nextCursor: string | null }>
  /** Deletes up to `limit` events of an account that is being deleted; returns how many. */
  deleteOfUser (tx: Tx, userId: string, limit: number): Promise<number>
  /** Counts events older than AUDIT_RETENTION. */
  countOld (): Promise<number>
  /** Deletes up to `limit` of them; returns how many. */
  deleteOld (limit: number): Promise<number>
}

interface AuditDependencies {
  store: AuditStore
  clock: Clock
  /** AUDIT_RETENTION */
  retentionSeconds: number
  log: Pick<Log, 'info'>
}

export function createAudit ({ store, clock, retentionSeconds, log }: AuditDependencies): Audit {
  const listeners: EventListener[] = []
  const oldest = () => new Date(clock.now() - retentionSeconds * 1000)

  async function record (tx: Tx, device: Device | null, ...happenings: Happening[]): Promise<AuditEvent[]> {
    const createdAt = new Date(clock.now())
    const events = happenings.map(({
      type,
      userId,
      actorId = null,
      sessionId = null,
      tokenId = null,
      cause = null,
      role = null,
      previousEmail = null
    }) =>
      ({
        id: randomUUID(),
        createdAt,
        type,
        userId,
        actorId,
        sessionId,
        tokenId,
        ip: device?.address ?? null,
        userAgent: device?.userAgent ?? null,
        cause,
        role,
        previousEmail
      }))
    await store.insert(tx, events)
    logEvents(log, tx, events, device)
    for (const listener of listeners) await listener(tx, events, device)
    return events
  }

  return {
    record,
    onRecorded: listener => { listeners.push(listener) },

    async recordAttempt (tx, device, userId, ...happenings) {
      const exists = await store.holdAccount(tx, userId)
      await record(tx, device, ...happenings.map(happening => ({ ...happening, userId: exists ? userId : null })))
    },

    find: store.find,
    before: store.before,

    async list ({ cursor, limit, ...filter }) {
      const after = cursor === undefined ? null : positionOf(cursor)
      const { rows, reached } = await store.list({ ...filter, after, limit: limit + 1 })
      const events = rows.slice(0, limit)
      const next = rows.length > limit ? events.at(-1) : reached
      return { events, nextCursor: next == null ? null : cursorOf(next) }
    },

    deleteOfUser: store.deleteOfUser,
    countOld: () => store.countBefore(oldest()),
    deleteOld: limit => store.deleteBefore(oldest(), limit)
  }
}
