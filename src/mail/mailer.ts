import type { MailKind } from './messages.js'
import type { Words } from './template.js'

/** A mail ready to leave. The same `id` is the same mail: its Message-ID is made of it. */
export interface Letter extends Words { id: string, kind: MailKind, to: string }

/** What became of a letter: `refused` is final, `failed` is this letter's matter and may pass, `unreachable` would be every other letter's too. */
export type Posted = { outcome: 'sent' } | { outcome: 'refused' | 'failed' | 'unreachable', failure: string, status: number | null }

/** The way out. It never rejects, and never says what a server answered: that may repeat the letter. */
export interface Mailer { post (letter: Letter, signal: AbortSignal): Promise<Posted> }

/** Counts mails by account or address, whether or not there is such an account. */
export interface MailLimiter {
  /** Before a mail is promised to a client; throws a 429 error past the limit. */
  ask (email: string, address: string): Promise<void>
  /** Before a mail leaves: false when that mailbox has had its share of the kind. Other kinds don't use it up: nobody can hide one mail behind others. */
  admit (email: string, kind: MailKind): Promise<boolean>
}
