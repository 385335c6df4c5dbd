import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { Button } from '../../shared/button.js'
import { t } from '../../shared/i18n.js'

/** The plaintext of a token that was just made. It is nowhere else, and gone with this. */
export function NewToken ({ plain, onClose }: { plain: string, onClose (): void }) {
  const id = useId()
  const field = useRef<HTMLInputElement>(null)
  const [copied, setCopied] = useState(false)
  useEffect(() => { field.current?.focus() }, [])

  async function copy (): Promise<void> {
    field.current?.select()
    // Only a page of https, or of this machine, has the clipboard; elsewhere what is selected can be copied by hand.
    setCopied(await navigator.clipboard?.writeText(plain).then(() => true, () => false) ?? false)
  }

  return (
    <section class='remark' aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{t('tokens.madeTitle')}</h2>
      <p>{t('tokens.madeText')}</p>
      <div class='field'>
        <label for={id}>{t('tokens.plain')}</label>
        <div class='control'>
          <input id={id} ref={field} class='plain-token' dir='ltr' value={plain} readOnly autocomplete='off' spellcheck={false} />
          <Button onClick={() => void copy()}>{t('tokens.copy')}</Button>
        </div>
      </div>
      <p role='status' class='notice'>{copied ? t('tokens.copied') : ''}</p>
      <Button onClick={onClose}>{t('tokens.close')}</Button>
    </section>
  )
}
