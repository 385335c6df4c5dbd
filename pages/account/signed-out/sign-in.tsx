import { type Key, t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { withReturn } from '../../shared/return-to.js'
import { Link } from '../../shared/router.js'
import { settings } from '../../shared/settings.js'
import { SignInForm } from '../../shared/sign-in-form.js'

/** `notice`: what has just happened. */
export function SignIn ({ notice }: { notice: Key | null }) {
  return (
    <>
      <Heading>{t('signIn.title')}</Heading>
      <p role='status' class='notice'>{notice === null ? '' : t(notice)}</p>
      <SignInForm>
        <ul class='links'>
          <li><Link to={withReturn('/account/forgotten')}>{t('signIn.forgotten')}</Link></li>
          {settings.registration !== 'closed' && <li><Link to={withReturn('/account/register')}>{t('signIn.register')}</Link></li>}
        </ul>
      </SignInForm>
    </>
  )
}
