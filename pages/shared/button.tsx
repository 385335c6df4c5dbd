import type { ComponentChildren } from 'preact'

interface ButtonProps {
  type?: 'button' | 'submit'
  kind?: 'main' | 'plain' | 'danger' | 'quiet'
  busy?: boolean
  /** The accessible name, where the text alone doesn't say what it is about. */
  label?: string
  /** The id of what says more. */
  describedBy?: string
  /** Of a button that stays down. */
  pressed?: boolean
  onClick?: () => void
  children: ComponentChildren
}

/** A button that says when it is busy, and then does nothing more. It keeps the focus, which a disabled one would lose. */
export function Button (props: ButtonProps) {
  const { type = 'button', kind = type === 'submit' ? 'main' : 'plain', busy = false, label, describedBy, pressed, onClick, children } = props
  return (
    <button
      type={type}
      class={kind}
      aria-disabled={busy}
      aria-busy={busy}
      {...label === undefined ? {} : { 'aria-label': label }}
      {...describedBy === undefined ? {} : { 'aria-describedby': describedBy }}
      {...pressed === undefined ? {} : { 'aria-pressed': pressed }}
      onClick={event => {
        if (busy) event.preventDefault()
        else onClick?.()
      }}
    >
      {children}
    </button>
  )
}
