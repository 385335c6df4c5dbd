import type { AuthError } from 'latchkey-client'
import { useEffect, useState } from 'preact/hooks'
import { Failure } from './form.js'
import { t } from './i18n.js'
import { canPass } from './load.js'

/**
 * Nothing for a moment, then that something is on its way. At once that it can't be had now, and is asked for again; or why it can't be had
 * at all.
 */
export function Waiting ({ problem = null }: { problem?: AuthError | null }) {
  const [long, setLong] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), 500)
    return () => clearTimeout(timer)
  }, [])
  if (problem !== null && !canPass(problem)) return <Failure error={problem} />
  return <p role='status' class='waiting'>{problem !== null ? t('page.unreachable') : long ? t('page.loading') : ''}</p>
}

/** Where there is something, but it may be out of date: says so. */
export function Stale ({ problem }: { problem: AuthError | null }) {
  return <p role='status' class='stale'>{problem !== null && canPass(problem) ? t('page.unreachable') : ''}</p>
}
