import type { AuthError } from 'latchkey-client'
import { Button } from './button.js'
import { CodeField, proofIn } from './code-field.js'
import { Dialog } from './dialog.js'
import { textOf } from './errors.js'
import { Field } from './field.js'
import { Form, Submit } from './form.js'
import { t } from './i18n.js'
import { createStore, useStore } from './store.js'

/** What shows that it is still the same person. */
type Proof = { password: string } | ReturnType<typeof proofIn>

/** A request that waits for a proof: what the server said, and who gets the answer. */
interface Question { refusal: AuthError, answer (proof: Proof | null): void }

const question = createStore<Question | null>(null)

/** Asks over the page for the password, or for the code of an app where the account has one. Null: the user would rather not. */
export function askProof (refusal: AuthError): Promise<Proof | null> {
  question.get()?.answer(null)
  return new Promise(resolve => {
    question.set({
      refusal,
      answer (proof) {
        question.set(null)
        resolve(proof)
      }
    })
  })
}

/** The dialog of `askProof`, where there is a question. */
export function StepUp ({ email }: { email: string }) {
  const asked = useStore(question)
  if (asked === null) return null
  const { refusal, answer } = asked
  const byCode = refusal.field === 'totp' || refusal.field === 'recoveryCode'
  return (
    <Dialog key={refusal.code} title={t('stepUp.title')} onClose={() => answer(null)}>
      <p>{t(byCode ? 'stepUp.codeText' : 'stepUp.text')}</p>
      {refusal.code !== 'AUTH_REAUTHENTICATE' && <p role='alert' class='problem'>{textOf(refusal)}</p>}
      <Form onSubmit={async values => { answer(byCode ? proofIn(values) : { password: values.password ?? '' }); return null }}>
        <input type='text' name='username' autocomplete='username' value={email} hidden readOnly />
        {byCode
          ? <CodeField factors={refusal.factors} recovery={refusal.field === 'recoveryCode'} />
          : <Field name='password' label={t('field.passwordLabel')} type='password' autocomplete='current-password' />}
        <Submit>{t('stepUp.submit')}</Submit>
      </Form>
      <p class='after'><Button onClick={() => answer(null)}>{t('page.cancel')}</Button></p>
    </Dialog>
  )
}
