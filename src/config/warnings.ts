import { getDomain } from 'tldts'
import type { Config } from './config.js'
import { isPlainHttp, isWebOrigin } from './values.js'

type CookieSettings = Pick<Config, 'production' | 'cookieSecure' | 'publicUrl' | 'corsOrigins'>
type UpstashSettings = Pick<Config, 'upstash'>
type MailSettings = Pick<Config, 'publicUrl' | 'appUrl' | 'pages' | 'mailFrom' | 'corsOrigins'>

/** Settings that are valid, but with which cookies or mails do not work or are of less use: a line each, for the operator at start. */
export function configWarnings (settings: CookieSettings & MailSettings & UpstashSettings & Pick<Config, 'bcryptCost'>): string[] {
  const cheap = settings.bcryptCost < 10 ? [`BCRYPT_COST=${settings.bcryptCost} is for tests: below 10 passwords are guessed fast from a stolen database`] : []
  return [...cheap, ...cookieWarnings(settings), ...upstashWarnings(settings), ...settings.production ? mailWarnings(settings) : []]
}

function cookieWarnings ({ production, cookieSecure, publicUrl, corsOrigins }: CookieSettings): string[] {
  const own = publicUrl === undefined ? null : new URL(publicUrl)
  const warnings: string[] = []
  // From loopback some browsers accept Secure cookies over http too; Safari does not.
  if (cookieSecure && own !== null && isPlainHttp(own)) {
    warnings.push('COOKIE_SECURE=true and PUBLIC_URL is http: browsers refuse the cookies; serve https, or set COOKIE_SECURE=false')
  }
  if (!cookieSecure && (production || own?.protocol === 'https:')) {
    warnings.push('COOKIE_SECURE=false is for development over http: without Secure and __Host- other hosts of the domain can set cookies')
  }
  for (const origin of corsOrigins.filter(isWebOrigin)) {
    const page = new URL(origin)
    if (own !== null && siteOf(page) !== siteOf(own)) {
      const problem = 'another site than PUBLIC_URL: browsers send no cookies from there, so its pages need bearer tokens'
      warnings.push(`CORS_ORIGINS has ${origin}, ${problem}`)
    } else if (own === null && cookieSecure && isPlainHttp(page)) {
      warnings.push(`CORS_ORIGINS has ${origin} and COOKIE_SECURE=true: Secure cookies are for https, which is another site than http`)
    }
  }
  return warnings
}

function upstashWarnings ({ upstash }: UpstashSettings): string[] {
  if (upstash === null || !isPlainHttp(new URL(upstash.url))) return []
  return ['UPSTASH_REDIS_REST_URL is http: whoever is on the way can read its token, and write hints with it; use https']
}

/** What users would see in their mails. In development these are files for the developer. */
function mailWarnings ({ publicUrl, appUrl, pages, mailFrom, corsOrigins }: MailSettings): string[] {
  const warnings: string[] = []
  if (publicUrl === undefined) {
    const cookies = corsOrigins.length === 0 ? '; without CORS_ORIGINS too, cookies work only on pages of this origin, with Sec-Fetch-Site' : ''
    warnings.push(`PUBLIC_URL is not set: mails cannot name this API's address, and OAuth's metadata has no issuer${cookies}`)
  }
  if (appUrl === undefined && (publicUrl === undefined || !pages)) {
    warnings.push('APP_URL is not set: in place of a link, mails show users a token and how to POST it; set it to the page that takes #token=')
  }
  if (mailFrom === 'latchkey@localhost') {
    warnings.push('MAIL_FROM is not set: mails come from latchkey@localhost, which many mail servers refuse and nobody can answer')
  }
  return warnings
}

type ServerSettings = Pick<Config, 'production' | 'databaseUrl' | 'smtp' | 'secondFactor' | 'vaultKeys'>

/** Why a server does not start with these settings, though they are valid: a line each. Commands run with them. */
export function findServerProblems ({ production, databaseUrl, smtp, secondFactor, vaultKeys }: ServerSettings): string[] {
  const problems: Array<[found: boolean, problem: string]> = [
    [
      secondFactor !== 'optional' && databaseUrl !== undefined && vaultKeys.length === 0,
      `SECOND_FACTOR=${secondFactor} needs VAULT_KEYS_FILE: without its keys nobody can enrol`
    ],
    [production && databaseUrl === undefined, 'NODE_ENV=production needs DATABASE_URL: the embedded database is for development, and for one process'],
    [production && smtp === null, 'NODE_ENV=production needs SMTP_URL: without it mails, with their tokens, are files in DATA_DIR']
  ]
  return problems.filter(([found]) => found).map(([, problem]) => problem)
}

/** Scheme and registrable domain, which SameSite compares; the host where there is none: an address, localhost, a public suffix. */
function siteOf ({ protocol, hostname }: URL): string {
  return `${protocol}//${getDomain(hostname, { allowPrivateDomains: true }) ?? hostname}`
}
