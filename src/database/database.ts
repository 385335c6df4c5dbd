import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import { UnavailableError } from '../shared/errors.js'
import type { Transactions, Tx } from './transaction.js'

/** drizzle's query builder, whichever driver is below. */
export type Queries = PgDatabase<PgQueryResultHKT, Record<string, never>>

/** A parameter as both drivers take it: arrays travel as PostgreSQL array literals. */
export type Parameter = string | number | boolean | null

/** PostgreSQL, as server or embedded: the same for every store. */
export interface Database extends Transactions {
  /** True when the database lives in this process. */
  readonly embedded: boolean
  /** Runs one statement of drizzle's on the pool. */
  query<T> (work: (queries: Queries) => Promise<T>): Promise<T>
  /** Runs one prepared statement on the pool; `text` is its identity. */
  prepared<Row> (text: string, parameters: Parameter[]): Promise<Row[]>
  /** A connection apart from the pool, so that a busy pool delays nobody who has to be heard. */
  dedicated (): DedicatedConnection
  /** Creates and upgrades the tables; several instances at once do it once. */
  migrate (): Promise<void>
  /** How busy the pool is; absent where there is none. */
  load? (): DatabaseLoad
  /** Whoever waits for a server longer than `patienceMs` after this gets an error. */
  close (patienceMs?: number): Promise<void>
}

/**
 * What is known of a pool from outside. `underWay` counts statements and transactions from their call to their end: the driver doesn't tell
 * which of them has a connection, but all past `connections` wait for another to end. `refused`: answered 503, as too many waited.
 */
export interface DatabaseLoad { connections: number, underWay: number, refused: number }

export interface DedicatedConnection {
  /** Rows, or an error after `timeoutMs`; a connection that didn't answer in time is replaced. */
  query<Row> (text: string, parameters: Parameter[], timeoutMs: number): Promise<Row[]>
  close (): Promise<void>
}

/** The queries of an open transaction. */
export function within (tx: Tx): Queries {
  return tx as unknown as Queries
}

/** `values` as the literal of a PostgreSQL array of bytea, from hexadecimal. */
export function byteaArray (hexes: readonly string[]): string {
  return `{${hexes.map(hex => `"\\\\x${hex}"`).join(',')}}`
}

/** `values` as the literal of a PostgreSQL array; for ids and incarnations, which have no quotes. */
export function textArray (values: readonly string[]): string {
  return `{${values.map(value => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}

/**
 * A database's refusal without its SQL and parameters: drizzle and PostgreSQL put both into their messages, and hashes with them.
 * `code` is the SQLSTATE, `constraint` the violated one.
 */
export class DatabaseError extends Error {
  override name = 'DatabaseError'
  constructor (readonly code: string, readonly constraint: string | undefined) {
    super(`the database refused a statement (SQLSTATE ${code})`)
  }
}

/** SQLSTATE classes and codes that say "not now": connection, shutdown, resources, lock and statement time-outs, a standby, a pooler that needs prepare=false. */
const unavailable = /^(08|26000|42P05|53|57P|25006|55P03|57014|40001|40P01|25P03)/
const connectionTrouble = /^(CONNECTION_|CONNECT_|E[A-Z]+$|NOT_TAGGED_CALL)/

/** Whether an error's code says that the server is not who it should be. */
export const isCertificateTrouble = (code: string) => /(CERT|ISSUER|LEAF_SIGNATURE|^ERR_TLS_|^ERR_SSL_)/.test(code)

/** `error` as the rest of the house may see it: an UnavailableError (503), a DatabaseError, or itself when it never was the database's. */
export function translate (error: unknown): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, constraint_name: name, constraint } = cause as Error & { code?: unknown, constraint_name?: string, constraint?: string }
    if (typeof code !== 'string' || code.startsWith('AUTH_') || code.startsWith('FST_')) continue
    if (connectionTrouble.test(code) || isCertificateTrouble(code) || unavailable.test(code)) return Object.assign(new UnavailableError(), { retryAfterSeconds: 2, detail: code })
    if (/^[0-9A-Z]{5}$/.test(code)) return new DatabaseError(code, name ?? constraint)
  }
  return error instanceof Error && error.name === 'DrizzleQueryError' ? new DatabaseError('XX000', undefined) : error
}
