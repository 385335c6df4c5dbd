import { type Config, readVariables, type Variables } from './config.js'
import { environmentSchema } from './environment.js'
import { nameCache, nameDatabase, nameMail } from './names.js'
import { secretVariables } from './secret-files.js'
import { configWarnings, findServerProblems } from './warnings.js'

/** A variable as it counts; null for one that has no value. Passwords in it are masked. */
export interface Variable { name: string, value: string | null, source: 'default' | 'environment' | 'file' }

/** What a server would do with the environment. With problems it would not start, and the rest is empty. */
export interface ConfigCheck {
  problems: string[]
  warnings: string[]
  uses: { database: string, cache: string, mail: string } | null
  variables: Variable[]
}

/** Checks `env` (by default the process's own) as a server does at its start; connects to nothing. */
export function checkConfig (env?: Variables): ConfigCheck & { config: Config | null } {
  const { environment, set, fromFile, problems, config } = readVariables(env)
  if (config === null) return { config, problems, warnings: [], uses: null, variables: [] }
  const variables = Object.keys(environmentSchema.properties).map(name => {
    const value = environment[name as keyof typeof environment]
    const source = fromFile.includes(name) ? 'file' as const : set.includes(name) ? 'environment' as const : 'default' as const
    return { name, value: value === undefined || value === '' ? null : mask(name, String(value)), source }
  })
  const uses = { database: nameDatabase(config), cache: nameCache(config), mail: nameMail(config) }
  return { config, problems: findServerProblems(config), warnings: configWarnings(config), uses, variables }
}

/** URLs keep what tells them apart; nothing else of a secret is shown. */
function mask (name: string, value: string): string {
  const isSecret = secretVariables.includes(name)
  if (!value.includes('://')) return isSecret ? '***' : value
  return value.split(/,(?=\s*[a-z]+:\/\/)/).map(url => maskUrl(url, isSecret)).join(',')
}

/** Parameters of a URL that are no secrets. */
const openParameters = new RegExp(`^(${[
  'host', 'port', 'user', 'dbname', 'ssl', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding', 'application_name',
  'connect_timeout', 'prepare', 'pgbouncer', 'schema', 'tls'
].join('|')})=`)

function maskUrl (url: string, isSecret: boolean): string {
  const [, scheme = '', user = null, rest = ''] = /^([^:]*:\/\/)(?:(.*)@)?(.*)$/s.exec(url) ?? []
  const [place = '', ...query] = rest.split('?')
  const parameters = query.join('?').split('&').map(part => openParameters.test(part) || !isSecret ? part : part.replace(/=.*/s, '=***'))
  return `${scheme}${user === null ? '' : `${maskUser(scheme, user)}@`}${place}${query.length === 0 ? '' : `?${parameters.join('&')}`}`
}

/** Without a colon it is a user's name in PostgreSQL's URLs; in others it may be a password put in the wrong place. */
function maskUser (scheme: string, user: string): string {
  const [name = ''] = user.split(':', 1)
  if (user.includes(':')) return `${name}:***`
  return scheme.startsWith('postgres') ? name : '***'
}
