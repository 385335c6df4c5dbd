import { fastifyCookie } from '@fastify/cookie'

/** The names of the cookies that hold tokens. */
export function tokenCookieNames (secure: boolean): Record<'access' | 'refresh', string> {
  // Browsers accept this prefix only from this very host and over TLS: a neighbouring subdomain can't set it (RFC 6265bis 4.1.3).
  const prefix = secure ? '__Host-' : ''
  return { access: `${prefix}latchkey`, refresh: `${prefix}latchkey-refresh` }
}

/** The token in the cookie `name`; null when there is none, or more than one: somebody else may have set the second. */
export function readTokenCookie (header: string | undefined, name: string): string | null {
  if (header === undefined) return null
  if (header.split(';').filter(pair => pair.split('=', 1)[0]?.trim() === name).length !== 1) return null
  return fastifyCookie.parse(header)[name] ?? null
}

/** Whether a page of the server's own origin, or of one of `origins`, made the request with these headers (Fetch metadata). */
export function isOwnPage (
  { origin, 'sec-fetch-site': site }: { origin?: string | undefined, 'sec-fetch-site'?: string | string[] | undefined },
  origins: ReadonlySet<string>
): boolean {
  return site === 'same-origin' || (origin !== undefined && origins.has(origin))
}
