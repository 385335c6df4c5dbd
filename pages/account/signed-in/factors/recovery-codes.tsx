import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { Button } from '../../../shared/button.js'
import { writeToClipboard } from '../../../shared/copy-field.js'
import { t } from '../../../shared/i18n.js'
import { settings } from '../../../shared/settings.js'

interface RecoveryCodesProps {
  codes: string[]
  /** The address of the account. */
  email: string
  onClose (): void
}

/** Recovery codes that were just made. They are nowhere else, and gone with this. */
export function RecoveryCodes ({ codes, email, onClose }: RecoveryCodesProps) {
  const id = useId()
  const title = useRef<HTMLHeadingElement>(null)
  const [copied, setCopied] = useState(false)
  useEffect(() => { title.current?.focus() }, [])
  return (
    <section class='remark' aria-labelledby={id}>
      <h2 id={id} ref={title} tabIndex={-1}>{t('recovery.madeTitle')}</h2>
      <p>{t('recovery.madeText')}</p>
      <ul class='codes' dir='ltr'>{codes.map(code => <li key={code}><code>{code}</code></li>)}</ul>
      <div class='buttons'>
        <Button onClick={async () => setCopied(await writeToClipboard(codes.join('\n')))}>{t('page.copy')}</Button>
        <Button onClick={() => save(`${settings.appName}\n${email}\n\n${codes.join('\n')}\n`)}>{t('recovery.download')}</Button>
      </div>
      <p role='status' class='notice'>{copied ? t('page.copied') : ''}</p>
      <Button kind='main' onClick={onClose}>{t('recovery.close')}</Button>
    </section>
  )
}

/** Gives the browser a file to save. */
function save (text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }))
  Object.assign(document.createElement('a'), { href: url, download: 'recovery-codes.txt' }).click()
  URL.revokeObjectURL(url)
}
