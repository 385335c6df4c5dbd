import type { AuthError, AuthSession } from 'latchkey-client'
import { useLoad } from './load.js'
import { client } from './session.js'
import { settings } from './settings.js'

interface Owed {
  /** Null until the server has said so. */
  owed: boolean | null
  problem: AuthError | null
  reload (): Promise<void>
}

/** Whether the user may do nothing else before they have set up a second factor, or signed in with theirs (SECOND_FACTOR). */
export function useOwed ({ user }: AuthSession): Owed {
  const mayBe = settings.secondFactor === 'everyone' || (settings.secondFactor === 'admins' && user.role === 'admin')
  const { data, problem, reload } = useLoad(async () => {
    if (!mayBe) return { data: false, error: null }
    const { error } = await client.sessions.list({ limit: 1 })
    const owed = error?.code === 'AUTH_SECOND_FACTOR_ENROLMENT'
    return error === null || owed ? { data: owed, error: null } : { data: null, error }
  })
  return { owed: mayBe ? data : false, problem, reload }
}
