import { createStore, useStore } from './store.js'

const find = (): string | null => new URLSearchParams(location.hash.slice(1)).get('token')

/** Another object for each link that is opened. */
const opened = createStore({ token: find(), number: 0 })

// Another link of the same kind, opened in the same tab, loads nothing.
addEventListener('hashchange', () => { if (find() !== null) opened.set({ token: find(), number: opened.get().number + 1 }) })

/**
 * The token that a link has brought, after the #, which browsers send to no server; null without one. `number` counts the links that were
 * opened.
 */
export const useLinkToken = (): { token: string | null, number: number } => useStore(opened)

/** Takes a token out of the address, and out of the list of pages to go back to. The page still has it. */
export function hideLinkToken (): void {
  history.replaceState(null, '', location.pathname)
}

/** Does the same to a token that was used, which nobody needs any more. */
export function forgetLinkToken (): void {
  opened.set({ ...opened.get(), token: null })
  hideLinkToken()
}
