import { CursorRejectedError } from '../shared/errors.js'
import { cursorOf, positionOf } from '../shared/pagination.js'
import { normaliseEmail } from '../users/email.js'
import type { AdminStore, ListedUser } from './store.js'

/** `cursor` is the `nextCursor` of the page before. */
export interface UserListQuery { email?: string | undefined, cursor: string | undefined, limit: number }

export interface UserPage { users: ListedUser[], nextCursor: string | null }

/** Lists users: those whose address begins with `email`, by address; without it all, newest first. Throws CursorRejectedError. */
export function createUserList (store: Pick<AdminStore, 'newest' | 'byEmail'>): (query: UserListQuery) => Promise<UserPage> {
  return async ({ email = '', cursor, limit }) => {
    const prefix = normaliseEmail(email)
    const found = prefix === ''
      ? await store.newest({ after: cursor === undefined ? null : positionOf(cursor), limit: limit + 1 })
      : await store.byEmail({ prefix, after: cursor === undefined ? null : addressOf(cursor, prefix), limit: limit + 1 })
    const users = found.slice(0, limit)
    const last = found.length > limit ? users.at(-1) : undefined
    if (last === undefined) return { users, nextCursor: null }
    return {
      users,
      nextCursor: prefix === ''
        ? cursorOf({ id: last.id, createdAt: new Date(last.createdAt) })
        : Buffer.from(last.email).toString('base64url')
    }
  }
}

/** The address at which the page before ended. Throws CursorRejectedError for what no list of `prefix` gave. */
function addressOf (cursor: string, prefix: string): string {
  const email = Buffer.from(cursor, 'base64url').toString()
  if (!email.startsWith(prefix) || /[\p{Cc}\p{Cs}\ufffd]/u.test(email)) throw new CursorRejectedError()
  return email
}
