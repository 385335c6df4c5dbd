import type { AuthSession } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { Button } from './button.js'
import { Dialog } from './dialog.js'
import { t } from './i18n.js'
import { leave } from './session.js'
import { SignInForm } from './sign-in-form.js'

/**
 * What only the user may see. Once the session has `ended` it is hidden, but stays: after another sign-in of the same user it goes on where
 * it was, with all that was typed.
 */
export function SignedIn ({ auth, ended, children }: { auth: AuthSession, ended: boolean, children: ComponentChildren }) {
  return (
    <>
      <div key={auth.user.id} hidden={ended}>{children}</div>
      {ended && (
        <Dialog title={t('ended.title')} onClose={leave}>
          <p>{t('ended.text')}</p>
          <SignInForm email={auth.user.email} />
          <p class='after'><Button onClick={leave}>{t('ended.leave')}</Button></p>
        </Dialog>
      )}
    </>
  )
}
