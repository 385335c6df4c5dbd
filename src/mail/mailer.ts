import type { MailKind } from './messages.js'
import type { RenderedMail } from './template.js'

/** A mail ready to be sent. Its Message-ID is made from `id`, so a mail that is sent twice can be recognised. */
export interface OutgoingMail extends RenderedMail { id: string, kind: MailKind, to: string }

/**
 * What became of a mail. `refused`: final. `failed`: concerns this mail alone and may pass. `unreachable`: would happen to every other mail
 * as well.
 */
export type DeliveryResult = { outcome: 'sent' } | { outcome: 'refused' | 'failed' | 'unreachable', failure: string, status: number | null }

/** Sends mails. Never rejects, and never passes on what a server answered: that may repeat the mail. */
export interface Mailer { send (mail: OutgoingMail, signal: AbortSignal): Promise<DeliveryResult> }

/** Counts mails by account and by mailbox, whether or not there is such an account. */
export interface MailLimiter {
  /** Call before a client's request for a mail is accepted. Throws a 429 error past the limit. */
  ask (email: string, address: string): Promise<void>
  /**
   * Call before a mail is sent: false when the mailbox has had its share of this kind. Each kind is counted separately, so nobody can keep
   * one mail from arriving by causing others.
   */
  admit (email: string, kind: MailKind): Promise<boolean>
}
