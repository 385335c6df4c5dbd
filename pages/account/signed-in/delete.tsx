import type { AuthError, AuthSession } from 'latchkey-client'
import { Field } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { send } from '../../shared/request.js'
import { navigate } from '../../shared/router.js'
import { client, sayAfterLeaving } from '../../shared/session.js'

/** Deletes the account, with the password. */
export function Delete ({ auth: { user } }: { auth: AuthSession }) {
  async function remove ({ password = '' }: Values): Promise<AuthError | null> {
    const { error } = await send('DELETE', 'v1/me', { password })
    if (error !== null) return error
    sayAfterLeaving('delete.done')
    await client.signOut()
    navigate('/account', { replace: true })
    return null
  }

  return (
    <>
      <Heading>{t('delete.title')}</Heading>
      <p>{t('delete.text', { email: user.email })}</p>
      <Form onSubmit={remove}>
        <input type='text' name='username' autocomplete='username' value={user.email} hidden readOnly />
        <Field name='password' label={t('field.passwordLabel')} type='password' autocomplete='current-password' />
        <Submit kind='danger'>{t('delete.submit')}</Submit>
      </Form>
    </>
  )
}
