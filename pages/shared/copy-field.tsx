import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { Button } from './button.js'
import { t } from './i18n.js'

interface CopyFieldProps {
  label: string
  value: string
  /** Whether it takes the focus. */
  focused?: boolean
}

/** Something to be copied. */
export function CopyField ({ label, value, focused = false }: CopyFieldProps) {
  const id = useId()
  const field = useRef<HTMLInputElement>(null)
  const [copied, setCopied] = useState(false)
  useEffect(() => { if (focused) field.current?.focus() }, [])

  async function copy (): Promise<void> {
    field.current?.select()
    setCopied(await writeToClipboard(value))
  }

  return (
    <>
      <div class='field'>
        <label for={id}>{label}</label>
        <div class='control'>
          <input id={id} ref={field} class='plain-token' dir='ltr' value={value} readOnly autocomplete='off' spellcheck={false} />
          <Button onClick={() => void copy()}>{t('page.copy')}</Button>
        </div>
      </div>
      <p role='status' class='notice'>{copied ? t('page.copied') : ''}</p>
    </>
  )
}

/** Whether it is there now. Only a page of https, or of this machine, has the clipboard; elsewhere what is selected can be copied by hand. */
export async function writeToClipboard (text: string): Promise<boolean> {
  return await navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false
}
