import type { MailPurpose } from './token.js'

/** What a mail's token does when it is presented. */
export type MailTokenKind = 'reset' | 'verify' | 'email_change' | 'registration'

/** The token of a mail, and how long it works. */
export interface MailTokenUse { kind: MailTokenKind, purpose: MailPurpose, seconds: number }

const hour = 3_600
const day = 86_400

/** Every mail there is, and the token that it carries. The outbox stores the names: add new ones, but never change or remove one. */
export const mailTokenUses = {
  reset_password: { kind: 'reset', purpose: 'reset', seconds: hour },
  verify_email: { kind: 'verify', purpose: 'verify', seconds: day },
  confirm_registration: { kind: 'registration', purpose: 'verify', seconds: day },
  account_exists: null,
  confirm_email_change: { kind: 'email_change', purpose: 'verify', seconds: day },
  email_change_requested: null,
  email_changed: null,
  password_changed: null,
  password_reset: null,
  new_device: null,
  personal_token_created: null,
  role_changed: null,
  account_disabled: null,
  account_deleted: null,
  login_blocked: null,
  second_factor_added: null,
  second_factor_removed: null,
  second_factor_reset: null,
  recovery_codes_created: null,
  recovery_code_used: null,
  refresh_token_reused: null
} as const satisfies Record<string, MailTokenUse | null>

export type MailKind = keyof typeof mailTokenUses

/** The mails that carry a token. */
export type TokenMailKind = { [kind in MailKind]: typeof mailTokenUses[kind] extends null ? never : kind }[MailKind]

/**
 * The words of a mail. In all of them `{app}` stands for APP_NAME, `{duration}` for how long the token works, and `{attempts}` for how many
 * wrong passwords block an account. `button` is the label of the link.
 */
export type MailText<Kind extends MailKind = MailKind> =
  { subject: string, intro: string[], closing: string[] } & (Kind extends TokenMailKind ? { button: string } : { button?: never })

/** One language: the words of every mail, and those that mails share. */
export interface MailTexts {
  direction: 'ltr' | 'rtl'
  /** When and from where something happened. */
  facts: Record<'when' | 'address' | 'device', string>
  /** What to do with a token where no page is known. `{request}`: what to send. */
  howTo: string
  /** `{site}`: the address of the app, or of the API. */
  about: string
  mails: { [kind in MailKind]: MailText<kind> }
}
