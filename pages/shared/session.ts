import { type AuthError, type AuthSession, createClient } from 'latchkey-client'
import type { Key } from './i18n.js'
import { base } from './settings.js'
import { askProof } from './step-up.js'
import { createStore } from './store.js'

/** Who uses the pages, as far as is known. */
export type Visitor =
  /** Nobody could say yet; `problem` is why. */
  | { state: 'unknown', problem: AuthError | null }
  /** `notice`: what the sign-in says has just happened, here or in another tab. */
  | { state: 'out', notice: Key | null }
  | { state: 'in', auth: AuthSession }
  /** The session was ended by somebody else, or has expired, while a page was open. */
  | { state: 'ended', auth: AuthSession }

/** How long until the server is asked again, in milliseconds. */
export const retryMs = 3_000

/** Asks in the language that is shown, whatever the browser's is: the answer may be a mail. */
const fetchInLanguage: typeof fetch = (input, init) => {
  const headers = new Headers(init?.headers)
  headers.set('accept-language', document.documentElement.lang)
  return fetch(input, { ...init, headers })
}

/** The pages' only way to the server. */
export const client = createClient({ url: base, mode: 'cookie', fetch: fetchInLanguage })

export const visitor = createStore<Visitor>({ state: 'unknown', problem: null })

let expectsEnd = false
let farewell: Key = 'signIn.left'

/** Asks who is there, and goes on asking while nobody answers. */
export function startSession (): void {
  client.onAuthStateChange((event, auth, error) => {
    const before = visitor.get()
    if (event === 'REAUTHENTICATION_REQUIRED') return error === null ? null : askProof(error)
    if (auth !== null) visitor.set({ state: 'in', auth })
    else if (before.state === 'ended') return null
    else if (before.state === 'in' && error !== null && !expectsEnd) visitor.set({ state: 'ended', auth: before.auth })
    else {
      visitor.set({ state: 'out', notice: before.state === 'in' ? farewell : null })
      farewell = 'signIn.left'
    }
    return null
  })
  client.startAutoRefresh()
  void ask()
  hideWhileAway()
}

/** Forgets a session that has ended: its page is left. */
export function leave (): void {
  visitor.set({ state: 'out', notice: null })
}

/** What the sign-in says after the next sign-out. */
export function sayAfterLeaving (notice: Key): void {
  farewell = notice
}

/** Finds out whether the session still goes on, after something that may have ended it on purpose; `notice`: what the sign-in then says. */
export async function recheck (notice: Key = 'signIn.left'): Promise<void> {
  expectsEnd = true
  farewell = notice
  await client.getUser()
  setTimeout(() => {
    expectsEnd = false
    farewell = 'signIn.left'
  })
}

async function ask (): Promise<void> {
  const { error } = await client.getSession()
  if (error === null || visitor.get().state !== 'unknown') return
  visitor.set({ state: 'unknown', problem: error })
  setTimeout(() => void ask(), retryMs)
}

/** A page that the back button takes out of its cache shows nothing before it is known whether its session goes on. */
function hideWhileAway (): void {
  const page = document.documentElement
  addEventListener('pagehide', () => { page.dataset.away = '' })
  addEventListener('pageshow', async ({ persisted }) => {
    while (persisted && (await client.getUser()).error !== null) {
      page.dataset.away = 'unreachable'
      await new Promise(resolve => setTimeout(resolve, retryMs))
    }
    delete page.dataset.away
  })
}
