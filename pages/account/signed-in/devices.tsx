import type { AuthError, ListedSession } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { useAction } from '../../shared/action.js'
import { Button } from '../../shared/button.js'
import { nameOfDevice } from '../../shared/device-name.js'
import { Failure } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { focusHeading, Heading } from '../../shared/layout.js'
import { partOf, useList } from '../../shared/list.js'
import { More } from '../../shared/more.js'
import { client } from '../../shared/session.js'
import { SessionFacts } from '../../shared/session-facts.js'
import { Waiting } from '../../shared/waiting.js'

/** Where the user is signed in, and the end of it: of one, or of all but this one. */
export function Devices () {
  const { items, problem, more, reload } = useList(async cursor => partOf('sessions', await client.sessions.list({ cursor })))
  const [notice, setNotice] = useState('')

  async function end (work: () => Promise<{ error: AuthError | null }>, done: string): Promise<AuthError | null> {
    setNotice('')
    const { error } = await work()
    // Somebody else was faster: it is what was wanted.
    if (error !== null && error.code !== 'AUTH_NOT_FOUND') return error
    await reload()
    setNotice(done)
    // The button that had it is gone.
    focusHeading()
    return null
  }

  const others = useAction(() => end(() => client.signOut({ scope: 'others' }), t('devices.othersEnded')))
  const sessions = [...items ?? []].sort((one, other) => Number(other.current) - Number(one.current))
  return (
    <>
      <Heading>{t('devices.title')}</Heading>
      <p>{t('devices.text')}</p>
      {items === null
        ? <Waiting problem={problem} />
        : (
          <>
            <ul class='list'>
              {sessions.map(session => (
                <Device
                  key={session.id}
                  session={session}
                  onEnd={() => end(() => client.sessions.end(session.id), t('devices.ended', { name: nameOfDevice(session) }))}
                />
              ))}
            </ul>
            <More more={more} />
            {sessions.length > 1 && <Button kind='danger' busy={others.busy} onClick={others.run}>{t('devices.endOthers')}</Button>}
          </>
        )}
      <p role='status' class='notice'>{notice}</p>
      <Failure error={others.error} />
    </>
  )
}

function Device ({ session, onEnd }: { session: ListedSession, onEnd (): Promise<AuthError | null> }) {
  const end = useAction(onEnd)
  const name = nameOfDevice(session)
  return (
    <li>
      <div>
        <SessionFacts session={session} />
        <Failure error={end.error} />
      </div>
      <Button busy={end.busy} label={t('devices.endLabel', { name })} onClick={end.run}>{t('account.signOut')}</Button>
    </li>
  )
}
