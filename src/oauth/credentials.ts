/** The token in an Authorization header, and how it came there: as Bearer (RFC 6750 2.1), or as the password of Basic (RFC 6749 2.3.1). */
export interface Credentials { scheme: 'bearer' | 'basic', token: string }

/** Null for an absent header and for another scheme. The user name of Basic is not looked at: the token says whose it is. */
export function credentialsOf (authorization: string | undefined): Credentials | null {
  const [, scheme = '', rest = ''] = /^(bearer|basic)(?: +(.*))?$/i.exec(authorization ?? '') ?? []
  switch (scheme.toLowerCase()) {
    case 'bearer': return { scheme: 'bearer', token: rest }
    case 'basic': return { scheme: 'basic', token: passwordOf(Buffer.from(rest, 'base64').toString()) }
    default: return null
  }
}

/** Name and password are each encoded like a form's values before they are put together. */
function passwordOf (pair: string): string {
  const [, password = ''] = /^[^:]*:(.*)$/s.exec(pair) ?? []
  return new URLSearchParams(`=${password.replaceAll('&', '%26')}`).get('') ?? ''
}
