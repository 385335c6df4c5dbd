import type { ComponentChildren } from 'preact'
import { Field } from '../../shared/field.js'
import { Filters } from '../../shared/filters.js'
import { formatMoment, t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { queryOf, useList } from '../../shared/list.js'
import { More } from '../../shared/more.js'
import { Link, useQuery } from '../../shared/router.js'
import { Table } from '../../shared/table.js'
import { Stale, Waiting } from '../../shared/waiting.js'
import { type AnyUser, askList, liveMs } from '../wire.js'

/** Everybody, newest first, or those whose address begins in a certain way. */
export function Users () {
  const email = useQuery().get('email') ?? ''
  return (
    <>
      <Heading>{t('users.title')}</Heading>
      <p><Link to='/admin/users/new'>{t('newUser.title')}</Link></p>
      <Filters label={t('users.filter')} to='/admin/users'>
        <Field name='email' label={t('users.email')} type='code' autocomplete='off' required={false} maxLength={254} />
      </Filters>
      <Found key={email} email={email} />
    </>
  )
}

function Found ({ email }: { email: string }) {
  const { items, problem, more } = useList(cursor => askList<AnyUser>('users', `users?${queryOf({ email }, cursor)}`), liveMs)
  if (items === null) return <Waiting problem={problem} />
  return (
    <>
      <Stale problem={problem} />
      <p role='status'>{items.length === 0 ? t('users.none') : ''}</p>
      {items.length > 0 && (
        <Table
          label={t('users.title')}
          columns={[
            { title: t('field.emailLabel'), cell: ({ id, email }) => <Link to={`/admin/users/${id}`}><bdi>{email}</bdi></Link> },
            { title: t('profile.name'), cell: ({ name }) => <bdi>{name ?? ''}</bdi> },
            { title: t('user.role'), cell: ({ role }) => t(role === 'admin' ? 'role.admin' : 'role.user') },
            { title: t('user.state'), cell: stateOf },
            { title: t('user.created'), cell: ({ createdAt }) => formatMoment(createdAt) }
          ]}
          rows={items}
          keyOf={({ id }) => id}
        />
      )}
      <More more={more} />
    </>
  )
}

/** Whether the account is disabled, or its address not confirmed. */
export function stateOf ({ disabledAt, emailVerifiedAt }: AnyUser): ComponentChildren {
  if (disabledAt !== null) return <span class='badge bad'>{t('user.disabled')}</span>
  return t(emailVerifiedAt === null ? 'user.unverified' : 'user.active')
}
