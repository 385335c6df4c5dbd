import { after, type Channel, findLocalStorage, platform, sleep } from './platform.js'
import type { AuthError } from './types.js'

/** How long a claim is waited for: its tab may have been frozen or closed since. */
const claimMs = 4_000
/** What a message between tabs may take to arrive. */
const windowMs = 30

interface Message {
  from: string
  /** The sender wants to refresh; `firm`: it has asked around and is at it. */
  claim?: { firm: boolean }
  /** The sender's claim is over; with the error that all tabs share, if there was one. */
  done?: { error: AuthError | null }
  /** Something to take over. */
  news?: unknown
}

interface Parts {
  /** What the tabs have in common; null: this client shares its session with nobody. */
  name: string | null
  /** The key in localStorage whose changes matter here. */
  key: string | null
  onNews (news: unknown): void
  /** Messages may have been missed, or somebody changed the storage. `surely`: only asking shows what is true now. */
  onWake (surely: boolean): unknown
}

export type Tabs = ReturnType<typeof createTabs>

/**
 * All pages of an origin that share a session. No Web Locks: a page that is frozen, or cached by the back button, would take its lock
 * along. A claim is only a courtesy among tabs: two that refresh all the same get identical tokens from the server.
 */
export function createTabs ({ name, key, onNews, onWake }: Parts) {
  const id = String(Math.random())
  let channel: Channel | null = null
  let own: 'none' | 'asking' | 'firm' = 'none'
  let rival: { id: string, end (error: AuthError | null): void, over: Promise<AuthError | null> } | null = null
  /** Null while nothing is listened to. */
  let listening: AbortController | null = null

  const post = (message: Omit<Message, 'from'>): void => channel?.postMessage({ from: id, ...message })

  function open (): void {
    if (name === null || channel !== null || platform.BroadcastChannel === undefined || platform.location === undefined) return
    channel = new platform.BroadcastChannel(name)
    channel.unref?.()
    channel.onmessage = ({ data }) => receive(data as Message)
  }

  /** A page with an open channel is not cached by the back button, or thrown out of the cache by the first message. */
  function close (): void {
    release(null)
    channel?.close()
    channel = null
    rival?.end(null)
  }

  function receive ({ from, claim, done, news }: Message): void {
    if (claim !== undefined) hear(from, claim.firm)
    // Before the waiting ones go on, so that they find what has come of it.
    if (news !== undefined) onNews(news)
    if (done !== undefined && rival?.id === from) rival.end(done.error)
  }

  function hear (from: string, firm: boolean): void {
    // Of two that ask at once the smaller id goes first; whoever is at it already stays.
    if (own === 'firm' || (own === 'asking' && !firm && id < from)) {
      post({ claim: { firm: own === 'firm' } })
      return
    }
    if (rival?.id === from) return
    rival?.end(null)
    let resolve: (error: AuthError | null) => void = () => {}
    const over = new Promise<AuthError | null>(done => { resolve = done })
    const stop = after(claimMs, () => end(null))
    const end = (error: AuthError | null): void => {
      stop()
      if (rival?.id === from) rival = null
      resolve(error)
    }
    rival = { id: from, end, over }
  }

  function release (error: AuthError | null): void {
    if (own !== 'none') post({ done: { error } })
    own = 'none'
  }

  function stamp (): string | null {
    try { return key === null ? null : findLocalStorage()?.getItem(key) ?? null } catch { return null }
  }

  /** Without localStorage nothing shows what was missed. */
  const wake = (): void => void onWake(findLocalStorage() === null)

  const on = (
    target: typeof platform | typeof platform.document,
    type: string,
    listener: Parameters<NonNullable<typeof platform.addEventListener>>[1]
  ): void => {
    target?.addEventListener?.(type, listener, listening ?? undefined)
  }

  return {
    /** From now on other tabs are heard. */
    start (): void {
      if (listening !== null) return
      listening = new AbortController()
      open()
      on(platform, 'storage', event => {
        // No key: all of it was cleared, by a script or by Clear-Site-Data. Else the message that belongs to it may still be on its way.
        if (event.key === null) onWake(true)
        else if (event.key === key) after(4 * windowMs, wake)
      })
      on(platform, 'pagehide', close)
      on(platform, 'pageshow', event => {
        open()
        if (event.persisted === true) onWake(true)
      })
      on(platform, 'online', wake)
      on(platform.document, 'resume', wake)
      on(platform.document, 'visibilitychange', () => { if (!isHidden()) wake() })
    },

    stop (): void {
      listening?.abort()
      listening = null
      close()
    },

    /**
     * Undefined once it is this tab's turn to refresh. Else another tab has just been at it: null, or its error, for all would get the
     * same.
     */
    async claim (): Promise<AuthError | null | undefined> {
      if (own === 'firm' || channel === null) return undefined
      if (rival === null) {
        own = 'asking'
        post({ claim: { firm: false } })
        // In two parts: after a pause of the whole page the first timer comes before messages that have long arrived.
        for (let part = 0; part < 2; part++) await sleep(windowMs / 2)
        if (rival === null && own === 'asking') {
          own = 'firm'
          post({ claim: { firm: true } })
          return undefined
        }
        own = 'none'
      }
      return await (rival as { over: Promise<AuthError | null> } | null)?.over ?? null
    },

    release,
    tell: (news: unknown): void => post({ news }),

    /** What changes whenever a tab gets other tokens; null before that, and where nothing can be kept. It is no secret. */
    stamp,

    newStamp (): string | null {
      try { if (key !== null) findLocalStorage()?.setItem(key, String(Math.random())) } catch {}
      return stamp()
    }
  }
}

export const isHidden = (): boolean => platform.document?.visibilityState === 'hidden'
