import type { ComponentChildren } from 'preact'
import { useContext, useId, useState } from 'preact/hooks'
import { Button } from './button.js'
import { FormContext } from './form.js'
import { t } from './i18n.js'
import { settings } from './settings.js'

interface FieldProps {
  name: string
  label: string
  type?: 'text' | 'code' | 'digits' | 'email' | 'password'
  autocomplete: string
  required?: boolean
  /** The least number of characters. */
  min?: number
  maxLength?: number
  hint?: string
  value?: string
}

/** A labelled field with its hint, and with what is wrong with it after an attempt. */
export function Field ({ name, label, type = 'text', autocomplete, required = true, min, maxLength, hint, value }: FieldProps) {
  const id = useId()
  const [visible, setVisible] = useState(false)
  const problem = useContext(FormContext).problems[name]
  const described = [...hint === undefined ? [] : [`${id}-hint`], ...problem === undefined ? [] : [`${id}-problem`]].join(' ')
  return (
    <div class='field'>
      <label id={`${id}-label`} for={id}>{label}</label>
      <div class='control'>
        <input
          id={id}
          name={name}
          // Never `email`: browsers rewrite what is typed into that, where it isn't ASCII.
          type={(type === 'password' && !visible ? 'password' : 'text') as 'text'}
          autocomplete={autocomplete}
          required={required}
          {...value === undefined ? {} : { defaultValue: value }}
          {...min === undefined ? {} : { 'data-min': min }}
          {...maxLength === undefined ? {} : { maxLength }}
          {...type === 'text' ? {} : { dir: 'ltr', autocapitalize: 'none', spellcheck: false }}
          {...type === 'email' ? { inputMode: 'email' } : type === 'digits' ? { inputMode: 'numeric' } : {}}
          {...described === '' ? {} : { 'aria-describedby': described }}
          {...problem === undefined ? {} : { 'aria-invalid': true }}
        />
        {type === 'password' && (
          <Button kind='quiet' describedBy={`${id}-label`} pressed={visible} onClick={() => setVisible(!visible)}>
            {t('field.show')}
          </Button>
        )}
      </div>
      {hint !== undefined && <p id={`${id}-hint`} class='hint'>{hint}</p>}
      {problem !== undefined && <p id={`${id}-problem`} class='problem'>{problem}</p>}
    </div>
  )
}

/** The field of an address that signs in. */
export function EmailField ({ value }: { value?: string }) {
  return (
    <Field name='email' label={t('field.emailLabel')} type='email' autocomplete='username' {...value === undefined ? {} : { value }} />
  )
}

/** The field of a password that is being chosen. */
export function NewPasswordField ({ hint, ...field }: Pick<FieldProps, 'name' | 'label' | 'required' | 'hint'>) {
  const min = settings.passwordMinLength
  return <Field {...field} type='password' autocomplete='new-password' min={min} hint={hint ?? t('field.newPasswordHint', { min })} />
}

/** A point in time in the reader's zone, to the minute, such as `2026-11-29T06:30`; empty for none. */
export function MomentField ({ name, label }: { name: string, label: string }) {
  const id = useId()
  const problem = useContext(FormContext).problems[name]
  return (
    <div class='field'>
      <label for={id}>{label}</label>
      <div class='control'>
        <input
          id={id}
          name={name}
          type='datetime-local'
          max='9999-12-31T23:59'
          {...problem === undefined ? {} : { 'aria-invalid': true, 'aria-describedby': `${id}-problem` }}
        />
      </div>
      {problem !== undefined && <p id={`${id}-problem`} class='problem'>{problem}</p>}
    </div>
  )
}

/** A choice that is made or not; the value of a made one is `on`. */
export function Checkbox ({ name, children }: { name: string, children: ComponentChildren }) {
  return <label class='check'><input type='checkbox' name={name} /> <span>{children}</span></label>
}

/** A choice among `options`, pairs of value and label; the first one is made already. */
export function Select ({ name, label, options }: { name: string, label: string, options: Array<[value: string, label: string]> }) {
  const id = useId()
  return (
    <div class='field'>
      <label for={id}>{label}</label>
      <div class='control'>
        <select id={id} name={name}>{options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}</select>
      </div>
    </div>
  )
}
