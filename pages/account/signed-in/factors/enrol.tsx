import type { AuthError } from 'latchkey-client'
import { Button } from '../../../shared/button.js'
import { TotpField } from '../../../shared/code-field.js'
import { CopyField } from '../../../shared/copy-field.js'
import { digitsIn } from '../../../shared/digits.js'
import { Form, Submit } from '../../../shared/form.js'
import { t } from '../../../shared/i18n.js'
import { QrCode } from './qr-code.js'

/** What an app that shows codes has to know: the secret, and the address (`otpauth:`) with all of it. */
export interface Enrolment { secret: string, uri: string }

interface EnrolProps {
  enrolment: Enrolment
  /** Gets the first code that the app shows. */
  onConfirm (code: string): Promise<AuthError | null>
  /** Null where there is nothing to go back to. */
  onCancel: (() => void) | null
}

/** Shows the secret to the app, and asks for a code of it. */
export function Enrol ({ enrolment: { secret, uri }, onConfirm, onCancel }: EnrolProps) {
  return (
    <>
      <p>{t('enrol.scan')}</p>
      <QrCode text={uri} label={t('enrol.qr')} />
      <CopyField label={t('enrol.secret')} value={secret} />
      <Form label={t('enrol.title')} onSubmit={({ code = '' }) => onConfirm(digitsIn(code))}>
        <TotpField name='code' />
        <Submit>{t('enrol.submit')}</Submit>
        {onCancel !== null && <p class='after'><Button kind='quiet' onClick={onCancel}>{t('page.cancel')}</Button></p>}
      </Form>
    </>
  )
}
