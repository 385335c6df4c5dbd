import type { AuthSession } from 'latchkey-client'
import { t } from '../shared/i18n.js'
import { Heading } from '../shared/layout.js'

/** For somebody who is signed in and no administrator, or none any more. */
export function NotAdmin ({ auth }: { auth: AuthSession }) {
  return (
    <>
      <Heading key='not-admin'>{t('notAdmin.title')}</Heading>
      <p>{t('notAdmin.text', { email: auth.user.email })}</p>
      <p>{t('notAdmin.instead')}</p>
    </>
  )
}
