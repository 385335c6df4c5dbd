import type { AuthSession } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { Frame } from '../shared/frame.js'
import { type Key, t } from '../shared/i18n.js'
import { Layout, start } from '../shared/layout.js'
import { useLinkToken } from '../shared/link-token.js'
import { Nowhere } from '../shared/nowhere.js'
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
  const { auth } = known
  const isAdmin = auth.user.role === 'admin'
  return (
    <Frame
      auth={auth}
      ended={known.state === 'ended'}
      label={t('admin.title')}
      menu={isAdmin ? menu : []}
      current={path.split('/').slice(0, 3).join('/')}
      beside={<a href={hrefOf('/account')}>{t('admin.toAccount')}</a>}
    >
      {isAdmin ? <Shown key={path} path={path} auth={auth} /> : <NotAdmin auth={auth} />}
    </Frame>
  )
}

function Shown ({ path, auth }: { path: string, auth: AuthSession }) {
  const Page = pages[path]
  const [, id] = /^\/admin\/users\/([0-9a-f-]{36})$/.exec(path) ?? []
  if (Page !== undefined) return <Page />
  return id === undefined ? <Nowhere to='/admin' title={t('overview.title')} /> : <User id={id} isSelf={id === auth.user.id} />
}

void start(Admin)
