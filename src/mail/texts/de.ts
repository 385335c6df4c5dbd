import type { MailTexts } from '../messages.js'

const once = 'Das geht einmal, und nur {duration} lang.'
const ignore = 'Wenn Sie das nicht waren, brauchen Sie nichts zu tun: Es hat sich nichts geändert.'
const notYou = 'Wenn Sie das nicht waren, setzen Sie jetzt Ihr Passwort zurück: Das beendet jede Sitzung.'
const contact = 'Wenn Sie das nicht erwartet haben, wenden Sie sich an die Betreiber dieses Dienstes.'

export const german: MailTexts = {
  direction: 'ltr',
  facts: { when: 'Wann', address: 'Von', device: 'Gerät' },
  howTo: 'Geben Sie dieses Token in der App ein, die Sie benutzen, oder senden Sie es selbst: {request}',
  about: 'In dieser E-Mail geht es um {site}',
  mails: {
    reset_password: {
      subject: 'Ihr Passwort bei {app} zurücksetzen',
      intro: ['Jemand, vermutlich Sie, möchte das Passwort Ihres Kontos bei {app} zurücksetzen.'],
      button: 'Ein neues Passwort wählen',
      closing: [`${once} Jede Sitzung und jedes persönliche Token Ihres Kontos endet damit.`, ignore]
    },
    verify_email: {
      subject: 'Bestätigen Sie Ihre E-Mail-Adresse für {app}',
      intro: ['Bitte bestätigen Sie, dass diese E-Mail-Adresse, mit der ein Konto bei {app} eröffnet wurde, Ihnen gehört.'],
      button: 'Diese Adresse bestätigen',
      closing: [once, 'Wenn Sie dort kein Konto haben, brauchen Sie nichts zu tun.']
    },
    confirm_registration: {
      subject: 'Bestätigen Sie Ihre Registrierung bei {app}',
      intro: [
        'Jemand, vermutlich Sie, möchte mit dieser E-Mail-Adresse ein Konto bei {app} eröffnen. ' +
          'Zum Bestätigen gehört das Passwort, das dabei gewählt wurde.'
      ],
      button: 'Das Konto eröffnen',
      closing: [once, 'Wenn Sie das nicht waren, brauchen Sie nichts zu tun: Es wird kein Konto eröffnet.']
    },
    account_exists: {
      subject: 'Sie haben schon ein Konto bei {app}',
      intro: ['Jemand, vermutlich Sie, wollte diese E-Mail-Adresse für ein Konto bei {app} benutzen. Sie hat schon eines.'],
      closing: [`Melden Sie sich dort an, oder setzen Sie das Passwort zurück, wenn Sie es vergessen haben. ${ignore}`]
    },
    confirm_email_change: {
      subject: 'Bestätigen Sie Ihre neue E-Mail-Adresse für {app}',
      intro: ['Jemand, vermutlich Sie, möchte diese E-Mail-Adresse für ein bestehendes Konto bei {app} benutzen.'],
      button: 'Diese Adresse benutzen',
      closing: [once, 'Wenn Sie das nicht waren, brauchen Sie nichts zu tun.']
    },
    email_change_requested: {
      subject: 'Ihre E-Mail-Adresse bei {app} soll sich ändern',
      intro: [
        'Jemand, vermutlich Sie, möchte die E-Mail-Adresse Ihres Kontos bei {app} ändern. ' +
          'Sie ändert sich, sobald die neue Adresse bestätigt ist.'
      ],
      closing: [notYou, 'Auch diese Änderung ist damit hinfällig.']
    },
    email_changed: {
      subject: 'Ihre E-Mail-Adresse bei {app} wurde geändert',
      intro: ['Die E-Mail-Adresse Ihres Kontos bei {app} wurde geändert. Diese Adresse gehört nicht mehr dazu.'],
      closing: ['Wenn Sie das nicht waren, wenden Sie sich an die Betreiber dieses Dienstes.']
    },
    password_changed: {
      subject: 'Ihr Passwort bei {app} wurde geändert',
      intro: ['Das Passwort Ihres Kontos bei {app} wurde geändert, und Ihre anderen Sitzungen wurden beendet.'],
      closing: [notYou]
    },
    password_reset: {
      subject: 'Ihr Passwort bei {app} wurde zurückgesetzt',
      intro: [
        'Das Passwort Ihres Kontos bei {app} wurde mit einer E-Mail an diese Adresse zurückgesetzt, ' +
          'und alle Ihre Sitzungen wurden beendet.'
      ],
      closing: [notYou]
    },
    new_device: {
      subject: 'Neue Anmeldung an Ihrem Konto bei {app}',
      intro: ['Jemand, vermutlich Sie, hat sich von einem neuen Gerät oder Netz aus an Ihrem Konto bei {app} angemeldet.'],
      closing: [notYou]
    },
    personal_token_created: {
      subject: 'Ein persönliches Token für Ihr Konto bei {app}',
      intro: [
        'Für Ihr Konto bei {app} wurde ein persönliches Token gemacht. ' +
          'Programme, die es haben, können Ihr Konto benutzen, bis es beendet wird.'
      ],
      closing: [
        'Wenn Sie das nicht waren, beenden Sie es und setzen Sie Ihr Passwort zurück: ' +
          'Das beendet jede Sitzung und jedes persönliche Token.'
      ]
    },
    role_changed: {
      subject: 'Ihre Rolle bei {app} wurde geändert',
      intro: ['Ein Administrator hat die Rolle Ihres Kontos bei {app} geändert, und damit, was Sie dürfen.'],
      closing: [contact]
    },
    account_disabled: {
      subject: 'Ihr Konto bei {app} wurde gesperrt',
      intro: ['Ein Administrator hat Ihr Konto bei {app} gesperrt. Die Sitzungen wurden beendet, und Sie können sich nicht anmelden.'],
      closing: [contact]
    },
    account_deleted: {
      subject: 'Ihr Konto bei {app} wurde gelöscht',
      intro: ['Ihr Konto bei {app} wurde gelöscht, mit allem, was dazugehört.'],
      closing: ['Wenn Sie das nicht waren, wenden Sie sich an die Betreiber dieses Dienstes.']
    },
    login_blocked: {
      subject: 'Anmeldungen an Ihrem Konto bei {app} sind blockiert',
      intro: [
        'Für Ihr Konto bei {app} wurde {attempts}-mal hintereinander ein falsches Passwort eingegeben. ' +
          'Von jetzt an kann sich nur noch anmelden, wer aus einem Netz kommt, das Sie schon benutzt haben.'
      ],
      closing: ['Wenn Sie Ihr Passwort zurücksetzen, endet das; auch die Betreiber dieses Dienstes können es beenden.']
    },
    second_factor_added: {
      subject: 'Ihr Konto bei {app} hat jetzt eine Authenticator-App',
      intro: ['Für Ihr Konto bei {app} wurde eine Authenticator-App eingerichtet. Jede Anmeldung fragt von jetzt an nach einem ihrer Codes.'],
      closing: [
        'Bewahren Sie Ihre Wiederherstellungscodes an einem sicheren Ort auf.',
        'Wenn Sie das nicht waren, wenden Sie sich an die Betreiber dieses Dienstes.'
      ]
    },
    second_factor_removed: {
      subject: 'Ihre Authenticator-App bei {app} wurde entfernt',
      intro: [
        'Die Authenticator-App Ihres Kontos bei {app} wurde mit den Wiederherstellungscodes entfernt. ' +
          'Die Sitzungen, die damit eröffnet wurden, sind beendet.'
      ],
      closing: [notYou]
    },
    second_factor_reset: {
      subject: 'Ihre zweiten Faktoren bei {app} wurden entfernt',
      intro: [
        'Ein Administrator hat die Authenticator-App und die Wiederherstellungscodes Ihres Kontos bei {app} entfernt ' +
          'und Ihre Sitzungen beendet.'
      ],
      closing: [`Melden Sie sich an und richten Sie sie neu ein. ${contact}`]
    },
    recovery_codes_created: {
      subject: 'Neue Wiederherstellungscodes für Ihr Konto bei {app}',
      intro: ['Für Ihr Konto bei {app} gibt es neue Wiederherstellungscodes. Die bisherigen gelten nicht mehr.'],
      closing: [notYou]
    },
    recovery_code_used: {
      subject: 'Ein Wiederherstellungscode bei {app} wurde benutzt',
      intro: ['Ein Wiederherstellungscode Ihres Kontos bei {app} wurde anstelle Ihrer Authenticator-App benutzt. Er gilt kein zweites Mal.'],
      closing: [
        'Lassen Sie sich neue geben, bevor sie ausgehen.',
        'Wenn Sie das nicht waren, kennt jemand auch Ihr Passwort: Setzen Sie es jetzt zurück.'
      ]
    },
    refresh_token_reused: {
      subject: 'Eine Sitzung bei {app} wurde zu Ihrer Sicherheit beendet',
      intro: [
        'Ein Refresh-Token Ihres Kontos bei {app} wurde zweimal benutzt, von einem fehlerhaften Programm oder einem Dieb. ' +
          'Seine Sitzung wurde beendet.'
      ],
      closing: ['Melden Sie sich wieder an. Wenn Sie sich das nicht erklären können, setzen Sie Ihr Passwort zurück.']
    }
  }
}
