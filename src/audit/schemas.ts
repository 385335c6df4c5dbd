import Type from 'typebox'
import { choice, closed, Id, Moment, nullable } from '../http/schemas.js'
import { eventCauses, eventTypes } from './event.js'
import type { AuditEvent } from './service.js'

/** How far a list is shown, in its URL. */
export const Page = Type.Object({
  cursor: Type.Optional(Type.String({ maxLength: 128, description: 'nextCursor of the page before' })),
  limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]?|100)$', default: '50', description: 'Entries on a page, 1 to 100' }))
}, closed)

export const limitOf = ({ limit = '50' }: { limit?: string }): number => Number(limit)

export const EventList = Type.Object({
  events: Type.Array(Type.Object({
    id: Id,
    createdAt: Moment,
    type: choice(eventTypes),
    userId: nullable(Id),
    actorId: nullable(Id),
    sessionId: nullable(Id),
    tokenId: nullable(Id),
    ip: nullable(Type.String()),
    userAgent: nullable(Type.String()),
    cause: nullable(choice(eventCauses))
  })),
  nextCursor: nullable(Type.String())
})

/** A row as the wire shows it. */
export const toEvent = (event: AuditEvent) => ({ ...event, createdAt: event.createdAt.toISOString() })
