/** The decoded parameters of a URL of PostgreSQL, by name. */
export type Parameters = ReadonlyMap<string, string>

/** The values that a parameter may have, and what is said about others. */
type Rule = [allowed: RegExp, otherwise: string]

const flag: Rule = [/^(true|false)$/, 'must be true or false']
const file: Rule = [/./, 'must be the path of a file']
const given: Rule = [/./, 'must have a value']
const name: Rule = [/^[ -~]{1,63}$/, 'must have 1 to 63 characters, all of them ASCII']
const withoutEffect: Rule = [/^\d{1,9}$/, 'must be a number']

/** Libpq's parameters, and those that Prisma and other clients put into URLs. What isn't here is refused. */
const rules: Record<string, Rule> = {
  host: given,
  port: given,
  user: given,
  password: [/(?:)/, ''],
  dbname: given,
  application_name: name,
  fallback_application_name: name,
  options: given,
  connect_timeout: [/^([1-9]|[1-5][0-9]|60)$/, 'must be a number of seconds from 1 to 60'],
  // A certificate is always verified, so modes that may fall back to plain text make no sense.
  sslmode: [/^(disable|require|verify-ca|verify-full)$/, 'must be one of disable, require, verify-ca, verify-full'],
  ssl: flag,
  sslrootcert: file,
  sslcert: file,
  sslkey: file,
  sslcompression: [/^0$/, 'must be 0'],
  sslsni: [/^1$/, 'must be 1'],
  sslnegotiation: [/^postgres$/, 'must be postgres'],
  channel_binding: [/^(disable|prefer|require)$/, 'must be disable, prefer or require'],
  gssencmode: [/^(disable|prefer)$/, 'must be disable or prefer: connections are encrypted with TLS alone'],
  target_session_attrs: [/^(any|read-write|primary)$/, 'must be any, read-write or primary: a standby is never used'],
  load_balance_hosts: [/^disable$/, 'must be disable'],
  keepalives: withoutEffect,
  keepalives_idle: withoutEffect,
  keepalives_interval: withoutEffect,
  keepalives_count: withoutEffect,
  tcp_user_timeout: withoutEffect,
  prepare: flag,
  pgbouncer: flag,
  schema: [/^public$/, 'must be public: set DATABASE_SCHEMA']
}

/** What takes the place of parameters that are refused. */
const instead: Record<string, string> = {
  hostaddr: 'give the address as the host',
  connection_limit: 'set DATABASE_POOL',
  pool_size: 'set DATABASE_POOL',
  max: 'set DATABASE_POOL',
  pool_timeout: 'the time is fixed',
  socket_timeout: 'the time is fixed',
  statement_timeout: 'the time is fixed',
  lock_timeout: 'the time is fixed',
  statement_cache_size: 'prepare=false switches prepared statements off',
  sslaccept: 'use sslmode and sslrootcert',
  sslpassword: 'use a key without a password',
  search_path: 'set DATABASE_SCHEMA',
  currentSchema: 'set DATABASE_SCHEMA',
  service: 'services are not read',
  passfile: 'set DATABASE_URL_FILE'
}

/** Parts the query of a URL, or says what is wrong with it, as the rest of a sentence. Throws URIError. */
export function readParameters (query: string): Parameters | string {
  const found = new Map<string, string>()
  for (const part of query.split('&').filter(part => part !== '')) {
    const [key = '', ...value] = part.split('=')
    // What is no name may be a piece of a password, which no message may show.
    if (value.length === 0 || !/^[A-Za-z_]{1,40}$/.test(key)) return ' has something after the ? that is not like name=value'
    if (found.has(key)) return `: ${key} is given twice`
    found.set(key, decodeURIComponent(value.join('=')))
  }
  return found
}

/** What is wrong with parameters, each for itself and together, as the rest of a sentence; null if nothing is. */
export function findParameterProblem (parameters: Parameters): string | null {
  for (const [key, value] of parameters) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined
    if (rule === undefined) return `: ${key} is not supported${Object.hasOwn(instead, key) ? `; ${instead[key]}` : ''}`
    if (!rule[0].test(value)) return `: ${key} ${rule[1]}`
  }
  const mode = tlsMode(parameters)
  const ssl = parameters.get('ssl')
  if (ssl !== undefined && (ssl === 'false') !== (mode === 'disable')) return ': ssl and sslmode contradict each other'
  // The driver can't do it. A certificate that is verified proves the same: nobody is in between.
  if (parameters.get('channel_binding') === 'require' && !/^(require|verify-full)$/.test(mode)) {
    return ': channel_binding=require needs sslmode=require or verify-full'
  }
  return null
}

/** Libpq's sslmode. A certificate of an authority, or `ssl=true`, means that one is verified. */
export function tlsMode (parameters: Parameters): string {
  const [mode, ssl] = [parameters.get('sslmode'), parameters.get('ssl')]
  return mode ?? (ssl === 'true' || (ssl === undefined && parameters.has('sslrootcert')) ? 'verify-full' : 'disable')
}
