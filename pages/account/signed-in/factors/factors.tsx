import type { AuthError, AuthSession } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { useAction } from '../../../shared/action.js'
import { Button } from '../../../shared/button.js'
import { Confirm } from '../../../shared/confirm.js'
import { Failure } from '../../../shared/form.js'
import { formatMoment, t } from '../../../shared/i18n.js'
import { focusHeading, Heading } from '../../../shared/layout.js'
import { useLoad } from '../../../shared/load.js'
import { client, recheck } from '../../../shared/session.js'
import { Waiting } from '../../../shared/waiting.js'
import { Enrol, type Enrolment } from './enrol.js'
import { RecoveryCodes } from './recovery-codes.js'

interface FactorsProps {
  auth: AuthSession
  /** Whether the user may do nothing else before. */
  owed?: boolean
  /** Called once an app is set up and the recovery codes are kept. */
  onDone? (): Promise<void>
}

/** Second factors: an app that shows codes, set up and removed, and the codes for whoever has lost it. */
export function Factors ({ auth: { user }, owed = false, onDone }: FactorsProps) {
  const { data, problem, reload } = useLoad(() => client.factors.get())
  const [enrolment, setEnrolment] = useState<Enrolment | null>(null)
  const [codes, setCodes] = useState<string[] | null>(null)
  const [question, setQuestion] = useState<'remove' | 'renew' | null>(null)
  const [notice, setNotice] = useState('')

  const begin = useAction(async () => {
    setNotice('')
    const { data, error } = await client.factors.totp.create()
    if (error === null) setEnrolment(data)
    return error
  })

  async function confirm (code: string): Promise<AuthError | null> {
    const { data, error } = await client.factors.totp.confirm(code)
    if (error !== null) return error
    await reload()
    setEnrolment(null)
    setNotice(t('factors.confirmed'))
    // The codes take the focus.
    if (data.recoveryCodes === undefined) focusHeading()
    else setCodes(data.recoveryCodes)
    return null
  }

  async function remove (): Promise<AuthError | null> {
    setNotice('')
    const { error } = await client.factors.totp.end()
    if (error !== null && error.code !== 'AUTH_NOT_FOUND') return error
    // It has ended this session too, if a code has opened it.
    await recheck('factors.removedOut')
    setCodes(null)
    await reload()
    say(t('factors.removed'))
    return null
  }

  async function renew (): Promise<AuthError | null> {
    setNotice('')
    const { data, error } = await client.factors.recoveryCodes.create()
    if (error !== null) return error
    await reload()
    // As late as this, or the question that is open would keep the focus from them.
    setCodes(data.recoveryCodes)
    return null
  }

  async function close (): Promise<void> {
    await onDone?.()
    setCodes(null)
    focusHeading()
  }

  function say (text: string): void {
    setNotice(text)
    // What had it is gone.
    setTimeout(focusHeading)
  }

  if (data === null) return (
    <>
      <Heading>{t('factors.title')}</Heading>
      <Waiting problem={problem} />
    </>
  )
  const { totp, recoveryCodesLeft } = data
  return (
    <>
      <Heading>{t('factors.title')}</Heading>
      <p>{t(owed ? 'owed.text' : 'factors.text')}</p>
      <p role='status' class='notice'>{notice}</p>
      {codes !== null && <RecoveryCodes key={codes[0]} codes={codes} email={user.email} onClose={() => void close()} />}
      {owed && totp !== null ? codes === null && <p>{t('owed.again')}</p> : (
        <section>
          <h2>{t('factors.app')}</h2>
          {totp !== null && <p>{t('factors.since', { moment: formatMoment(totp.confirmedAt) })}</p>}
          {totp !== null && <Button kind='danger' onClick={() => setQuestion('remove')}>{t('factors.remove')}</Button>}
          {totp === null && enrolment === null && <Button kind='main' busy={begin.busy} onClick={begin.run}>{t('factors.begin')}</Button>}
          {totp === null && enrolment !== null && <Enrol enrolment={enrolment} onConfirm={confirm} onCancel={() => setEnrolment(null)} />}
          <Failure error={begin.error} />
        </section>
      )}
      {!owed && totp !== null && (
        <section>
          <h2>{t('recovery.title')}</h2>
          <p>{t('recovery.left', { number: recoveryCodesLeft })}</p>
          <Button onClick={() => setQuestion('renew')}>{t('recovery.renew')}</Button>
        </section>
      )}
      {question === 'remove' && (
        <Confirm title={t('factors.removeTitle')} action={t('factors.remove')} onConfirm={remove} onClose={() => setQuestion(null)}>
          <p>{t('factors.removeText')}</p>
        </Confirm>
      )}
      {question === 'renew' && (
        <Confirm title={t('recovery.renewTitle')} action={t('recovery.renew')} onConfirm={renew} onClose={() => setQuestion(null)}>
          <p>{t('recovery.renewText')}</p>
        </Confirm>
      )}
    </>
  )
}
