import type { ListedSession, Result, User } from 'latchkey-client'
import type { AuditEvent } from '../shared/events.js'
import { type Part, partOf, queryOf } from '../shared/list.js'
import { send } from '../shared/request.js'
import { client } from '../shared/session.js'

/** How often a page asks anew, in milliseconds. */
export const liveMs = 4_000

/** A user as administrators see them. */
export interface AnyUser extends User { disabledAt: string | null }

export interface Service { id: string, name: string, createdAt: string, lastUsedAt: string | null }

/** Null: not counted, or counting took too long. */
export interface Hour { startsAt: string, signIns: number | null, failures: number | null, registrations: number | null }

/** What GET /v1/admin/overview answers. */
export interface Figures {
  at: string
  hours: Hour[]
  users: { total: number, disabled: number, admins: number } | null
  sessions: { active: number, neverUsed: number } | null
  tokens: Record<string, { active: number, expired: number, revoked: number }> | null
  cache: {
    state: string
    trusted: boolean
    hitRatio: number | null
    lookUps: number
    trustLosses: number
    keys: number | null
    memoryBytes: number | null
  }
  settlements: { pending: number, overdue: number, done: number, longestSeconds: number }
  instance: { startedAt: string }
}

/** What a route for administrators answers. Once it refuses because the role is gone, the pages find that out. */
export async function ask<T> (method: string, path: string, body?: object): Promise<Result<T>> {
  const answer = await send<T>(method, `v1/admin/${path}`, body)
  if (answer.error?.code === 'AUTH_FORBIDDEN') void client.getUser()
  return answer
}

/** A page of a list, whose entries stand under `name`. */
export async function askList<T> (name: string, path: string): Promise<Result<Part<T>>> {
  return partOf(name, await ask<Record<string, T[]> & { nextCursor: string | null }>('GET', path))
}

/** The events of everybody, or of those that `query` asks for. */
export const askEvents = (query: string): Promise<Result<Part<AuditEvent>>> => askList('events', `events?${query}`)

/** Where the user is signed in. */
export const askSessions = (userId: string, cursor: string | null): Promise<Result<Part<ListedSession>>> =>
  askList('sessions', `users/${userId}/sessions${cursor === null ? '' : `?${queryOf({}, cursor)}`}`)

/** The services that may check tokens. */
export const askServices = (cursor: string | null): Promise<Result<Part<Service>>> =>
  askList('services', `services${cursor === null ? '' : `?${queryOf({}, cursor)}`}`)
