import { getDomain } from 'tldts'
import type { Config } from './config.js'
import { isWebOrigin } from './values.js'

type Settings = Pick<Config, 'production' | 'cookieSecure' | 'publicUrl' | 'corsOrigins'>

/** Settings that are valid, but with which cookies do not work or are less safe: a line each, for the operator at start. */
export function configWarnings ({ production, cookieSecure, publicUrl, corsOrigins }: Settings): string[] {
  const own = publicUrl === undefined ? null : new URL(publicUrl)
  const warnings: string[] = []
  // From loopback some browsers accept Secure cookies over http too; Safari does not.
  if (cookieSecure && own !== null && isPlain(own)) {
    warnings.push('COOKIE_SECURE=true and PUBLIC_URL is http: browsers refuse the cookies; serve https, or set COOKIE_SECURE=false')
  }
  if (!cookieSecure && (production || own?.protocol === 'https:')) {
    warnings.push('COOKIE_SECURE=false is for development over http: without Secure and __Host- other hosts of the domain can set cookies')
  }
  if (production && own === null && corsOrigins.length === 0) {
    warnings.push('Neither PUBLIC_URL nor CORS_ORIGINS is set: cookies work only on pages of this origin, with Sec-Fetch-Site')
  }
  for (const origin of corsOrigins.filter(isWebOrigin)) {
    const page = new URL(origin)
    if (own !== null && siteOf(page) !== siteOf(own)) {
      const problem = 'another site than PUBLIC_URL: browsers send no cookies from there, so its pages need bearer tokens'
      warnings.push(`CORS_ORIGINS has ${origin}, ${problem}`)
    } else if (own === null && cookieSecure && isPlain(page)) {
      warnings.push(`CORS_ORIGINS has ${origin} and COOKIE_SECURE=true: Secure cookies are for https, which is another site than http`)
    }
  }
  return warnings
}

/** Unencrypted, and not only within this machine. */
function isPlain ({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && !/^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

/** Scheme and registrable domain, which SameSite compares; the host where there is none: an address, localhost, a public suffix. */
function siteOf ({ protocol, hostname }: URL): string {
  return `${protocol}//${getDomain(hostname, { allowPrivateDomains: true }) ?? hostname}`
}
