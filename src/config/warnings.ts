import { getDomain } from 'tldts'
import type { Config } from './config.js'

/** What an operator is told at start: settings that are valid, and yet cookies will not work with them, or are weaker for them. */
export function configWarnings ({ production, cookieSecure, publicUrl, corsOrigins }: Pick<Config, 'production' | 'cookieSecure' | 'publicUrl' | 'corsOrigins'>): string[] {
  const own = publicUrl === undefined ? null : new URL(publicUrl)
  const warnings: string[] = []
  // Of loopback some browsers take them over http, too; Safari does not.
  if (cookieSecure && own !== null && isPlain(own)) {
    warnings.push('COOKIE_SECURE=true and PUBLIC_URL is http: browsers refuse the cookies; serve https, or for development set COOKIE_SECURE=false')
  }
  if (!cookieSecure && (production || own?.protocol === 'https:')) {
    warnings.push('COOKIE_SECURE=false is for development over http: cookies go without Secure and __Host-, and a neighbouring host can plant them')
  }
  if (production && own === null && corsOrigins.length === 0) {
    warnings.push('Neither PUBLIC_URL nor CORS_ORIGINS is set: cookies count only for pages of this very origin, in browsers that send Sec-Fetch-Site')
  }
  for (const origin of corsOrigins) {
    const page = new URL(origin)
    if (own !== null && siteOf(page) !== siteOf(own)) {
      warnings.push(`CORS_ORIGINS has ${origin}, another site than PUBLIC_URL: browsers send no cookies from there, so its pages need bearer tokens`)
    } else if (own === null && cookieSecure && isPlain(page)) {
      warnings.push(`CORS_ORIGINS has ${origin} and COOKIE_SECURE=true: Secure cookies belong to https, which is another site than http`)
    }
  }
  return warnings
}

/** http, and not to this machine alone. */
function isPlain ({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && !/^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

/** Scheme and registrable domain, which SameSite compares; the host itself where there is none: an address, localhost, a public suffix. */
function siteOf ({ protocol, hostname }: URL): string {
  return `${protocol}//${getDomain(hostname, { allowPrivateDomains: true }) ?? hostname}`
}
