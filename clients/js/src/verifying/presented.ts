/** Headers of `fetch`, of Next.js's `headers()`, or of Node.js. */
export type AnyHeaders = { get (name: string): string | null } | Record<string, string | string[] | undefined>

/** A token as the caller presents it: by itself, in headers, or in a request. */
export type Presentation = string | AnyHeaders | { headers: AnyHeaders, method?: string | undefined }

/**
 * The token that was presented, and whether in a cookie, which carries only tokens of sessions. `foreign`: another site's page sent that
 * cookie along with a request that may change something.
 */
export interface Presented { token: string, byCookie: boolean, foreign: boolean }

/** As the server has them. */
export interface CookieSettings {
  /** COOKIE_SECURE; true unless given. */
  cookieSecure?: boolean | undefined
  /** PUBLIC_URL: Latchkey's address as browsers see it. */
  publicUrl?: string | undefined
  /** CORS_ORIGINS: whose pages may send the cookie along with what changes something, besides PUBLIC_URL's and the application's own. */
  corsOrigins?: string[] | undefined
}

/** Reads what is presented, by the rules of the server's own routes. Null: there is no token. Throws TypeError for bad settings. */
export function createPresentedReader (
  { cookieSecure = true, publicUrl, corsOrigins = [] }: CookieSettings
): (presentation: Presentation) => Presented | null {
  const cookie = cookieSecure ? '__Host-latchkey' : 'latchkey'
  const own = new Set([...corsOrigins.map(originOf), ...publicUrl === undefined ? [] : [httpUrl('publicUrl', publicUrl).origin]])

  return presentation => {
    if (typeof presentation === 'string') return { token: presentation, byCookie: false, foreign: false }
    const { headers, method } = requestOf(presentation)
    // A Bearer rules the cookie out; what browsers send by themselves to a site behind Basic doesn't.
    const bearer = /^bearer(?: +(.*))?$/is.exec(read(headers, 'authorization') ?? '')
    if (bearer !== null) return { token: bearer[1] ?? '', byCookie: false, foreign: false }
    const token = readCookie(read(headers, 'cookie'), cookie)
    if (token === null) return null
    const origin = read(headers, 'origin')
    const isOwnPage = read(headers, 'sec-fetch-site') === 'same-origin' || (origin !== null && own.has(origin))
    return { token, byCookie: true, foreign: isUnsafe(method, origin) && !isOwnPage }
  }
}

/** An http or https URL without user, query and fragment, which would get lost. Throws TypeError, without the value. */
export function httpUrl (name: string, text: string): URL {
  const url = parse(text)
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search === '' && url.hash === '') return url
  throw new TypeError(`${name} must be an http or https URL without user, query and fragment`)
}

function originOf (text: string): string {
  if (parse(text)?.origin === text) return text
  throw new TypeError('corsOrigins must list origins like https://app.example.com')
}

/** `URL.canParse` is missing in older workers. */
function parse (text: string): URL | null {
  try {
    return new URL(text)
  } catch {
    return null
  }
}

/**
 * Whether the request may change something (RFC 9110 9.2.1). Headers alone don't say its method, but an Origin does: browsers send one with
 * each method but GET and HEAD (https://fetch.spec.whatwg.org/#append-a-request-origin-header).
 */
function isUnsafe (method: string | undefined, origin: string | null): boolean {
  return method === undefined ? origin !== null : method !== 'GET' && method !== 'HEAD'
}

function requestOf (presentation: Exclude<Presentation, string>): { headers: AnyHeaders, method?: string | undefined } {
  const { headers } = presentation as { headers?: unknown }
  const isRequest = typeof headers === 'object' && headers !== null
  return isRequest ? presentation as { headers: AnyHeaders, method?: string } : { headers: presentation as AnyHeaders }
}

function read (headers: AnyHeaders, name: string): string | null {
  if (typeof headers.get === 'function') return headers.get(name)
  const value = (headers as Record<string, string | string[] | undefined>)[name]
  return typeof value === 'string' ? value : null
}

/** Null when there is none, or more than one: somebody else may have set the second, and servers differ in which of them counts. */
function readCookie (header: string | null, name: string): string | null {
  const pairs = (header ?? '').split(';').filter(pair => pair.split('=', 1)[0]?.trim() === name)
  const [pair = ''] = pairs
  const at = pair.indexOf('=')
  if (pairs.length !== 1 || at === -1 || strip(pair.slice(0, at)) !== name) return null
  const value = strip(pair.slice(at + 1))
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/** Without the blanks around it. Letter by letter: an expression would take the square of its length for many blanks. */
function strip (text: string): string {
  const isBlank = (at: number) => text[at] === ' ' || text[at] === '\t'
  let [from, to] = [0, text.length]
  while (from < to && isBlank(from)) from++
  while (to > from && isBlank(to - 1)) to--
  return text.slice(from, to)
}
