import { isIP } from 'node:net'

/** How mails leave. `tls`: from the first byte, by STARTTLS, or not at all. */
export interface Smtp { host: string, port: number, tls: 'implicit' | 'required' | 'off', user: string | null, password: string | null }

/** Where and how mails leave; null for a URL that says it badly. Within this machine nothing needs to be encrypted, elsewhere it does unless told otherwise. */
export function readSmtp (text: string): Smtp | null {
  if (!URL.canParse(text)) return null
  const { protocol, hostname, port, username, password, pathname, searchParams } = new URL(text)
  const [[name, tls], ...more] = [...searchParams, []]
  if (hostname === '' || !/^\/?$/.test(pathname) || more.length > 1 || (name !== undefined && (name !== 'tls' || !/^(required|off)$/.test(tls ?? '')))) return null
  const implicit = protocol === 'smtps:'
  if (implicit && tls === 'off') return null
  try {
    return {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? implicit ? 465 : 587 : Number(port),
      tls: implicit ? 'implicit' : tls === 'off' || (tls === undefined && isLoopback(hostname)) ? 'off' : 'required',
      user: username === '' ? null : decodeURIComponent(username),
      password: password === '' ? null : decodeURIComponent(password)
    }
  } catch {
    return null
  }
}

/** The part behind the @ of an address of our own: the host of `url`, if it has a name. */
export function mailHost (url: string | undefined): string {
  const hostname = url === undefined || !URL.canParse(url) ? 'localhost' : new URL(url).hostname
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? hostname : 'localhost'
}

function isLoopback (hostname: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}
