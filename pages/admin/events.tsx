import { EventItem } from '../shared/event-item.js'
import { type AuditEvent, eventTypes } from '../shared/events.js'
import { Field, MomentField, Select } from '../shared/field.js'
import { Filters } from '../shared/filters.js'
import { t } from '../shared/i18n.js'
import { Heading } from '../shared/layout.js'
import { queryOf, useList } from '../shared/list.js'
import { More } from '../shared/more.js'
import { Link, useQuery } from '../shared/router.js'
import { Stale, Waiting } from '../shared/waiting.js'
import { askEvents, liveMs } from './wire.js'

/** What has happened to all accounts, by its kind, its time and its user. */
export function Events () {
  const query = useQuery()
  const types = eventTypes().map(({ type, title }): [string, string] => [type, title])
  return (
    <>
      <Heading>{t('events.title')}</Heading>
      <Filters label={t('events.filter')} to='/admin/events'>
        <Select name='type' label={t('events.type')} options={[['', t('events.all')], ...types]} />
        <MomentField name='from' label={t('events.from')} />
        <MomentField name='until' label={t('events.until')} />
        <Field name='userId' label={t('events.userId')} type='code' autocomplete='off' required={false} />
      </Filters>
      <Found key={query.toString()} query={query} />
    </>
  )
}

function Found ({ query }: { query: URLSearchParams }) {
  const given = (name: string) => query.get(name) ?? ''
  const filters = {
    type: given('type'),
    from: momentOf(given('from')),
    until: momentOf(given('until')),
    userId: given('userId').toLowerCase()
  }
  const { items, problem, more } = useList(cursor => askEvents(queryOf(filters, cursor)), liveMs)
  if (items === null) return <Waiting problem={problem} />
  return (
    <>
      <Stale problem={problem} />
      <p role='status'>{items.length === 0 && more === null ? t('events.none') : ''}</p>
      <ol class='list'>{items.map(event => <EventItem key={event.id} event={event}><Accounts event={event} /></EventItem>)}</ol>
      <More more={more} />
    </>
  )
}

/** Links to whose account it was, and to who did it. */
function Accounts ({ event: { userId, actorId } }: { event: AuditEvent }) {
  const link = (id: string) => <Link to={`/admin/users/${id}`}><bdi>{id}</bdi></Link>
  return (
    <>
      {userId !== null && <><br />{t('events.user')} {link(userId)}</>}
      {actorId !== null && actorId !== userId && <><br />{t('events.actor')} {link(actorId)}</>}
    </>
  )
}

/** What a field for a point in time holds, which is of the reader's zone, as the wire has it; empty for none. */
function momentOf (local: string): string {
  const moment = new Date(local)
  return Number.isNaN(moment.getTime()) ? '' : moment.toISOString()
}
