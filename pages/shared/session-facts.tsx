import type { ListedSession } from 'latchkey-client'
import { nameOfDevice } from './device-name.js'
import { formatMoment, t } from './i18n.js'

/** The device of a session, and when it was used. */
export function SessionFacts ({ session }: { session: ListedSession }) {
  const { current, createdAt, lastUsedAt, ip } = session
  return (
    <>
      <p class='name'><bdi>{nameOfDevice(session)}</bdi>{current && <> <span class='badge'>{t('devices.current')}</span></>}</p>
      <p class='facts'>
        {t('devices.signedIn', { moment: formatMoment(createdAt) })}<br />
        {t('devices.lastUsed', { moment: formatMoment(lastUsedAt) })}
        {ip !== null && <><br />{t('devices.from', { ip })}</>}
      </p>
    </>
  )
}
