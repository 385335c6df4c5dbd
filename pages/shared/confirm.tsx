import type { AuthError } from 'latchkey-client'
import type { ComponentChildren } from 'preact'
import { Button } from './button.js'
import { Dialog } from './dialog.js'
import { Form, Submit, type Values } from './form.js'
import { t } from './i18n.js'

interface ConfirmProps {
  title: string
  /** The label of the button that does it. */
  action: string
  /** Does it, with what the `fields` hold, and resolves to the refusal, or to null when it is done. */
  onConfirm (values: Values): Promise<AuthError | null>
  /** It is done, or the user would rather not. */
  onClose (): void
  fields?: ComponentChildren
  children?: ComponentChildren
}

/** Asks before something that can't be undone. */
export function Confirm ({ title, action, onConfirm, onClose, fields, children }: ConfirmProps) {
  async function confirm (values: Values): Promise<AuthError | null> {
    const error = await onConfirm(values)
    if (error === null) onClose()
    return error
  }

  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <Form onSubmit={confirm}>
        {fields}
        <Submit kind='danger'>{action}</Submit>
      </Form>
      <p class='after'><Button onClick={onClose}>{t('page.cancel')}</Button></p>
    </Dialog>
  )
}
