type Listener = (event: { key?: string | null, persisted?: boolean, data?: unknown }) => void
interface Target {
  addEventListener? (type: string, listener: Listener, options?: { signal: AbortSignal }): void
}

export interface Channel extends Target {
  postMessage (message: unknown): void
  close (): void
  onmessage: Listener | null
  unref? (): void
}

/** What a browser has and other runtimes may lack. Pages and their tabs are the only ones with all of it. */
export interface Platform extends Target {
  location?: { href: string, origin: string, hostname: string }
  document?: Target & { visibilityState: string }
  BroadcastChannel?: new (name: string) => Channel
}

export const platform = globalThis as unknown as Platform

/** localStorage; null where there is none, or where the user forbids it, which browsers tell by throwing. */
export function findLocalStorage (): {
  getItem (key: string): string | null
  setItem (key: string, text: string): void
  removeItem (key: string): void
}
  | null {
  try {
    return (globalThis as unknown as { localStorage?: ReturnType<typeof findLocalStorage> }).localStorage ?? null
  } catch {
    return null
  }
}

/** Milliseconds that nobody can set back. A server's `expiresIn` is added to this, as clocks of devices are often wrong. */
export const now = (): number => performance.now()

export const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms) })

/** As setTimeout, but the timer never keeps a process alive, and a delay past what timers can hold fires early instead of at once. */
export function after (ms: number, done: () => void): () => void {
  const timer = setTimeout(done, Math.min(Math.max(ms, 0), 2 ** 31 - 1)) as unknown as { unref? (): void }
  timer.unref?.()
  return () => clearTimeout(timer as unknown as Parameters<typeof clearTimeout>[0])
}
