import type { MailPurpose } from './token.js'

/** What a mail's token does when it is presented. */
export type MailTokenKind = 'reset' | 'verify' | 'email_change' | 'registration'

/** The token of a mail, how long it works and the label of its button. */
export interface MailTokenUse { kind: MailTokenKind, purpose: MailPurpose, seconds: number, button: string }

/** The text of a mail. `token`: which token the mail carries, and the label of its button. */
export interface MessageText {
  subject: string
  intro: string[]
  token?: MailTokenUse
  closing: string[]
}

const hour = 3_600
const day = 86_400
const notYou = 'If this was not you, reset your password now: that ends every session.'

/** Every mail there is. The outbox stores the names: add new ones, but never change or remove one. */
export const messages = {
  reset_password: {
    subject: 'Reset your password',
    intro: ['Someone, probably you, asked to reset the password of your account.'],
    token: { kind: 'reset', purpose: 'reset', seconds: hour, button: 'Choose a new password' },
    closing: [
      'This works once and expires in one hour. It ends every session and personal token of your account.',
      'If this was not you, ignore this mail: nothing has changed.'
    ]
  },
  verify_email: {
    subject: 'Confirm your email address',
    intro: ['Please confirm that this email address is yours.'],
    token: { kind: 'verify', purpose: 'verify', seconds: day, button: 'Confirm this address' },
    closing: ['This works once and expires in one day.', 'If you have no account here, ignore this mail.']
  },
  confirm_registration: {
    subject: 'Confirm your registration',
    intro: ['Someone, probably you, wants to open an account with this email address. Confirming it needs the password that was chosen.'],
    token: { kind: 'registration', purpose: 'verify', seconds: day, button: 'Open the account' },
    closing: ['This works once and expires in one day.', 'If this was not you, ignore this mail: no account is opened.']
  },
  account_exists: {
    subject: 'You already have an account',
    intro: ['Someone, probably you, tried to use this email address for an account. It already has one.'],
    closing: ['Log in to it, or reset its password if you have forgotten it. If this was not you, ignore this mail: nothing has changed.']
  },
  confirm_email_change: {
    subject: 'Confirm your new email address',
    intro: ['Someone, probably you, wants to use this email address for an existing account.'],
    token: { kind: 'email_change', purpose: 'verify', seconds: day, button: 'Use this address' },
    closing: ['This works once and expires in one day.', 'If this was not you, ignore this mail.']
  },
  email_change_requested: {
    subject: 'Your email address is about to change',
    intro: ['Someone, probably you, asked to change the email address of your account. It changes once the new address is confirmed.'],
    closing: [notYou, 'Resetting your password also cancels this change.']
  },
  email_changed: {
    subject: 'Your email address was changed',
    intro: ['The email address of your account was changed. This address no longer belongs to it.'],
    closing: ['If this was not you, contact the people who run this service.']
  },
  password_changed: {
    subject: 'Your password was changed',
    intro: ['The password of your account was changed, and your other sessions were ended.'],
    closing: [notYou]
  },
  password_reset: {
    subject: 'Your password was reset',
    intro: ['The password of your account was reset with a mail to this address, and all your sessions were ended.'],
    closing: [notYou]
  },
  new_device: {
    subject: 'New login to your account',
    intro: ['Someone, probably you, logged in to your account from a new device or network.'],
    closing: [notYou]
  },
  personal_token_created: {
    subject: 'A personal token was made',
    intro: ['A personal token was made for your account. Programs that have it can use your account until it is ended.'],
    closing: ['If that was not you, end it and reset your password: a reset ends every session and every personal token.']
  },
  role_changed: {
    subject: 'Your role was changed',
    intro: ['An administrator changed the role of your account, and with it what you may do.'],
    closing: ['If you did not expect this, contact the people who run this service.']
  },
  account_disabled: {
    subject: 'Your account was disabled',
    intro: ['An administrator disabled your account. Its sessions were ended, and you cannot log in.'],
    closing: ['If you did not expect this, contact the people who run this service.']
  },
  account_deleted: {
    subject: 'Your account was deleted',
    intro: ['Your account and everything that belongs to it was deleted.'],
    closing: ['If that was not you, contact the people who run this service.']
  },
  login_blocked: {
    subject: 'Logins to your account are blocked',
    intro: [
      'There were 100 wrong passwords in a row for your account. Logins are refused from now on, except from networks that you have used before.'
    ],
    closing: ['Resetting your password lifts the block, and so can the people who run this service.']
  },
  refresh_token_reused: {
    subject: 'A session was ended for your safety',
    intro: ['A refresh token of your account was used twice, by a faulty program or by a thief. Its session was ended.'],
    closing: ['Log in again. If you cannot explain this, reset your password.']
  }
} as const satisfies Record<string, MessageText>

export type MailKind = keyof typeof messages
