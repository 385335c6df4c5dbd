/** At most `points` requests within `seconds`. */
export interface Limit { points: number, seconds: number }

/** A duration like 30s, 15m or 7d in seconds. */
export function toSeconds (text: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) as RegExpExecArray
  return Number(amount) * { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 }[unit as 'ms']
}

/** The same for a duration that may be `0`. */
export function secondsOrNone (text: string): number {
  return text === '0' ? 0 : toSeconds(text)
}

/** A limit like 5/1m; null for `0`, which switches the limit off. */
export function toLimit (text: string): Limit | null {
  if (text === '0') return null
  const [points, time] = text.split('/') as [string, string]
  return { points: Number(points), seconds: toSeconds(time) }
}

/** The items of a list like `a, b`. */
export function list (text: string): string[] {
  return text.split(',').map(part => part.trim()).filter(part => part !== '')
}

/** Whether `text` is the origin of web pages, which may send cookies, and not that of an app. */
export function isWebOrigin (text: string): boolean {
  return /^https?:/.test(text)
}

/** The URL that paths are appended to: without slashes at its end, and without query and fragment. */
export function toBaseUrl (text: string): string {
  const { origin, pathname } = new URL(text)
  return origin + pathname.replace(/\/+$/, '')
}

/** Whether a URL is unencrypted, and not only within this machine. */
export function isPlainHttp ({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && !/^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

/** Whether `text` is exactly the origin of web pages, or of an app that shows them (`capacitor://localhost`), as browsers send it. */
export function isOrigin (text: string): boolean {
  if (isWebOrigin(text)) return URL.canParse(text) && new URL(text).origin === text && !text.includes('*')
  return /^(?!ftp:|file:|wss?:)[a-z][a-z0-9+.-]*:\/\/[a-z0-9][a-z0-9._-]*(:\d{1,5})?$/.test(text)
}

/** Whether `text` is the name of a header (RFC 9110 5.1). */
export function isHeaderName (text: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text) && text !== '*'
}

/** Whether `name` is an IANA time zone. */
export function isTimeZone (name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== ''
  } catch {
    return false
  }
}

/** The origins of web pages that belong to this installation, besides the one that it answers on. */
export function ownOrigins ({ publicUrl, corsOrigins }: { publicUrl?: string | undefined, corsOrigins: string[] }): string[] {
  return [...new Set([...corsOrigins.filter(isWebOrigin), ...publicUrl === undefined ? [] : [new URL(publicUrl).origin]])]
}
