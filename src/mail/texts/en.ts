import type { MailTexts } from '../messages.js'

const once = 'This works once and expires in {duration}.'
const ignore = 'If this was not you, ignore this mail: nothing has changed.'
const notYou = 'If this was not you, reset your password now: that ends every session.'
const contact = 'If you did not expect this, contact the people who run this service.'

export const english: MailTexts = {
  direction: 'ltr',
  facts: { when: 'When', address: 'From', device: 'Device' },
  howTo: 'Enter this token in the app that you use, or send it yourself: {request}',
  about: 'This mail is about {site}',
  mails: {
    reset_password: {
      subject: 'Reset your {app} password',
      intro: ['Someone, probably you, asked to reset the password of your account at {app}.'],
      button: 'Choose a new password',
      closing: [`${once} It ends every session and personal token of your account.`, ignore]
    },
    verify_email: {
      subject: 'Confirm your email address for {app}',
      intro: ['Please confirm that this email address, with which an account at {app} was opened, is yours.'],
      button: 'Confirm this address',
      closing: [once, 'If you have no account there, ignore this mail.']
    },
    confirm_registration: {
      subject: 'Confirm your registration at {app}',
      intro: [
        'Someone, probably you, wants to open an account at {app} with this email address. Confirming it needs the password that was chosen.'
      ],
      button: 'Open the account',
      closing: [once, 'If this was not you, ignore this mail: no account is opened.']
    },
    account_exists: {
      subject: 'You already have an account at {app}',
      intro: ['Someone, probably you, tried to use this email address for an account at {app}. It already has one.'],
      closing: [`Log in to it, or reset its password if you have forgotten it. ${ignore}`]
    },
    confirm_email_change: {
      subject: 'Confirm your new email address for {app}',
      intro: ['Someone, probably you, wants to use this email address for an existing account at {app}.'],
      button: 'Use this address',
      closing: [once, 'If this was not you, ignore this mail.']
    },
    email_change_requested: {
      subject: 'Your email address at {app} is about to change',
      intro: ['Someone, probably you, asked to change the email address of your account at {app}. It changes once the new address is confirmed.'],
      closing: [notYou, 'Resetting your password also cancels this change.']
    },
    email_changed: {
      subject: 'Your email address at {app} was changed',
      intro: ['The email address of your account at {app} was changed. This address no longer belongs to it.'],
      closing: ['If this was not you, contact the people who run this service.']
    },
    password_changed: {
      subject: 'Your {app} password was changed',
      intro: ['The password of your account at {app} was changed, and your other sessions were ended.'],
      closing: [notYou]
    },
    password_reset: {
      subject: 'Your {app} password was reset',
      intro: ['The password of your account at {app} was reset with a mail to this address, and all your sessions were ended.'],
      closing: [notYou]
    },
    new_device: {
      subject: 'New login to your account at {app}',
      intro: ['Someone, probably you, logged in to your account at {app} from a new device or network.'],
      closing: [notYou]
    },
    personal_token_created: {
      subject: 'A personal token was made for your account at {app}',
      intro: ['A personal token was made for your account at {app}. Programs that have it can use your account until it is ended.'],
      closing: ['If that was not you, end it and reset your password: a reset ends every session and every personal token.']
    },
    role_changed: {
      subject: 'Your role at {app} was changed',
      intro: ['An administrator changed the role of your account at {app}, and with it what you may do.'],
      closing: [contact]
    },
    account_disabled: {
      subject: 'Your account at {app} was disabled',
      intro: ['An administrator disabled your account at {app}. Its sessions were ended, and you cannot log in.'],
      closing: [contact]
    },
    account_deleted: {
      subject: 'Your account at {app} was deleted',
      intro: ['Your account at {app} and everything that belongs to it was deleted.'],
      closing: ['If that was not you, contact the people who run this service.']
    },
    login_blocked: {
      subject: 'Logins to your account at {app} are blocked',
      intro: [
        'There were {attempts} wrong passwords in a row for your account at {app}. Logins are refused from now on, ' +
          'except from networks that you have used before.'
      ],
      closing: ['Resetting your password lifts the block, and so can the people who run this service.']
    },
    second_factor_added: {
      subject: 'An authenticator app was added to your account at {app}',
      intro: ['An authenticator app was added to your account at {app}. Logins ask for one of its codes from now on.'],
      closing: ['Keep your recovery codes in a safe place.', 'If this was not you, contact the people who run this service.']
    },
    second_factor_removed: {
      subject: 'Your authenticator app at {app} was removed',
      intro: [
        'The authenticator app of your account at {app} was removed with its recovery codes, and the sessions that they opened were ended.'
      ],
      closing: [notYou]
    },
    second_factor_reset: {
      subject: 'Your second factors at {app} were removed',
      intro: ['An administrator removed the authenticator app and the recovery codes of your account at {app}, and ended your sessions.'],
      closing: [`Log in and add them again. ${contact}`]
    },
    recovery_codes_created: {
      subject: 'New recovery codes were made for your account at {app}',
      intro: ['New recovery codes were made for your account at {app}. The earlier ones no longer work.'],
      closing: [notYou]
    },
    recovery_code_used: {
      subject: 'A recovery code of your account at {app} was used',
      intro: ['One of the recovery codes of your account at {app} was used, in place of your authenticator app. It does not work again.'],
      closing: ['Make new ones before they run out.', 'If this was not you, somebody knows your password too: reset it now.']
    },
    refresh_token_reused: {
      subject: 'A session at {app} was ended for your safety',
      intro: ['A refresh token of your account at {app} was used twice, by a faulty program or by a thief. Its session was ended.'],
      closing: ['Log in again. If you cannot explain this, reset your password.']
    }
  }
}
