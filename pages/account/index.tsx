import type { AuthSession } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { Frame } from '../shared/frame.js'
import { type Key, t } from '../shared/i18n.js'
import { Layout, start } from '../shared/layout.js'
import { useLinkToken } from '../shared/link-token.js'
import { Nowhere } from '../shared/nowhere.js'
import { useOwed } from '../shared/owed.js'
import { hrefOf, usePath } from '../shared/router.js'
import { visitor } from '../shared/session.js'
import { useStore } from '../shared/store.js'
import { Waiting } from '../shared/waiting.js'
import { isReturning, Returning } from './returning.js'
import { Delete } from './signed-in/delete.js'
import { Devices } from './signed-in/devices.js'
import { Factors } from './signed-in/factors/factors.js'
import { Password } from './signed-in/password.js'
import { Profile } from './signed-in/profile.js'
import { Tokens } from './signed-in/tokens.js'
import { Trail } from './signed-in/trail.js'
import { Forgotten } from './signed-out/forgotten.js'
import { Register } from './signed-out/register.js'
import { Reset } from './signed-out/reset.js'
import { SignIn } from './signed-out/sign-in.js'
import { Verify } from './signed-out/verify.js'

/** What links in mails open, whoever is signed in. */
const fromMail: Record<string, () => ComponentChildren> = { '/account/reset': Reset, '/account/verify': Verify }

/** For somebody who isn't signed in; every other path asks for the sign-in, and is shown after it. */
const signedOut: Record<string, () => ComponentChildren> = { '/account/register': Register, '/account/forgotten': Forgotten }

const signedIn: Record<string, (props: { auth: AuthSession }) => ComponentChildren> = {
  '/account': Profile,
  '/account/password': Password,
  '/account/factors': Factors,
  '/account/devices': Devices,
  '/account/tokens': Tokens,
  '/account/trail': Trail,
  '/account/delete': Delete
}

const menu: Array<[path: string, title: Key]> = [
  ['/account', 'profile.title'],
  ['/account/password', 'password.title'],
  ['/account/factors', 'factors.title'],
  ['/account/devices', 'devices.title'],
  ['/account/tokens', 'tokens.title'],
  ['/account/trail', 'trail.title'],
  ['/account/delete', 'delete.title']
]

/** /account: the flows of somebody who isn't signed in, and everything about one's own account. */
function Account () {
  const known = useStore(visitor)
  const path = usePath()
  const link = useLinkToken()
  if (known.state === 'unknown') return <Layout narrow><Waiting problem={known.problem} /></Layout>
  const Mailed = fromMail[path]
  if (Mailed !== undefined) return <Layout narrow><Mailed key={link.number} /></Layout>
  if (known.state === 'out') {
    const Page = signedOut[path]
    return <Layout narrow>{Page === undefined ? <SignIn notice={known.notice} /> : <Page />}</Layout>
  }
  return <Own auth={known.auth} ended={known.state === 'ended'} path={path} />
}

/** The pages of somebody who is signed in; the one for second factors alone, while they owe one. */
function Own ({ auth, ended, path }: { auth: AuthSession, ended: boolean, path: string }) {
  const { owed, problem, reload } = useOwed(auth)
  if (owed === null) return <Layout narrow><Waiting problem={problem} /></Layout>
  if (!owed && isReturning(path)) return <Layout narrow><Returning auth={auth} /></Layout>
  // What was there before the sign-in leads to the account.
  const shown = /^\/account\/(sign-in|register|forgotten|profile)$/.test(path) ? '/account' : path
  const Page = signedIn[shown]
  return (
    <Frame
      auth={auth}
      ended={ended}
      label={t('account.menu')}
      menu={owed ? [] : menu}
      current={shown}
      {...auth.user.role === 'admin' && !owed ? { beside: <a href={hrefOf('/admin')}>{t('admin.title')}</a> } : {}}
    >
      {owed
        ? <Factors key='owed' auth={auth} owed onDone={reload} />
        : Page === undefined ? <Nowhere to='/account' title={t('page.toAccount')} /> : <Page key={shown} auth={auth} />}
    </Frame>
  )
}

void start(Account)
