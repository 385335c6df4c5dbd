import type { AuthError } from 'latchkey-client'
import { type ComponentChildren, createContext, type TargetedSubmitEvent } from 'preact'
import { useContext, useEffect, useRef, useState } from 'preact/hooks'
import { useAction } from './action.js'
import { Button } from './button.js'
import { digitsIn } from './digits.js'
import { fieldsOf, textOf } from './errors.js'
import { t } from './i18n.js'

/** What was typed, by the names of the fields. */
export type Values = Record<string, string>

/** `problems`: what is wrong with the fields, by their names. */
export const FormContext = createContext<{ busy: boolean, problems: Values }>({ busy: false, problems: {} })

interface FormProps {
  /** Gets what was typed; resolves to the refusal, or to null when it is done. */
  onSubmit (values: Values): Promise<AuthError | null>
  /** The accessible name, where there are several forms on a page. */
  label?: string
  /** Empties the fields when it is done. */
  clears?: boolean
  children: ComponentChildren
}

/** A form that checks its fields, sends them once, and says what was wrong. What was typed stays. */
export function Form ({ onSubmit, label, clears = false, children }: FormProps) {
  const form = useRef<HTMLFormElement>(null)
  const [problems, setProblems] = useState<Values>({})
  const action = useAction(async () => {
    const { current } = form
    if (current === null) return null
    const error = await onSubmit(valuesOf(current))
    if (error === null && clears) current.reset()
    const field = error === null ? undefined : fieldsOf(error).find(name => current.elements.namedItem(name) !== null)
    if (error === null || field === undefined) return error
    setProblems({ [field]: textOf(error) })
    return null
  })

  useEffect(() => {
    const first = Object.keys(problems)[0]
    if (first !== undefined) form.current?.querySelector<HTMLElement>(`[name="${first}"]`)?.focus()
  }, [problems])

  function submit (event: TargetedSubmitEvent<HTMLFormElement>): void {
    event.preventDefault()
    const found = findProblems(event.currentTarget)
    setProblems(found)
    if (Object.keys(found).length === 0) action.run()
  }

  // Never by GET, which would put what was typed into the address: not even should the script fail.
  return (
    <FormContext.Provider value={{ busy: action.busy, problems }}>
      <form ref={form} method='post' noValidate onSubmit={submit} {...label === undefined ? {} : { 'aria-label': label }}>
        {children}
        <Failure error={action.error} />
      </form>
    </FormContext.Provider>
  )
}

/** A refusal in words, read out at once. */
export function Failure ({ error }: { error: AuthError | null }) {
  return <div role='alert' class='failure'>{error === null ? null : <p>{textOf(error)}</p>}</div>
}

/** The button that sends the form. */
export function Submit ({ kind = 'main', children }: { kind?: 'main' | 'danger', children: ComponentChildren }) {
  return <Button type='submit' kind={kind} busy={useContext(FormContext).busy}>{children}</Button>
}

function valuesOf (form: HTMLFormElement): Values {
  return Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]))
}

/** In the language of the page, which the browser's own messages may not be in. */
function findProblems (form: HTMLFormElement): Values {
  const problems: Values = {}
  for (const input of form.querySelectorAll<HTMLInputElement>('input[name]')) {
    const { name, value, required, inputMode, validity } = input
    const min = Number(input.dataset.min ?? 0)
    if (required && value === '') problems[name] = t('field.required')
    else if (validity.badInput) problems[name] = t('field.moment')
    else if (value !== '' && inputMode === 'email' && !/^[^\s@]+@[^\s@]+$/.test(value.trim())) problems[name] = t('field.email')
    else if (value !== '' && inputMode === 'numeric' && !/^\d{6}$/.test(digitsIn(value))) problems[name] = t('field.digits')
    else if (value !== '' && [...value].length < min) problems[name] = t('field.short', { min })
  }
  return problems
}
