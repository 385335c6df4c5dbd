import type { AuthSession } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { Frame } from '../shared/frame.js'
import { type Key, t } from '../shared/i18n.js'
import { Heading, Layout, start } from '../shared/layout.js'
import { useLinkToken } from '../shared/link-token.js'
import { Nowhere } from '../shared/nowhere.js'
import { useOwed } from '../shared/owed.js'
import { hrefOf, usePath } from '../shared/router.js'
import { visitor } from '../shared/session.js'
import { useStore } from '../shared/store.js'
import { Waiting } from '../shared/waiting.js'
import { Emergency } from './emergency.js'
import { Events } from './events.js'
import { NotAdmin } from './not-admin.js'
import { Overview } from './overview/overview.js'
import { Services } from './services.js'
import { Setup } from './setup.js'
import { SignIn } from './sign-in.js'
import './style.css'
import { NewUser } from './users/new-user.js'
import { User } from './users/user.js'
import { Users } from './users/users.js'

const menu: Array<[path: string, title: Key]> = [
  ['/admin', 'overview.title'],
  ['/admin/users', 'users.title'],
  ['/admin/services', 'services.title'],
  ['/admin/events', 'events.title'],
  ['/admin/emergency', 'emergency.title']
]

const pages: Record<string, () => ComponentChildren> = {
  '/admin': Overview,
  '/admin/users': Users,
  '/admin/users/new': NewUser,
  '/admin/services': Services,
  '/admin/events': Events,
  '/admin/emergency': Emergency
}

/** /admin: for administrators, and for whoever becomes the first. */
function Admin () {
  const known = useStore(visitor)
  const path = usePath()
  const link = useLinkToken()
  if (known.state === 'unknown') return <Layout narrow><Waiting problem={known.problem} /></Layout>
  if (path === '/admin/setup') return <Layout narrow><Setup key={link.number} /></Layout>
  if (known.state === 'out') return <Layout narrow><SignIn notice={known.notice} /></Layout>
  return <Inside auth={known.auth} ended={known.state === 'ended'} path={path} />
}

function Inside ({ auth, ended, path }: { auth: AuthSession, ended: boolean, path: string }) {
  const { owed, problem } = useOwed(auth)
  if (owed === null) return <Layout narrow><Waiting problem={problem} /></Layout>
  const isAdmin = auth.user.role === 'admin'
  return (
    <Frame
      auth={auth}
      ended={ended}
      label={t('admin.title')}
      menu={isAdmin && !owed ? menu : []}
      current={path.split('/').slice(0, 3).join('/')}
      beside={<a href={hrefOf('/account')}>{t('admin.toAccount')}</a>}
    >
      {!isAdmin ? <NotAdmin auth={auth} /> : owed ? <Owing /> : <Shown key={path} path={path} auth={auth} />}
    </Frame>
  )
}

/** For an administrator who has to set up a second factor first. */
function Owing () {
  return (
    <>
      <Heading>{t('owed.title')}</Heading>
      <p>{t('owed.text')}</p>
      <ul class='links'><li><a href={hrefOf('/account/factors')}>{t('owed.begin')}</a></li></ul>
    </>
  )
}

function Shown ({ path, auth }: { path: string, auth: AuthSession }) {
  const Page = pages[path]
  const [, id] = /^\/admin\/users\/([0-9a-f-]{36})$/.exec(path) ?? []
  if (Page !== undefined) return <Page />
  return id === undefined ? <Nowhere to='/admin' title={t('overview.title')} /> : <User id={id} isSelf={id === auth.user.id} />
}

void start(Admin)
