import { createContext, createElement, type ReactNode, useContext, useMemo, useSyncExternalStore } from 'react'
import type { Client } from './client.js'
import type { AuthError, AuthSession } from './types.js'

export interface UseSession {
  /** Who is signed in; null for nobody, and while that isn't known. */
  data: AuthSession | null
  /** Whether it isn't known yet. */
  isPending: boolean
  /** Why it can't be found out at the moment; it is tried again without being asked. */
  error: AuthError | null
  /** Asks Latchkey for the user as they are now. */
  refetch (): Promise<void>
}

type Snapshot = Omit<UseSession, 'refetch'>

interface Store {
  subscribe (onChange: () => void): () => void
  snapshot (): Snapshot
  serverSnapshot (): Snapshot
  refetch (): Promise<void>
}

const Context = createContext<Store | null>(null)
const pending: Snapshot = { data: null, isPending: true, error: null }

/** Gives `useSession` its client. `initialSession` is what the server rendered the page with, where it knows: null for nobody. */
export function AuthProvider ({
  client,
  initialSession,
  children
}: { client: Client, initialSession?: AuthSession | null, children?: ReactNode }) {
  const store = useMemo(() => createStore(client, initialSession), [client, initialSession])
  return createElement(Context.Provider, { value: store }, children)
}

/** The session of the AuthProvider above; renders again when it changes. Throws without one. */
export function useSession (): UseSession {
  const store = useContext(Context)
  if (store === null) throw new Error('useSession needs an AuthProvider above it')
  const snapshot = useSyncExternalStore(store.subscribe, store.snapshot, store.serverSnapshot)
  return useMemo(() => ({ ...snapshot, refetch: store.refetch }), [snapshot, store])
}

function createStore (client: Client, initial: AuthSession | null | undefined): Store {
  const server = initial === undefined ? pending : { data: initial, isPending: false, error: null }
  let current: Snapshot = server
  const listeners = new Set<() => void>()
  let subscription: { unsubscribe (): void } | null = null

  function show (next: Snapshot): void {
    current = next
    for (const listener of listeners) listener()
  }

  /** What an event has told meanwhile is newer than an answer. */
  async function ask (work: () => Promise<unknown>): Promise<void> {
    await work()
    const { data, error } = await client.getSession()
    if (error !== null) show({ data: data ?? current.data, isPending: false, error })
    else if (current.error !== null || current.isPending) show({ data, isPending: false, error })
  }

  return {
    subscribe (onChange) {
      listeners.add(onChange)
      if (subscription === null) {
        subscription = client.onAuthStateChange((event, data) => {
          if (event !== 'REAUTHENTICATION_REQUIRED') show({ data, isPending: false, error: null })
        })
        void ask(async () => {})
      }
      return () => {
        listeners.delete(onChange)
        if (listeners.size > 0) return
        subscription?.unsubscribe()
        subscription = null
      }
    },
    snapshot: () => current,
    serverSnapshot: () => server,
    refetch: () => ask(() => client.getUser())
  }
}
