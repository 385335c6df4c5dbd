import { isKey, keys, t } from './i18n.js'

/** An entry of the audit trail. */
export interface AuditEvent {
  id: string
  createdAt: string
  type: string
  userId: string | null
  actorId: string | null
  sessionId: string | null
  tokenId: string | null
  ip: string | null
  userAgent: string | null
  cause: string | null
  role: string | null
  previousEmail: string | null
}

/** What happened, in a few words; the name of the type where this version has no words for it. */
export function titleOf ({ type, role, previousEmail }: Pick<AuditEvent, 'type' | 'role' | 'previousEmail'>): string {
  const key = `event.${type}`
  if (!isKey(key)) return type
  const title = t(key)
  const detail = previousEmail ?? (role === null ? null : t(role === 'admin' ? 'role.admin' : 'role.user'))
  return detail === null ? title : t('event.detail', { title, detail })
}

/** Why it happened; null where there is nothing to say. */
export function causeOf ({ cause }: Pick<AuditEvent, 'cause'>): string | null {
  if (cause === null) return null
  const key = `cause.${cause}`
  return isKey(key) ? t(key) : cause
}

/** Every type that has words, with those, in their order. */
export function eventTypes (): Array<{ type: string, title: string }> {
  return keys('event.').filter(key => key !== 'event.detail').map(key => ({ type: key.replace('event.', ''), title: t(key) }))
    .sort((one, other) => one.title.localeCompare(other.title))
}
