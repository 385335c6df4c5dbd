import type { IncomingHttpHeaders } from 'node:http'
import { bearerOf } from '../http/credentials.js'
import { isOwnPage, readTokenCookie, tokenCookieNames } from '../http/token-cookie.js'
import { isSafeMethod } from '../shared/safe-method.js'

/** Headers of Node's own kind, or of `fetch`. */
export type AnyHeaders = IncomingHttpHeaders | Headers

/** A token as the caller presents it: by itself, in headers, or in a request. */
export type Presentation = string | AnyHeaders | { headers: AnyHeaders, method?: string | undefined }

/**
 * The token that was presented, and whether in a cookie, which carries only tokens of sessions. `foreign`: another site's page sent that
 * cookie along with a method that changes something.
 */
export interface Presented { token: string, byCookie: boolean, foreign: boolean }

/**
 * Reads what is presented, by the rules of the server's own routes: a Bearer rules out the cookie (RFC 6750 2.1), and of two cookies with
 * one name neither counts. `origins`: those whose pages may send the cookie. Null: there is no token.
 */
export function createPresentedReader ({ cookieSecure, origins }: { cookieSecure: boolean, origins: string[] }) {
  const { access } = tokenCookieNames(cookieSecure)
  const trusted = new Set(origins)

  return (presentation: Presentation): Presented | null => {
    if (typeof presentation === 'string') return { token: presentation, byCookie: false, foreign: false }
    const { headers, method = 'GET' } = requestOf(presentation)
    const bearer = bearerOf(read(headers, 'authorization'))
    if (bearer !== null) return { token: bearer, byCookie: false, foreign: false }
    const token = readTokenCookie(read(headers, 'cookie'), access)
    if (token === null) return null
    const site = { origin: read(headers, 'origin'), 'sec-fetch-site': read(headers, 'sec-fetch-site') }
    return { token, byCookie: true, foreign: !isSafeMethod(method) && !isOwnPage(site, trusted) }
  }
}

function requestOf (presentation: Exclude<Presentation, string>): { headers: AnyHeaders, method?: string | undefined } {
  const { headers } = presentation as { headers?: unknown }
  const isRequest = typeof headers === 'object' && headers !== null
  return isRequest ? presentation as { headers: AnyHeaders, method?: string } : { headers: presentation as AnyHeaders }
}

function read (headers: AnyHeaders, name: 'authorization' | 'cookie' | 'origin' | 'sec-fetch-site'): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}
