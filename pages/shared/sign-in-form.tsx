import type { AuthError } from 'latchkey-client'
import { EmailField, Field } from './field.js'
import { Form, Submit, type Values } from './form.js'
import { t } from './i18n.js'
import { client } from './session.js'

/** Asks for address and password, and signs in. `email`: the address that is there already. */
export function SignInForm ({ email }: { email?: string }) {
  async function signIn ({ email = '', password = '' }: Values): Promise<AuthError | null> {
    return (await client.signInWithPassword({ email: email.trim(), password })).error
  }

  return (
    <Form onSubmit={signIn}>
      <EmailField {...email === undefined ? {} : { value: email }} />
      <Field name='password' label={t('field.passwordLabel')} type='password' autocomplete='current-password' />
      <Submit>{t('signIn.submit')}</Submit>
    </Form>
  )
}
