import type { AuthError } from 'latchkey-client'
import { useRef, useState } from 'preact/hooks'

export interface Action { busy: boolean, error: AuthError | null, run (): void }

/** Something that takes a while. It is done once at a time, however often it is asked for; `error` is what came of the last time. */
export function useAction (work: () => Promise<AuthError | null>): Action {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<AuthError | null>(null)
  const running = useRef(false)

  async function run (): Promise<void> {
    if (running.current) return
    running.current = true
    setBusy(true)
    setError(null)
    try {
      setError(await work())
    } finally {
      running.current = false
      setBusy(false)
    }
  }

  return { busy, error, run: () => void run() }
}
