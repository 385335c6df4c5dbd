import type { MailPurpose } from './token.js'

/** What presenting a mail's token does. */
export type MailTokenKind = 'reset' | 'verify' | 'email_change' | 'registration'

/** A mail in plain words; `token` where it carries one, and what its button says. */
export interface Kind {
  subject: string
  says: string[]
  token?: { kind: MailTokenKind, purpose: MailPurpose, seconds: number, button: string }
  /** What follows the token, or what else there is to do. */
  adds: string[]
}

const hour = 3_600
const day = 86_400
const notYou = 'If that was not you, reset your password now: it ends every session.'

/** Every mail there is. The names stand in the outbox: they are added to, and never change. */
export const kinds = {
  reset_password: {
    subject: 'Reset your password',
    says: ['Somebody, probably you, asked for a new password for your account.'],
    token: { kind: 'reset', purpose: 'reset', seconds: hour, button: 'Choose a new password' },
    adds: ['This works once, within an hour. It ends every session of the account.', 'If it was not you, ignore this mail: nothing has changed.']
  },
  verify_email: {
    subject: 'Confirm your email address',
    says: ['Please confirm that this address is yours.'],
    token: { kind: 'verify', purpose: 'verify', seconds: day, button: 'Confirm this address' },
    adds: ['This works once, within a day.', 'If you have no account here, ignore this mail.']
  },
  confirm_registration: {
    subject: 'Confirm your registration',
    says: ['Somebody, probably you, wants to open an account with this address. It is made when you confirm, with the password that was chosen then.'],
    token: { kind: 'registration', purpose: 'verify', seconds: day, button: 'Open the account' },
    adds: ['This works once, within a day.', 'If it was not you, do not confirm: somebody else knows the password.']
  },
  account_exists: {
    subject: 'You already have an account',
    says: ['Somebody, probably you, wanted to use this address for an account. It already has one.'],
    adds: ['Log in with it, or reset its password if you have forgotten that. If it was not you, ignore this mail: nothing has changed.']
  },
  confirm_email_change: {
    subject: 'Confirm your new email address',
    says: ['Somebody, probably you, wants to use this address for an account that has another one until now.'],
    token: { kind: 'email_change', purpose: 'verify', seconds: day, button: 'Use this address' },
    adds: ['This works once, within a day.', 'If it was not you, ignore this mail.']
  },
  email_change_requested: {
    subject: 'Your email address is about to change',
    says: ['Somebody, probably you, asked to give your account another email address. It changes when the new address is confirmed.'],
    adds: [notYou, 'That makes the request void, too.']
  },
  email_changed: {
    subject: 'Your email address was changed',
    says: ['Your account has another email address now. This one no longer belongs to it.'],
    adds: ['If that was not you, write to those who run this service.']
  },
  password_changed: { subject: 'Your password was changed', says: ['The password of your account was changed, and its other sessions were ended.'], adds: [notYou] },
  password_reset: { subject: 'Your password was reset', says: ['The password of your account was reset by a mail to this address, and every session was ended.'], adds: [notYou] },
  new_device: { subject: 'A login from a new device', says: ['Somebody, probably you, logged in to your account from a device or a network that it did not know.'], adds: [notYou] },
  refresh_token_reused: {
    subject: 'A session was ended for your safety',
    says: ['A refresh token of your account was used a second time. Either a program did so by mistake, or it was stolen: its session was ended.'],
    adds: ['Log in again. If you cannot explain it, reset your password.']
  }
} as const satisfies Record<string, Kind>

export type MailKind = keyof typeof kinds
