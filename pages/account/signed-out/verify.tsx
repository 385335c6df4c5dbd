import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { Field } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { forgetLinkToken, useLinkToken } from '../../shared/link-token.js'
import { send } from '../../shared/request.js'
import { Link } from '../../shared/router.js'
import { client, visitor } from '../../shared/session.js'
import { settings } from '../../shared/settings.js'

/** Confirms an address, a new one or a registration, with the token of a mail. By a click: programs open the links in mails too. */
export function Verify () {
  const { token } = useLinkToken()
  const [outcome, setOutcome] = useState<'open' | 'expired' | 'done'>('open')
  // A registration is nobody's account yet; a mail about an address may also come to one that is there.
  const asksPassword = settings.registration === 'confirm' && visitor.get().state !== 'in'

  async function verify ({ token: typed = '', password = '' }: Values): Promise<AuthError | null> {
    const body = { token: token ?? typed.trim(), ...password === '' ? {} : { password } }
    const { error } = await send('POST', 'v1/email/verify', body)
    // Where a password was asked for, that may be what is wrong: it can be typed again.
    if (error?.code === 'AUTH_MAIL_TOKEN_INVALID' && !asksPassword) {
      setOutcome('expired')
      return null
    }
    if (error !== null) return error
    forgetLinkToken()
    setOutcome('done')
    void client.getUser()
    return null
  }

  if (outcome === 'expired') return (
    <>
      <Heading key='expired'>{t('expired.title')}</Heading>
      <p>{t('verify.expired')}</p>
      <ul class='links'><li><Link to='/account'>{t('page.toAccount')}</Link></li></ul>
    </>
  )
  if (outcome === 'done') return (
    <>
      <Heading key='done'>{t('verify.doneTitle')}</Heading>
      <p>{t('verify.done')}</p>
      <ul class='links'><li><Link to='/account'>{t('page.toAccount')}</Link></li></ul>
    </>
  )
  return (
    <>
      <Heading>{t('verify.title')}</Heading>
      <p>{t(asksPassword ? 'verify.introPassword' : 'verify.intro')}</p>
      <Form onSubmit={verify}>
        {token === null && <Field name='token' label={t('field.mailToken')} type='code' autocomplete='one-time-code' />}
        {asksPassword && (
          <Field
            name='password'
            label={t('field.passwordLabel')}
            type='password'
            autocomplete='current-password'
            required={false}
            hint={t('verify.passwordHint')}
          />
        )}
        <Submit>{t('verify.submit')}</Submit>
      </Form>
    </>
  )
}
