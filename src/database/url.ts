import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { ConfigError } from '../config/config.js'

/** Where and how a PostgreSQL server is reached. */
export interface PostgresAddress {
  url: string
  ssl: ConnectionOptions
    | false, /** False behind a pooler that hands each transaction another connection: what was prepared on one isn't there on the next. */
  prepare: boolean
}

const modes = ['disable', 'require', 'verify-ca', 'verify-full']

/**
 * Reads what is not the server's off a connection URL: libpq's sslmode, sslrootcert, sslcert and sslkey, and `prepare=false`. A certificate
 * is always verified, with `require` too: encryption to whoever answers protects nothing. Throws ConfigError, without the URL.
 */
export function parsePostgresUrl (text: string): PostgresAddress {
  const url = new URL(text)
  const take = (name: string) => {
    const value = url.searchParams.get(name)
    url.searchParams.delete(name)
    return value
  }
  const prepare = take('prepare') !== 'false'
  const [root, cert, key] = [take('sslrootcert'), take('sslcert'), take('sslkey')]
  const mode = take('sslmode') ?? (root === null ? 'disable' : 'verify-full')
  if (!modes.includes(mode)) throw new ConfigError(`DATABASE_URL: sslmode must be one of ${modes.join(', ')}`)
  if (mode === 'disable') return { url: url.href, ssl: false, prepare }
  return {
    url: url.href,
    prepare,
    ssl: {
      // Of an address postgres.js tells the TLS layer nothing, and "localhost" would be what is verified.
      host: url.hostname.replace(/^\[|\]$/g, ''),
      ...root === null || root === 'system' ? {} : { ca: readFile('sslrootcert', root) },
      ...cert === null ? {} : { cert: readFile('sslcert', cert) },
      ...key === null ? {} : { key: readFile('sslkey', key) },
      ...mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}
    }
  }
}

function readFile (parameter: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    throw new ConfigError(`DATABASE_URL: the file of ${parameter} cannot be read`)
  }
}
