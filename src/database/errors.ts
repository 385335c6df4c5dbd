import { unavailable } from '../shared/errors.js'

/**
 * The database rejected a statement. Neither message nor properties contain SQL or parameters: drizzle and PostgreSQL put both into their
 * own messages, and with them hashes. `code` is the SQLSTATE, `constraint` the violated one.
 */
export class DatabaseError extends Error {
  override name = 'DatabaseError'
  constructor (readonly code: string, readonly constraint: string | undefined) {
    super(`the database rejected a statement (SQLSTATE ${code})`)
  }
}

/**
 * SQLSTATEs after which a later attempt may succeed: connection (08), resources (53), shutdown (57P), read-only server (25006), lock
 * timeout (55P03), statement timeout (57014), deadlock (40P01), serialization failure (40001), idle transaction (25P03), and the two of
 * prepared statements behind a pooler.
 */
const temporary = /^(08|26000|42P05|53|57P|25006|55P03|57014|40001|40P01|25P03)/
const connectionFailure = /^(CONNECTION_|CONNECT_|E[A-Z]+$|NOT_TAGGED_CALL)/

/** Whether an error code says that the server's certificate was not accepted, or that TLS failed. */
export const isCertificateError = (code: string) => /(CERT|ISSUER|LEAF_SIGNATURE|^ERR_TLS_|^ERR_SSL_)/.test(code)

/**
 * What stores may throw for a driver's `error`: UnavailableError (503) if the database cannot answer now, with the driver's code in
 * `detail`; DatabaseError if it rejected a statement; `error` itself if it did not come from the database.
 */
export function translateError (error: unknown): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, constraint_name: name, constraint } = cause as Error & { code?: unknown, constraint_name?: string, constraint?: string }
    if (typeof code !== 'string' || code.startsWith('AUTH_') || code.startsWith('FST_')) continue
    if (connectionFailure.test(code) || isCertificateError(code) || temporary.test(code)) return unavailable(code)
    if (/^[0-9A-Z]{5}$/.test(code)) return new DatabaseError(code, name ?? constraint)
  }
  return error instanceof Error && error.name === 'DrizzleQueryError' ? new DatabaseError('XX000', undefined) : error
}

/** Whether a translated error comes from a connection that leads to a standby: it said so, or it takes no changes. */
export function isStandby (error: unknown): boolean {
  return /^(STANDBY|25006)$/.test((error as { detail?: string }).detail ?? '')
}

/** Whether a translated error says that the connection is gone. */
export function isConnectionLoss (error: unknown): boolean {
  const { detail = '' } = error as { detail?: string }
  return /^(08|57P|CONNECTION_|E[A-Z]+$)/.test(detail)
}
