import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { EmailField } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { send } from '../../shared/request.js'
import { withReturn } from '../../shared/return-to.js'
import { Link } from '../../shared/router.js'

/** Asks for a mail that resets the password. Whether there is such an account is not said. */
export function Forgotten () {
  const [mailed, setMailed] = useState<string | null>(null)

  async function ask ({ email = '' }: Values): Promise<AuthError | null> {
    const { error } = await send('POST', 'v1/password/forgot', { email: email.trim() })
    if (error === null) setMailed(email.trim())
    return error
  }

  return (
    <>
      {mailed === null
        ? (
          <>
            <Heading>{t('forgotten.title')}</Heading>
            <p>{t('forgotten.intro')}</p>
            <Form onSubmit={ask}>
              <EmailField />
              <Submit>{t('forgotten.submit')}</Submit>
            </Form>
          </>
        )
        : (
          <>
            <Heading key='mailed'>{t('mailed.title')}</Heading>
            <p>{t('forgotten.mailed', { email: mailed })}</p>
            <p>{t('mailed.spam')}</p>
          </>
        )}
      <ul class='links'><li><Link to={withReturn('/account/sign-in')}>{t('page.toSignIn')}</Link></li></ul>
    </>
  )
}
