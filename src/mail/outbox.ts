import type { EventType } from '../audit/event.js'
import type { Audit, AuditEvent } from '../audit/service.js'
import { afterCommit, type Tx } from '../database/transaction.js'
import type { Device } from '../shared/device.js'
import { languageOf } from './language.js'
import type { MailKind, MailTokenKind } from './messages.js'
import type { NewMail, OutboxStore } from './outbox-store.js'
import type { MailStore } from './store.js'

/** How many earlier logins decide whether a device is new. */
const loginsCompared = 200

/** Events that the owner of the account is notified of. */
const notices: Partial<Record<EventType, MailKind>> = {
  password_changed: 'password_changed',
  password_reset: 'password_reset',
  refresh_token_reused: 'refresh_token_reused',
  personal_token_created: 'personal_token_created',
  role_changed: 'role_changed',
  user_disabled: 'account_disabled',
  email_change_requested: 'email_change_requested',
  totp_added: 'second_factor_added',
  totp_removed: 'second_factor_removed',
  recovery_codes_created: 'recovery_codes_created',
  recovery_code_used: 'recovery_code_used',
  factors_reset: 'second_factor_reset'
}

/** Tokens that an event cancels. An owner who takes the account back with a new password also cancels what a thief has begun. */
const cancellations: Partial<Record<EventType, MailTokenKind[]>> = {
  password_changed: ['reset', 'email_change'],
  password_reset: ['reset', 'email_change'],
  email_verified: ['verify'],
  email_changed: ['reset', 'verify', 'email_change'],
  user_disabled: ['reset', 'email_change']
}

/** What is cancelled when somebody ends an account's sessions from outside: it may have been begun by whoever had one of them. */
export const cancelledFromOutside: MailTokenKind[] = ['reset', 'email_change']

/** Mails that carry a token and belong to an account, by the kind of the token. */
const carriers: Partial<Record<MailTokenKind, MailKind>> = { verify: 'verify_email', email_change: 'confirm_email_change' }

/** Mails are written to the outbox in the transaction that causes them, and sent later. */
export interface Outbox {
  enqueue (tx: Tx, mail: NewMail): Promise<void>
  /** Deletes the accounts' tokens of these kinds, and the mails that would carry one. */
  cancel (tx: Tx, userIds: string[], tokenKinds: MailTokenKind[]): Promise<void>
  /** The audit trail calls this with every event, so recording an event is what causes the mail. */
  onRecorded (tx: Tx, events: AuditEvent[], device: Device | null): Promise<void>
}

interface OutboxDependencies {
  store: Pick<OutboxStore, 'enqueue'> & Pick<MailStore, 'findRecipient' | 'setLanguage' | 'cancel'>
  audit: Pick<Audit, 'before'>
  /** Two addresses of one network count as the same device. */
  networkOf (address: string): string
  /** Called when a transaction that enqueued a mail is committed. */
  onCommitted (): void
}

export function createOutbox ({ store, audit, networkOf, onCommitted }: OutboxDependencies): Outbox {
  async function enqueue (tx: Tx, mail: NewMail): Promise<void> {
    await store.enqueue(tx, mail)
    afterCommit(tx, onCommitted)
  }

  async function cancel (tx: Tx, userIds: string[], tokenKinds: MailTokenKind[]): Promise<void> {
    await store.cancel(tx, userIds, tokenKinds, tokenKinds.flatMap(kind => carriers[kind] ?? []))
  }

  async function notify (tx: Tx, userId: string, kind: MailKind, eventId: string): Promise<void> {
    const recipient = await store.findRecipient(tx, userId)
    if (recipient !== null) await enqueue(tx, { kind, email: recipient.email, userId, eventId, language: recipient.language })
  }

  async function onRecorded (tx: Tx, events: AuditEvent[], device: Device | null): Promise<void> {
    for (const event of events) {
      const { id, type, userId } = event
      if (userId === null) continue
      const cancelled = cancellations[type]
      if (cancelled !== undefined) await cancel(tx, [userId], cancelled)
      const notice = notices[type]
      if (notice !== undefined) await notify(tx, userId, notice, id)
      if (type === 'login_failed' && event.cause === 'too_many_failures') await notify(tx, userId, 'login_blocked', id)
      if (type === 'login_succeeded') {
        // What is mailed about a stranger's login must not come in the stranger's language.
        if (await isFromNewDevice(tx, event)) await notify(tx, userId, 'new_device', id)
        else await learnLanguage(tx, userId, device)
      }
      if (type === 'registered') {
        await learnLanguage(tx, userId, device)
        const recipient = await store.findRecipient(tx, userId)
        if (recipient?.verified !== false) continue
        const { email, language } = recipient
        await enqueue(tx, { kind: 'verify_email', email, userId, language })
      }
    }
  }

  async function learnLanguage (tx: Tx, userId: string, device: Device | null): Promise<void> {
    const language = languageOf(device)
    if (language !== null) await store.setLanguage(tx, userId, language)
  }

  /** Compares user agent and network. The very first login doesn't count as new. */
  async function isFromNewDevice (tx: Tx, event: AuditEvent): Promise<boolean> {
    const earlier = await audit.before(tx, event, ['registered', 'login_succeeded'], loginsCompared)
    const device = deviceOf(event)
    return earlier.length > 0 && !earlier.some(other => deviceOf(other) === device)
  }

  /** Version numbers are left out, because programs update themselves. */
  function deviceOf ({ ip, userAgent }: AuditEvent): string {
    return `${ip === null ? '' : networkOf(ip)} ${(userAgent ?? '').replace(/[/ ]?\d[\d._]*/g, '')}`
  }

  return { enqueue, cancel, onRecorded }
}
