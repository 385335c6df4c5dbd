import type { AuthError, AuthSession } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { useAction } from '../../shared/action.js'
import { Button } from '../../shared/button.js'
import { EmailField, Field } from '../../shared/field.js'
import { Failure, Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading, LanguageChoice } from '../../shared/layout.js'
import { send } from '../../shared/request.js'
import { client } from '../../shared/session.js'

/** Name, address and language. */
export function Profile ({ auth: { user } }: { auth: AuthSession }) {
  const [notice, setNotice] = useState('')

  async function save (values: Values): Promise<AuthError | null> {
    const [name, email] = [values.name?.trim() ?? '', values.email?.trim() ?? '']
    setNotice('')
    const changes = { ...name === (user.name ?? '') ? {} : { name: name === '' ? null : name }, ...email === user.email ? {} : { email } }
    const { error } = await client.updateUser(changes)
    if (error === null) setNotice('email' in changes ? t('profile.mailed', { email }) : t('page.saved'))
    return error
  }

  return (
    <>
      <Heading>{t('profile.title')}</Heading>
      {user.emailVerifiedAt === null && <Unverified email={user.email} />}
      <Form onSubmit={save}>
        <Field name='name' label={t('profile.name')} autocomplete='name' required={false} maxLength={200} value={user.name ?? ''} />
        <EmailField value={user.email} />
        <Submit>{t('page.save')}</Submit>
      </Form>
      <p role='status' class='notice'>{notice}</p>
      <section>
        <h2>{t('profile.languageTitle')}</h2>
        <LanguageChoice label={t('profile.language')} seen />
      </section>
    </>
  )
}

/** Sends the mail again that confirms the address. */
function Unverified ({ email }: { email: string }) {
  const [sent, setSent] = useState(false)
  const ask = useAction(async () => {
    const { error } = await send('POST', 'v1/email/verify/send')
    setSent(error === null)
    return error
  })
  return (
    <div class='remark'>
      <p>{t('profile.unverified', { email })}</p>
      <Button busy={ask.busy} onClick={ask.run}>{t('profile.sendAgain')}</Button>
      <p role='status' class='notice'>{sent ? t('profile.sent') : ''}</p>
      <Failure error={ask.error} />
    </div>
  )
}
