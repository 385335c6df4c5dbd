import type { AuthSession } from 'latchkey-client'
import { useEffect, useState } from 'preact/hooks'
import { t } from '../shared/i18n.js'
import { Heading } from '../shared/layout.js'
import { mayReturnAtOnce, returnTo } from '../shared/return-to.js'
import { Link } from '../shared/router.js'
import { Waiting } from '../shared/waiting.js'

/** Whether somebody signed in is only passing through, on the way back to where they came from. */
export function isReturning (path: string): boolean {
  return returnTo !== null && location.search !== '' && /^\/account(\/(sign-in|register|forgotten))?$/.test(path)
}

/** Goes back to the application that asked for the sign-in; where that has just sent them here again, by a click. */
export function Returning ({ auth }: { auth: AuthSession }) {
  const [atOnce] = useState(mayReturnAtOnce)
  useEffect(() => { if (atOnce && returnTo !== null) location.replace(returnTo.href) }, [atOnce])
  if (atOnce || returnTo === null) return <Waiting />
  return (
    <>
      <Heading>{t('returning.title')}</Heading>
      <p>{t('returning.text', { email: auth.user.email, host: returnTo.host })}</p>
      <ul class='links'>
        <li><a href={returnTo.href}>{t('returning.continue', { host: returnTo.host })}</a></li>
        <li><Link to='/account'>{t('page.toAccount')}</Link></li>
      </ul>
    </>
  )
}
