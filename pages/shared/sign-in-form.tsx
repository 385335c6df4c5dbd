import type { AuthError } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Button } from './button.js'
import { CodeField, proofIn } from './code-field.js'
import { EmailField, Field } from './field.js'
import { Form, Submit, type Values } from './form.js'
import { t } from './i18n.js'
import { client } from './session.js'

interface SignInFormProps {
  /** The address that is there already. */
  email?: string
  /** What stands below, until the password is known. */
  children?: ComponentChildren
}

/** How long the server waits for the second step. */
const patienceMs = 300_000

/** Asks for address and password, then for a second factor where the account has one, and signs in. */
export function SignInForm ({ email = '', children }: SignInFormProps) {
  const [typed, setTyped] = useState(email)
  /** The refusal that asks for the second step, and until when it counts, in milliseconds since 1970. */
  const [asked, setAsked] = useState<{ refusal: AuthError, until: number } | null>(null)
  const [late, setLate] = useState(false)
  const first = useRef<HTMLDivElement>(null)
  const returned = useRef(false)
  // What had it is gone.
  useEffect(() => { if (returned.current) first.current?.querySelector<HTMLElement>('[name=password]')?.focus() }, [asked])

  async function signIn ({ email = '', password = '' }: Values): Promise<AuthError | null> {
    setTyped(email.trim())
    setLate(false)
    const { error } = await client.signInWithPassword({ email: email.trim(), password })
    if (error?.code !== 'AUTH_SECOND_FACTOR_REQUIRED') return error
    setAsked({ refusal: error, until: Date.now() + patienceMs })
    return null
  }

  async function goOn (values: Values, { refusal, until }: NonNullable<typeof asked>): Promise<AuthError | null> {
    const { error } = await client.signInWithSecondFactor({ challenge: refusal.challenge ?? '', ...proofIn(values) })
    // The server doesn't say whether it is the code that is wrong, or the challenge that has expired.
    if (error?.code !== 'AUTH_SECOND_FACTOR_INVALID' || Date.now() < until) return error
    setLate(true)
    goBack()
    return null
  }

  function goBack (): void {
    returned.current = true
    setAsked(null)
  }

  if (asked !== null) return (
    <Form key='second' onSubmit={values => goOn(values, asked)}>
      <p>{t('secondStep.text', { email: typed })}</p>
      <CodeField factors={asked.refusal.factors} />
      <Submit>{t('signIn.submit')}</Submit>
      <p class='after'><Button kind='quiet' onClick={goBack}>{t('secondStep.back')}</Button></p>
    </Form>
  )
  return (
    <div ref={first}>
      <div role='alert' class='failure'>{late && <p>{t('secondStep.late')}</p>}</div>
      <Form key='first' onSubmit={signIn}>
        <EmailField value={typed} />
        <Field name='password' label={t('field.passwordLabel')} type='password' autocomplete='current-password' />
        <Submit>{t('signIn.submit')}</Submit>
      </Form>
      {children}
    </div>
  )
}
