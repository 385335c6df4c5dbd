import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { EmailField, Field, NewPasswordField } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { withReturn } from '../../shared/return-to.js'
import { Link } from '../../shared/router.js'
import { client } from '../../shared/session.js'
import { settings } from '../../shared/settings.js'

/** A new account; where a mail has to confirm it, what happens next. */
export function Register () {
  const [mailed, setMailed] = useState<string | null>(null)

  async function register ({ name = '', email = '', password = '' }: Values): Promise<AuthError | null> {
    const address = email.trim()
    const { data, error } = await client.signUp({ email: address, password, ...name.trim() === '' ? {} : { name: name.trim() } })
    if (error === null && data === null) setMailed(address)
    return error
  }

  const signIn = <ul class='links'><li><Link to={withReturn('/account/sign-in')}>{t('register.signIn')}</Link></li></ul>
  if (settings.registration === 'closed') return (
    <>
      <Heading>{t('register.title')}</Heading>
      <p>{t('register.closed')}</p>
      {signIn}
    </>
  )
  if (mailed !== null) return (
    <>
      <Heading key='mailed'>{t('mailed.title')}</Heading>
      <p>{t('register.mailed', { email: mailed })}</p>
      <p>{t('mailed.spam')}</p>
      {signIn}
    </>
  )
  return (
    <>
      <Heading>{t('register.title')}</Heading>
      <Form onSubmit={register}>
        <Field name='name' label={t('register.name')} autocomplete='name' required={false} maxLength={200} hint={t('register.nameHint')} />
        <EmailField />
        <NewPasswordField name='password' label={t('field.passwordLabel')} />
        <Submit>{t('register.submit')}</Submit>
      </Form>
      {signIn}
    </>
  )
}
