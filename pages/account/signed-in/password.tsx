import type { AuthError, AuthSession } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { Checkbox, Field, NewPasswordField } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { client } from '../../shared/session.js'

/** A new password, which ends every other session. */
export function Password ({ auth: { user } }: { auth: AuthSession }) {
  const [done, setDone] = useState(false)

  async function change ({ currentPassword = '', newPassword = '', end }: Values): Promise<AuthError | null> {
    setDone(false)
    const { error } = await client.changePassword({ currentPassword, newPassword, revokePersonalTokens: end !== undefined })
    setDone(error === null)
    return error
  }

  return (
    <>
      <Heading>{t('password.title')}</Heading>
      <p>{t('password.text')}</p>
      <Form onSubmit={change} clears>
        <input type='text' name='username' autocomplete='username' value={user.email} hidden readOnly />
        <Field name='currentPassword' label={t('password.current')} type='password' autocomplete='current-password' />
        <NewPasswordField name='newPassword' label={t('field.newPasswordLabel')} />
        <Checkbox name='end'>{t('password.endTokens')}</Checkbox>
        <Submit>{t('password.submit')}</Submit>
      </Form>
      <p role='status' class='notice'>{done ? t('password.done') : ''}</p>
    </>
  )
}
