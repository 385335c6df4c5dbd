import type { Result } from 'latchkey-client'
import { EventItem } from '../../shared/event-item.js'
import type { AuditEvent } from '../../shared/events.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { type Part, partOf, queryOf, useList } from '../../shared/list.js'
import { More } from '../../shared/more.js'
import { send } from '../../shared/request.js'
import { Waiting } from '../../shared/waiting.js'

const eventsAPage = 20

async function load (cursor: string | null): Promise<Result<Part<AuditEvent>>> {
  const query = queryOf({ limit: eventsAPage }, cursor)
  return partOf('events', await send<{ events: AuditEvent[], nextCursor: string | null }>('GET', `v1/events?${query}`))
}

/** What happened to the account, newest first, a page at a time. */
export function Trail () {
  const { items, problem, more } = useList(load)
  return (
    <>
      <Heading>{t('trail.title')}</Heading>
      <p>{t('trail.text')}</p>
      {items === null ? <Waiting problem={problem} /> : (
        <ol class='list'>
          {items.map(event => <EventItem key={event.id} event={event} />)}
        </ol>
      )}
      <More more={more} />
    </>
  )
}
