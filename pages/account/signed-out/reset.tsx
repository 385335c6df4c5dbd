import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { CodeField, proofIn } from '../../shared/code-field.js'
import { Checkbox, Field, NewPasswordField } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { forgetLinkToken, useLinkToken } from '../../shared/link-token.js'
import { send } from '../../shared/request.js'
import { Link } from '../../shared/router.js'
import { recheck } from '../../shared/session.js'

/** Sets a new password, with the token of a mail. */
export function Reset () {
  const { token } = useLinkToken()
  const [outcome, setOutcome] = useState<'open' | 'expired' | 'done'>('open')
  /** The second factors of the account, one of which is needed too; null before that is known. */
  const [factors, setFactors] = useState<string[] | null>(null)

  async function reset ({ token: typed = '', password = '', keep, ...values }: Values): Promise<AuthError | null> {
    const body = {
      token: token ?? typed.trim(),
      password,
      ...keep === undefined ? {} : { keepPersonalTokens: true },
      ...factors === null ? {} : proofIn(values)
    }
    const { error } = await send('POST', 'v1/password/reset', body)
    if (error?.code === 'AUTH_SECOND_FACTOR_REQUIRED') {
      setFactors(error.factors ?? ['totp'])
      return null
    }
    if (error?.code === 'AUTH_MAIL_TOKEN_INVALID') {
      setOutcome('expired')
      return null
    }
    if (error !== null) return error
    forgetLinkToken()
    setOutcome('done')
    // It has ended the session of this browser too, if it was the same account's.
    recheck()
    return null
  }

  if (outcome === 'expired') return (
    <>
      <Heading key='expired'>{t('expired.title')}</Heading>
      <p>{t('expired.text')}</p>
      <ul class='links'><li><Link to='/account/forgotten'>{t('expired.again')}</Link></li></ul>
    </>
  )
  if (outcome === 'done') return (
    <>
      <Heading key='done'>{t('reset.doneTitle')}</Heading>
      <p>{t('reset.done')}</p>
      <ul class='links'><li><Link to='/account/sign-in'>{t('page.toSignIn')}</Link></li></ul>
    </>
  )
  return (
    <>
      <Heading>{t('reset.title')}</Heading>
      <Form onSubmit={reset}>
        {token === null && <Field name='token' label={t('field.mailToken')} type='code' autocomplete='one-time-code' />}
        <NewPasswordField name='password' label={t('field.newPasswordLabel')} />
        <Checkbox name='keep'>{t('reset.keep')}</Checkbox>
        {factors !== null && (
          <div class='remark'>
            <p role='status'>{t('reset.factor')}</p>
            <CodeField factors={factors} />
          </div>
        )}
        <Submit>{t('reset.submit')}</Submit>
      </Form>
    </>
  )
}
