import { isIP } from 'node:net'

/** How mail is sent. `tls`: `implicit` from the first byte, `required` by STARTTLS, or `off`. */
export interface Smtp { host: string, port: number, tls: 'implicit' | 'required' | 'off', user: string | null, password: string | null }

/** Parses SMTP_URL; null if it is malformed. TLS is required unless the URL switches it off or the server is on this machine. */
export function readSmtp (text: string): Smtp | null {
  if (!URL.canParse(text)) return null
  const { protocol, hostname, port, username, password, pathname, searchParams } = new URL(text)
  const tls = searchParams.get('tls')
  if (hostname === '' || !/^\/?$/.test(pathname)) return null
  if (searchParams.size > (tls === null ? 0 : 1) || !/^(required|off)$/.test(tls ?? 'off')) return null
  const implicit = protocol === 'smtps:'
  if (implicit && tls === 'off') return null
  try {
    return {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? implicit ? 465 : 587 : Number(port),
      tls: implicit ? 'implicit' : tls === 'off' || (tls === null && isLoopback(hostname)) ? 'off' : 'required',
      user: username === '' ? null : decodeURIComponent(username),
      password: password === '' ? null : decodeURIComponent(password)
    }
  } catch {
    return null
  }
}

/** The domain of our own address: the host of `url`, or localhost if that is an IP address or there is no URL. */
export function mailHost (url: string | undefined): string {
  const hostname = url === undefined || !URL.canParse(url) ? 'localhost' : new URL(url).hostname
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? hostname : 'localhost'
}

function isLoopback (hostname: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}
