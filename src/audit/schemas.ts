import Type from 'typebox'
import { choice, Id, Moment, nullable, Role } from '../http/schemas.js'
import { eventCauses, eventTypes } from './event.js'
import type { AuditEvent } from './service.js'

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
    cause: nullable(choice(eventCauses)),
    role: nullable(Role),
    previousEmail: nullable(Type.String())
  }, { title: 'Event' })),
  nextCursor: nullable(Type.String())
})

/** An event as the wire shows it. */
export const toEvent = (event: AuditEvent) => ({ ...event, createdAt: event.createdAt.toISOString() })
