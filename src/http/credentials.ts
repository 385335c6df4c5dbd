/** The token in an Authorization header: as Bearer (RFC 6750 2.1), or as the password of Basic (RFC 6749 2.3.1). */
export interface Credentials { scheme: 'bearer' | 'basic', token: string }

/** Null without a header, for an empty one and for another scheme. The user name of Basic is not looked at: the token says whose it is. */
export function credentialsOf (authorization: string | undefined): Credentials | null {
  const [, scheme = '', rest = ''] = /^(bearer|basic)(?: +(.*))?$/is.exec(authorization ?? '') ?? []
  switch (scheme.toLowerCase()) {
    case 'bearer': return { scheme: 'bearer', token: rest }
    case 'basic': return { scheme: 'basic', token: passwordOf(Buffer.from(rest, 'base64').toString()) }
    default: return null
  }
}

/**
 * The token of a Bearer header, empty where the header has none; null for any other header or none. Only a Bearer rules out cookies,
 * because browsers send Basic by themselves to a site that is protected by it.
 */
export function bearerOf (authorization: string | undefined): string | null {
  const match = authorization === undefined ? null : /^bearer(?: +(.*))?$/is.exec(authorization)
  return match === null ? null : match[1] ?? ''
}

/** Name and password are each encoded like a form's values before they are put together. */
function passwordOf (pair: string): string {
  const [, password = ''] = /^[^:]*:(.*)$/s.exec(pair) ?? []
  return new URLSearchParams(`=${password.replaceAll('&', '%26')}`).get('') ?? ''
}
