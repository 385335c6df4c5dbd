import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { ConfigError } from '../config/config.js'
import { findPostgresProblem, type PostgresAddress, type PostgresTls, readPostgresUrl } from '../config/postgres.js'

/** Throws ConfigError, which names what is wrong and neither the URL nor a part of it. */
export function parsePostgresUrl (text: string): PostgresAddress {
  const address = readPostgresUrl(text)
  if (address === null) throw new ConfigError(findPostgresProblem(text) ?? 'DATABASE_URL cannot be read')
  return address
}

/**
 * For the TLS layer, with the contents of the files. A certificate is always verified, with sslmode=require too: encryption to whoever
 * answers protects nothing. Throws ConfigError.
 */
export function readTlsOptions (host: string, { checksName, rootFile, certFile, keyFile }: PostgresTls): ConnectionOptions {
  return {
    // Of an address postgres.js tells the TLS layer nothing, and "localhost" would be what is verified.
    host,
    ...rootFile === undefined ? {} : { ca: readFile('sslrootcert', rootFile) },
    ...certFile === undefined ? {} : { cert: readFile('sslcert', certFile) },
    ...keyFile === undefined ? {} : { key: readFile('sslkey', keyFile) },
    ...checksName ? {} : { checkServerIdentity: () => undefined }
  }
}

/** Why a connection to the server at `text` could not even be tried, or null. */
export function findUrlProblem (text: string): string | null {
  try {
    const { host, tls } = parsePostgresUrl(text)
    if (tls !== null) readTlsOptions(host, tls)
    return null
  } catch (error) {
    return (error as Error).message
  }
}

function readFile (parameter: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    throw new ConfigError(`DATABASE_URL: the file of ${parameter} cannot be read`)
  }
}
