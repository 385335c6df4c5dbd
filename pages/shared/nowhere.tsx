import { t } from './i18n.js'
import { Heading } from './layout.js'
import { Link } from './router.js'

/** At a path that has no page; the page at `to` has. */
export function Nowhere ({ to, title }: { to: string, title: string }) {
  return (
    <>
      <Heading>{t('page.nowhere')}</Heading>
      <p><Link to={to}>{title}</Link></p>
    </>
  )
}
