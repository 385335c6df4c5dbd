import type { AuthSession } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { useAction } from './action.js'
import { Button } from './button.js'
import { Failure } from './form.js'
import { type Key, t } from './i18n.js'
import { Layout } from './layout.js'
import { Link } from './router.js'
import { client } from './session.js'
import { SignedIn } from './signed-in.js'
import { StepUp } from './step-up.js'

interface FrameProps {
  auth: AuthSession
  ended: boolean
  /** The accessible name of the menu. */
  label: string
  /** The pages by their paths, in the order of the menu. */
  menu: Array<[path: string, title: Key]>
  /** The path, in the menu, of the page that is shown. */
  current: string
  /** A link to other pages. */
  beside?: ComponentChildren
  children: ComponentChildren
}

/** What is around each page of somebody who is signed in. */
export function Frame ({ auth, ended, label, menu, current, beside, children }: FrameProps) {
  const signOut = useAction(async () => (await client.signOut()).error)
  const nav = (
    <nav aria-label={label} hidden={ended}>
      <ul>
        {menu.map(([to, title]) => <li key={to}><Link to={to} current={to === current}>{t(title)}</Link></li>)}
        {beside !== undefined && <li>{beside}</li>}
        <li><Button kind='quiet' busy={signOut.busy} onClick={signOut.run}>{t('account.signOut')}</Button></li>
      </ul>
      <Failure error={signOut.error} />
    </nav>
  )
  return (
    <Layout nav={nav}>
      <SignedIn auth={auth} ended={ended}>{children}</SignedIn>
      <StepUp email={auth.user.email} />
    </Layout>
  )
}
