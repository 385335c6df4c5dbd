import type { AuthError } from 'latchkey-client'
import { useEffect, useState } from 'preact/hooks'
import { EmailField, Field, NewPasswordField } from '../shared/field.js'
import { Form, Submit, type Values } from '../shared/form.js'
import { t } from '../shared/i18n.js'
import { Heading } from '../shared/layout.js'
import { hideLinkToken, useLinkToken } from '../shared/link-token.js'
import { send } from '../shared/request.js'
import { hrefOf } from '../shared/router.js'

/** Makes the first administrator, with the token of the link that the start of the server prints, and signs them in. */
export function Setup () {
  const { token } = useLinkToken()
  const [isVoid, setVoid] = useState(false)
  // Whoever has it may become the administrator: no list of visited pages keeps it, even if nothing comes of this.
  useEffect(hideLinkToken, [token])

  async function make ({ token: typed = '', name = '', email = '', password = '' }: Values): Promise<AuthError | null> {
    const { error } = await send('POST', 'v1/admin/setup', {
      token: token ?? tokenIn(typed),
      email: email.trim(),
      password,
      ...name.trim() === '' ? {} : { name: name.trim() },
      refresh: true,
      cookies: true
    })
    if (error?.code === 'AUTH_SETUP_TOKEN_INVALID') {
      setVoid(true)
      return null
    }
    // The page begins anew, with the cookies that have just come.
    if (error === null) location.replace(hrefOf('/admin'))
    return error
  }

  if (isVoid) return (
    <>
      <Heading key='void'>{t('expired.title')}</Heading>
      <p>{t('setup.void')}</p>
      <p>{t('setup.again')}</p>
      <ul class='links'><li><a href={hrefOf('/admin')}>{t('page.toSignIn')}</a></li></ul>
    </>
  )
  return (
    <>
      <Heading>{t('setup.title')}</Heading>
      <p>{t('setup.intro')}</p>
      <Form onSubmit={make}>
        {token === null && <Field name='token' label={t('setup.token')} type='code' autocomplete='off' hint={t('setup.tokenHint')} />}
        <Field name='name' label={t('register.name')} autocomplete='name' required={false} maxLength={200} />
        <EmailField />
        <NewPasswordField name='password' label={t('field.passwordLabel')} />
        <Submit>{t('setup.submit')}</Submit>
      </Form>
    </>
  )
}

/** The token in what was pasted, which may be the whole link. */
const tokenIn = (text: string): string => text.trim().replace(/^.*#token=/, '')
