import type { ComponentChildren } from 'preact'
import { nameOfDevice } from './device-name.js'
import { type AuditEvent, causeOf, titleOf } from './events.js'
import { formatMoment, t } from './i18n.js'

/** An event in a list; `children` says more about it. */
export function EventItem ({ event, children }: { event: AuditEvent, children?: ComponentChildren }) {
  const { createdAt, ip, userAgent } = event
  const cause = causeOf(event)
  return (
    <li>
      <div>
        <p class='name'>{titleOf(event)}</p>
        <p class='facts'>
          <time dateTime={createdAt}>{formatMoment(createdAt)}</time>
          {cause !== null && <><br />{cause}</>}
          {ip !== null && <><br />{t('devices.from', { ip })}</>}
          {userAgent !== null && <><br /><bdi>{nameOfDevice({ userAgent })}</bdi></>}
          {children}
        </p>
      </div>
    </li>
  )
}
