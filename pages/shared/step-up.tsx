import type { AuthError } from 'latchkey-client'
import { Button } from './button.js'
import { Dialog } from './dialog.js'
import { textOf } from './errors.js'
import { Field } from './field.js'
import { Form, Submit } from './form.js'
import { t } from './i18n.js'
import { createStore, useStore } from './store.js'

/** A request that waits for the password: what the server said, and who gets the answer. */
interface Question { refusal: AuthError, answer (proof: { password: string } | null): void }

const question = createStore<Question | null>(null)

/** Asks for the password over the page. Null: the user would rather not. */
export function askPassword (refusal: AuthError): Promise<{ password: string } | null> {
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

/** The dialog of `askPassword`, where there is a question. */
export function StepUp ({ email }: { email: string }) {
  const asked = useStore(question)
  if (asked === null) return null
  const { refusal, answer } = asked
  return (
    <Dialog key={refusal.code} title={t('stepUp.title')} onClose={() => answer(null)}>
      <p>{t('stepUp.text')}</p>
      {refusal.code !== 'AUTH_REAUTHENTICATE' && <p role='alert' class='problem'>{textOf(refusal)}</p>}
      <Form onSubmit={async ({ password = '' }) => { answer({ password }); return null }}>
        <input type='text' name='username' autocomplete='username' value={email} hidden readOnly />
        <Field name='password' label={t('field.passwordLabel')} type='password' autocomplete='current-password' />
        <Submit>{t('stepUp.submit')}</Submit>
      </Form>
      <p class='after'><Button onClick={() => answer(null)}>{t('page.cancel')}</Button></p>
    </Dialog>
  )
}
