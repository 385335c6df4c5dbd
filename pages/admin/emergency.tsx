import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { Button } from '../shared/button.js'
import { Command } from '../shared/command.js'
import { Confirm } from '../shared/confirm.js'
import { t } from '../shared/i18n.js'
import { Heading } from '../shared/layout.js'
import { ask } from './wire.js'

/** What is for bad days: each with a question. */
export function Emergency () {
  const [asking, setAsking] = useState(false)
  const [notice, setNotice] = useState('')

  async function clear (): Promise<AuthError | null> {
    const { error } = await ask('POST', 'cache/clear')
    if (error === null) setNotice(t('emergency.cacheDone'))
    return error
  }

  return (
    <>
      <Heading>{t('emergency.title')}</Heading>
      <section>
        <h2>{t('emergency.cacheTitle')}</h2>
        <p>{t('emergency.cacheText')}</p>
        <Button
          kind='danger'
          onClick={() => {
            setNotice('')
            setAsking(true)
          }}
        >
          {t('emergency.cache')}
        </Button>
        <p role='status' class='notice'>{notice}</p>
      </section>
      <section>
        <h2>{t('emergency.allTitle')}</h2>
        <p>{t('emergency.oneText')}</p>
        <Command text={t('emergency.allText')} line='npx latchkey tokens:revoke --all' />
      </section>
      {asking && (
        <Confirm title={t('emergency.cacheQuestion')} action={t('emergency.cache')} onConfirm={clear} onClose={() => setAsking(false)}>
          <p>{t('emergency.cacheWarning')}</p>
        </Confirm>
      )}
    </>
  )
}
