import { useEffect, useRef, useState } from 'preact/hooks'
import { Button } from './button.js'
import { digitsIn } from './digits.js'
import { Field } from './field.js'
import type { Values } from './form.js'
import { t } from './i18n.js'

interface CodeFieldProps {
  /** What the server has named. */
  factors?: string[] | undefined
  /** Whether to begin with the recovery code. */
  recovery?: boolean
}

/** Asks for a second factor: the code of an app, or instead a recovery code. Takes the focus. */
export function CodeField ({ factors = ['totp', 'recovery'], recovery = false }: CodeFieldProps) {
  const [byRecovery, setByRecovery] = useState(recovery || !factors.includes('totp'))
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => { place.current?.querySelector('input')?.focus() }, [byRecovery])
  return (
    <div ref={place}>
      {byRecovery
        ? <Field key='recovery' name='recoveryCode' label={t('code.recovery')} type='code' autocomplete='off' hint={t('code.recoveryHint')} />
        : <TotpField key='totp' name='totp' />}
      {factors.includes('totp') && factors.includes('recovery') && (
        <p><Button kind='quiet' onClick={() => setByRecovery(!byRecovery)}>{t(byRecovery ? 'code.useTotp' : 'code.useRecovery')}</Button></p>
      )}
    </div>
  )
}

/** The field of a code that an app shows. */
export function TotpField ({ name }: { name: string }) {
  return <Field name={name} label={t('code.totp')} type='digits' autocomplete='one-time-code' hint={t('code.totpHint')} />
}

/** What was typed into a `CodeField`, as the server takes it. */
export function proofIn ({ totp, recoveryCode = '' }: Values): { totp: string } | { recoveryCode: string } {
  return totp === undefined ? { recoveryCode: recoveryCode.trim() } : { totp: digitsIn(totp) }
}
