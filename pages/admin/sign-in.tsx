import { type Key, t } from '../shared/i18n.js'
import { Heading } from '../shared/layout.js'
import { hrefOf } from '../shared/router.js'
import { SignInForm } from '../shared/sign-in-form.js'

/** `notice`: what has just happened. */
export function SignIn ({ notice }: { notice: Key | null }) {
  return (
    <>
      <Heading>{t('signIn.title')}</Heading>
      <p role='status' class='notice'>{notice === null ? '' : t(notice)}</p>
      <SignInForm>
        <ul class='links'><li><a href={hrefOf('/account/forgotten')}>{t('signIn.forgotten')}</a></li></ul>
      </SignInForm>
    </>
  )
}
