import type { AuthError, Result } from 'latchkey-client'
import { useEffect, useRef, useState } from 'preact/hooks'
import { retryMs, visitor } from './session.js'
import { useStore } from './store.js'

export interface Loaded<T> {
  /** Null until there is some. */
  data: T | null
  /** Why there is none, or why it may be out of date. */
  problem: AuthError | null
  /** Asks again; what is there stays until the answer comes. */
  reload (): Promise<void>
}

/**
 * What `load` gives, asked for at first and after each sign-in; with `everyMs` again and again, so long after each answer. While the server
 * can't answer it is asked again and again; any other refusal stays. A page that is hidden doesn't repeat itself before it is seen again.
 */
export function useLoad<T> (load: () => Promise<Result<T>>, everyMs: number | null = null): Loaded<T> {
  const [data, setData] = useState<T | null>(null)
  const [problem, setProblem] = useState<AuthError | null>(null)
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const latest = useRef(0)
  const due = useRef(false)
  const wanted = useRef({ load, everyMs })
  wanted.current = { load, everyMs }
  const known = useStore(visitor)
  const session = known.state === 'in' ? known.auth.session.id : null

  async function reload (): Promise<void> {
    const number = ++latest.current
    clearTimeout(timer.current)
    due.current = false
    const { data, error } = await wanted.current.load()
    // Another answer is on its way, or nobody wants one any more.
    if (number !== latest.current) return
    setProblem(error)
    if (error === null) setData(data)
    const waitMs = error === null ? wanted.current.everyMs : canPass(error) ? waitOf(error) : null
    if (waitMs !== null) timer.current = setTimeout(repeat, waitMs)
  }

  function repeat (): void {
    due.current = document.hidden
    if (!document.hidden) void reload()
  }

  useEffect(() => {
    if (session !== null) void reload()
    const wake = () => { if (due.current && !document.hidden) void reload() }
    document.addEventListener('visibilitychange', wake)
    return () => {
      document.removeEventListener('visibilitychange', wake)
      latest.current++
      due.current = false
      clearTimeout(timer.current)
    }
  }, [session])

  return { data, problem, reload }
}

/** Whether nobody could say, so that asking again may help. */
export const canPass = ({ status }: AuthError): boolean => status === 0 || status === 429 || status >= 500

/** How long to wait before asking again, in milliseconds. */
const waitOf = ({ retryAfterSeconds }: AuthError): number => Math.max(retryMs, (retryAfterSeconds ?? 0) * 1000)
