import { settings } from './settings.js'

const storageKey = 'latchkey/returned'
/** An application that sends somebody here again that soon doesn't see the session: sending them back would go on for ever. */
const loopMs = 10_000

/** Where to go after the sign-in: an address of ours or of an application of CORS_ORIGINS; null for none, and for any other. */
export const returnTo: URL | null = readReturnTo(new URLSearchParams(location.search).get('return_to'))

function readReturnTo (text: string | null): URL | null {
  if (text === null) return null
  try {
    const url = new URL(text, location.origin)
    return /^https?:$/.test(url.protocol) && settings.returnOrigins.includes(url.origin) ? url : null
  } catch {
    return null
  }
}

/** `path` with the address to return to, if there is one. */
export function withReturn (path: string): string {
  return returnTo === null ? path : `${path}?return_to=${encodeURIComponent(returnTo.href)}`
}

/** Whether somebody who comes here with a session may be sent back at once. */
export function mayReturnAtOnce (): boolean {
  try {
    const before = sessionStorage.getItem(storageKey)
    const now = `${Date.now()} ${returnTo?.href}`
    sessionStorage.setItem(storageKey, now)
    const [at, url] = before?.split(' ') ?? []
    return url !== returnTo?.href || Date.now() - Number(at) > loopMs
  } catch {
    return false
  }
}
