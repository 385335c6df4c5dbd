import type { EventType } from '../audit/event.js'
import type { Audit, AuditEvent } from '../audit/service.js'
import { afterCommit, type Tx } from '../database/transaction.js'
import type { MailKind, MailTokenKind } from './messages.js'
import type { MailStore, NewMail } from './store.js'

/** So many earlier logins are looked at to tell whether a device is new. */
const remembered = 200

/** Events that the account's owner is told of. */
const told: Partial<Record<EventType, MailKind>> = {
  password_changed: 'password_changed', password_reset: 'password_reset', refresh_token_reused: 'refresh_token_reused', email_change_requested: 'email_change_requested'
}

/** Tokens that an event makes void. Whoever takes his account back by a new password also ends what a thief has begun. */
const voided: Partial<Record<EventType, MailTokenKind[]>> = {
  password_changed: ['reset', 'email_change'],
  password_reset: ['reset', 'email_change'],
  email_verified: ['verify'],
  email_changed: ['reset', 'verify', 'email_change'],
  user_disabled: ['reset', 'email_change']
}

const carriers: Partial<Record<MailTokenKind, MailKind>> = { verify: 'verify_email', email_change: 'confirm_email_change' }

interface Parts {
  store: Pick<MailStore, 'enqueue' | 'findRecipient' | 'forget'>
  audit: Pick<Audit, 'before'>
  /** Two addresses of one network are the same device's. */
  networkOf (address: string): string
  /** Called when a transaction that enqueued something is committed. */
  onCommitted (): void
}

/** Mails are promised here, in the transaction of what they tell, and leave later. */
export type Outbox = ReturnType<typeof createOutbox>

export function createOutbox ({ store, audit, networkOf, onCommitted }: Parts) {
  async function enqueue (tx: Tx, mail: NewMail): Promise<void> {
    await store.enqueue(tx, mail)
    afterCommit(tx, onCommitted)
  }

  /** Makes tokens of these kinds void, and mails that would bring one. */
  async function forget (tx: Tx, userId: string, tokenKinds: MailTokenKind[]): Promise<void> {
    await store.forget(tx, userId, tokenKinds, tokenKinds.flatMap(kind => carriers[kind] ?? []))
  }

  async function tell (tx: Tx, userId: string, kind: MailKind, eventId: string): Promise<void> {
    const recipient = await store.findRecipient(tx, userId)
    if (recipient !== null) await enqueue(tx, { kind, email: recipient.email, userId, eventId })
  }

  /** By user agent and network; the first login of all is no news. Versions don't count: programs get new ones by themselves. */
  async function isFromNewDevice (tx: Tx, event: AuditEvent): Promise<boolean> {
    const earlier = await audit.before(tx, event, ['registered', 'login_succeeded'], remembered)
    const device = deviceOf(event)
    return earlier.length > 0 && !earlier.some(other => deviceOf(other) === device)
  }

  function deviceOf ({ ip, userAgent }: AuditEvent): string {
    return `${ip === null ? '' : networkOf(ip)} ${(userAgent ?? '').replace(/[/ ]?\d[\d._]*/g, '')}`
  }

  return {
    enqueue,
    forget,

    /** What the audit trail calls with each event: whoever records it causes the mail. */
    async onRecorded (tx: Tx, events: AuditEvent[]): Promise<void> {
      for (const event of events) {
        const { id, type, userId } = event
        if (userId === null) continue
        const kinds = voided[type]
        if (kinds !== undefined) await forget(tx, userId, kinds)
        const kind = told[type]
        if (kind !== undefined) await tell(tx, userId, kind, id)
        if (type === 'login_succeeded' && await isFromNewDevice(tx, event)) await tell(tx, userId, 'new_device', id)
        if (type === 'registered') {
          const recipient = await store.findRecipient(tx, userId)
          if (recipient?.verified === false) await enqueue(tx, { kind: 'verify_email', email: recipient.email, userId })
        }
      }
    }
  }
}
