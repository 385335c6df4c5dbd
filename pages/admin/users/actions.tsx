import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { useAction } from '../../shared/action.js'
import { Button } from '../../shared/button.js'
import { Confirm } from '../../shared/confirm.js'
import { Checkbox } from '../../shared/field.js'
import { Failure, type Values } from '../../shared/form.js'
import { type Key, t } from '../../shared/i18n.js'
import { focusHeading } from '../../shared/layout.js'
import { client, recheck } from '../../shared/session.js'
import { type AnyUser, ask } from '../wire.js'

interface ActionsProps {
  user: AnyUser
  /** Whether it is the administrator's own account. */
  isSelf: boolean
  /** Called after each change. */
  onChange (): Promise<void>
}

type Question = 'disable' | 'role' | 'revoke' | 'factors'

/** What an administrator can do to an account. What ends something is asked about first. */
export function Actions ({ user, isSelf, onChange }: ActionsProps) {
  const [question, setQuestion] = useState<Question | null>(null)
  const [notice, setNotice] = useState('')
  const { id, email } = user
  const isAdmin = user.role === 'admin'

  async function act (method: string, what: string, body: object | undefined, done: Key): Promise<AuthError | null> {
    setNotice('')
    const { error } = await ask(method, `users/${id}/${what}`, body)
    if (error !== null) return error
    // It may have ended the session, or the role, of whoever did it.
    if (isSelf) await (what === 'role' ? client.getUser() : recheck())
    await onChange()
    setNotice(t(done, { email }))
    // The button that had it may be another one now.
    setTimeout(focusHeading)
    return null
  }

  const enable = useAction(() => act('POST', 'enable', undefined, user.disabledAt === null ? 'user.forgiven' : 'user.enabledNow'))

  const questions: Record<Question, { title: Key, text: Key, action: Key, confirm (values: Values): Promise<AuthError | null> }> = {
    disable: {
      title: 'user.disableTitle',
      text: 'user.disableText',
      action: 'user.disable',
      confirm: () => act('POST', 'disable', undefined, 'user.disabledNow')
    },
    role: {
      title: isAdmin ? 'user.demoteTitle' : 'user.promoteTitle',
      text: isAdmin ? 'user.demoteText' : 'user.promoteText',
      action: isAdmin ? 'user.demote' : 'user.promote',
      confirm: () => act('PUT', 'role', { role: isAdmin ? 'user' : 'admin' }, 'user.roleChanged')
    },
    revoke: {
      title: 'user.revokeTitle',
      text: 'user.revokeText',
      action: 'user.revoke',
      confirm: ({ personal }) => act('POST', 'revoke', { personalTokens: personal !== undefined }, 'user.revoked')
    },
    factors: {
      title: 'user.factorsTitle',
      text: 'user.factorsText',
      action: 'user.factors',
      confirm: () => act('DELETE', 'factors', undefined, 'user.factorsReset')
    }
  }
  const asked = question === null ? null : questions[question]

  return (
    <section>
      <h2>{t('user.actions')}</h2>
      <p role='status' class='notice'>{notice}</p>
      <div class='buttons'>
        <Button onClick={() => setQuestion('revoke')}>{t('user.revoke')}</Button>
        <Button onClick={() => setQuestion('factors')}>{t('user.factors')}</Button>
        <Button onClick={() => setQuestion('role')}>{t(isAdmin ? 'user.demote' : 'user.promote')}</Button>
        <Button busy={enable.busy} onClick={enable.run}>{t(user.disabledAt === null ? 'user.forgive' : 'user.enable')}</Button>
        {user.disabledAt === null && <Button kind='danger' onClick={() => setQuestion('disable')}>{t('user.disable')}</Button>}
      </div>
      <Failure error={enable.error} />
      {asked !== null && (
        <Confirm
          title={t(asked.title, { email })}
          action={t(asked.action)}
          onConfirm={asked.confirm}
          onClose={() => setQuestion(null)}
          {...question === 'revoke' ? { fields: <Checkbox name='personal'>{t('user.revokePersonal')}</Checkbox> } : {}}
        >
          <p>{t(asked.text, { email })}</p>
          {isSelf && <p>{t('user.self')}</p>}
        </Confirm>
      )}
    </section>
  )
}
