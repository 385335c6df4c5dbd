import { isIPv6 } from 'node:net'
import { findParameterProblem, type Parameters, readParameters, tlsMode } from './postgres-parameters.js'

/** Where a PostgreSQL server is and how to log in to it, read from a URL. */
export interface PostgresAddress {
  /** A name, an address without brackets, or the folder of a Unix socket. */
  host: string
  /** 5432 unless the URL says otherwise. */
  port: number
  /** Undefined: the driver takes the operating system's. */
  user: string | undefined
  password: string | undefined
  /** Undefined: it is called like the user. */
  database: string | undefined
  /** Null where nothing is encrypted: with sslmode=disable or none, and through a Unix socket. */
  tls: PostgresTls | null
  /** False behind a pooler that hands each transaction another connection: what was prepared on one isn't there on the next. */
  prepare: boolean
  applicationName: string
  /** The command-line options that a session starts with, as libpq's `options`. */
  options: string | undefined
  connectTimeoutSeconds: number
}

/** PEM files of the authorities that are trusted (undefined: the system's), and of the client's own certificate and key. */
export interface PostgresTls {
  checksName: boolean
  rootFile: string | undefined
  certFile: string | undefined
  keyFile: string | undefined
}

/** Shorter than a request waits for the database: an address that swallows packets must not use up all of its time. */
const defaultConnectSeconds = 3

interface Parts {
  user: string | undefined
  password: string | undefined
  host: string
  port: string
  database: string
  parameters: Parameters
}

/** Reads a URL as libpq does; null if `findPostgresProblem` finds a problem in it. */
export function readPostgresUrl (text: string): PostgresAddress | null {
  const parts = split(text)
  return typeof parts === 'string' || findProblem(parts) !== null ? null : toAddress(parts)
}

/** What is wrong with the URL in the variable `name`, in one sentence without values; null if nothing is. */
export function findPostgresProblem (text: string, name = 'DATABASE_URL'): string | null {
  const parts = split(text)
  const problem = typeof parts === 'string' ? parts : findProblem(parts)
  return problem === null ? null : `${name}${problem}`
}

/** Whether `host` is the folder of a Unix socket. */
export const isSocketFolder = (host: string) => host.startsWith('/')

const form = new RegExp([
  '^postgres(?:ql)?://(?:(?<login>[^/?]*)@)?(?<place>[^/?]*)',
  '(?:/(?<database>[^?]*))?(?:\\?(?<query>.*))?$'
].join(''), 's')

/** The decoded parts of a URL, those in the query before others; or the rest of a sentence that begins with the variable's name. */
function split (untrimmed: string): Parts | string {
  const text = untrimmed.trim()
  const found = form.exec(text)
  if (found === null) return ' must begin with postgres:// or postgresql://'
  const { login, place = '', database = '', query = '' } = found.groups ?? {}
  if (text.includes('#')) return ' must have no #: write it as %23'
  if (`${database}?${query}`.includes('@')) return ' must have no @, / or ? in user, password or query: write them as %40, %2F and %3F'
  if (/[\s\p{Cc}]/u.test(text)) return ' must have no spaces: write them as %20'
  try {
    const [user, password] = login === undefined ? [] : splitOnce(login, ':')
    const parameters = readParameters(query)
    if (typeof parameters === 'string') return parameters
    const at = splitPlace(parameters.has('host') ? '' : place)
    return typeof at === 'string' ? at : {
      user: parameters.get('user') ?? decode(user),
      password: parameters.get('password') ?? decode(password),
      host: parameters.get('host') ?? decodeURIComponent(at.host),
      port: parameters.get('port') ?? at.port,
      database: parameters.get('dbname') ?? decodeURIComponent(database),
      parameters
    }
  } catch {
    return ' has a % that is not part of a percent-encoding: write it as %25'
  }
}

/** What has the right form and still can't be used. */
function findProblem ({ user = '', password = '', host, port, database, parameters }: Parts): string | null {
  const texts = [user, password, host, database, ...parameters.values()]
  if (texts.some(text => /\p{Cc}/u.test(text))) return ' must have no control characters'
  if (host.includes(',') || port.includes(',')) {
    return ' must name one host: of several, a DNS name, an address that moves or a proxy has to choose the primary'
  }
  if (!isSocketFolder(host) && !isIPv6(host) && /[^\p{L}\p{N}._-]/u.test(host)) {
    return ' must have the name or address of a host, or the folder of a Unix socket'
  }
  if (port !== '' && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) return ' must have a port from 1 to 65535'
  return findParameterProblem(parameters)
}

function toAddress ({ user, password, host, port, database, parameters }: Parts): PostgresAddress {
  const mode = tlsMode(parameters)
  const root = parameters.get('sslrootcert')
  return {
    host: host || 'localhost',
    port: Number(port || 5432),
    user: user || undefined,
    password,
    database: database || user || undefined,
    // As in libpq: what stays on this machine is never encrypted.
    tls: mode === 'disable' || isSocketFolder(host) ? null : {
      checksName: mode !== 'verify-ca',
      rootFile: root === 'system' ? undefined : root,
      certFile: parameters.get('sslcert'),
      keyFile: parameters.get('sslkey')
    },
    prepare: parameters.get('prepare') !== 'false' && parameters.get('pgbouncer') !== 'true',
    applicationName: parameters.get('application_name') ?? parameters.get('fallback_application_name') ?? 'latchkey',
    options: parameters.get('options'),
    connectTimeoutSeconds: Number(parameters.get('connect_timeout') ?? defaultConnectSeconds)
  }
}

/** Host and port, or what is wrong. */
function splitPlace (place: string): { host: string, port: string } | string {
  if (place.includes(',')) return { host: place, port: '' }
  const found = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::([^:]*))?$/.exec(place)
  if (found === null) return ' must have one colon before the port, and an IPv6 address in brackets, like [::1]:5432'
  return { host: found[1] ?? found[2] ?? '', port: found[3] ?? '' }
}

function splitOnce (text: string, separator: string): [before: string, after?: string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}

function decode (text: string | undefined): string | undefined {
  return text === undefined ? undefined : decodeURIComponent(text)
}
