import { useState } from 'preact/hooks'
import { EventItem } from '../../shared/event-item.js'
import { formatMoment, t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { queryOf, useList } from '../../shared/list.js'
import { useLoad } from '../../shared/load.js'
import { More } from '../../shared/more.js'
import { Link } from '../../shared/router.js'
import { SessionFacts } from '../../shared/session-facts.js'
import { Stale, Waiting } from '../../shared/waiting.js'
import { type AnyUser, ask, askEvents, askSessions, liveMs } from '../wire.js'
import { Actions } from './actions.js'
import { stateOf } from './users.js'

const eventsAPage = 20

/** One user: what they are, what can be done to them, where they are signed in, and what has happened to their account. */
export function User ({ id, isSelf }: { id: string, isSelf: boolean }) {
  const { data, problem, reload } = useLoad(() => ask<{ user: AnyUser }>('GET', `users/${id}`), liveMs)
  const [changes, setChanges] = useState(0)

  async function update (): Promise<void> {
    await reload()
    setChanges(changes + 1)
  }

  if (data === null) return (
    <>
      <Heading>{t('user.title')}</Heading>
      <Waiting problem={problem} />
      <Back />
    </>
  )
  const { user } = data
  return (
    <>
      <Heading>{user.email}</Heading>
      <Stale problem={problem} />
      <dl class='facts'>
        <dt>{t('profile.name')}</dt><dd><bdi>{user.name ?? '–'}</bdi></dd>
        <dt>{t('user.role')}</dt><dd>{t(user.role === 'admin' ? 'role.admin' : 'role.user')}</dd>
        <dt>{t('user.state')}</dt><dd>{stateOf(user)}</dd>
        <dt>{t('user.created')}</dt><dd>{formatMoment(user.createdAt)}</dd>
        <dt>{t('user.id')}</dt><dd><bdi>{user.id}</bdi></dd>
      </dl>
      <Actions user={user} isSelf={isSelf} onChange={update} />
      <Sessions key={`sessions-${changes}`} id={id} />
      <Trail key={`trail-${changes}`} id={id} />
      <Back />
    </>
  )
}

function Sessions ({ id }: { id: string }) {
  const { items, problem, more } = useList(cursor => askSessions(id, cursor), liveMs)
  return (
    <section>
      <h2>{t('user.sessions')}</h2>
      {items === null ? <Waiting problem={problem} /> : items.length === 0 ? <p>{t('user.noSessions')}</p> : (
        <ul class='list'>{items.map(session => <li key={session.id}><div><SessionFacts session={session} /></div></li>)}</ul>
      )}
      <More more={more} />
    </section>
  )
}

function Trail ({ id }: { id: string }) {
  const { items, problem, more } = useList(cursor => askEvents(queryOf({ userId: id, limit: eventsAPage }, cursor)), liveMs)
  return (
    <section>
      <h2>{t('events.title')}</h2>
      {items === null ? <Waiting problem={problem} /> : (
        <ol class='list'>{items.map(event => <EventItem key={event.id} event={event} />)}</ol>
      )}
      <More more={more} />
    </section>
  )
}

function Back () {
  return <ul class='links'><li><Link to='/admin/users'>{t('users.back')}</Link></li></ul>
}
