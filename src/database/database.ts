import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { Transactions, Tx } from './transaction.js'

/** drizzle's query builder, whichever driver is below it. */
export type Queries = PgDatabase<PgQueryResultHKT, Record<string, never>>

/** A parameter that both drivers take. Arrays are passed as literals: see `literals.ts`. */
export type Parameter = string | number | boolean | null

/** PostgreSQL, on a server or embedded. Its methods throw what `translateError` returns. */
export interface Database extends Transactions {
  /** True if the database runs in this process. */
  readonly embedded: boolean
  /** Runs one statement of drizzle's on the pool. */
  query<T> (work: (queries: Queries) => Promise<T>): Promise<T>
  /** Runs a statement on the pool, prepared once per connection and text. */
  prepared<Row> (text: string, parameters: Parameter[]): Promise<Row[]>
  /** A connection outside the pool, for statements that must not wait while the pool is busy. */
  dedicated (): DedicatedConnection
  /** Brings the tables to the newest schema. When several instances start at once, one of them does it. */
  migrate (): Promise<void>
  /** Makes the space of deleted rows usable again; absent for a server, which does so by itself. */
  vacuum? (): Promise<void>
  /** How busy the pool is; absent for the embedded database, which has none. */
  load? (): DatabaseLoad
  /** Waits up to `patienceMs` for what is running, then cuts it off. */
  close (patienceMs?: number): Promise<void>
}

/**
 * `underWay`: statements and transactions that have been called and not ended; what exceeds `connections` waits for one.
 * `refused`: how many were answered 503 at once because too many were waiting.
 */
export interface DatabaseLoad { connections: number, underWay: number, refused: number }

export interface DedicatedConnection {
  /** Throws UnavailableError after `timeoutMs`; the connection is then replaced. */
  query<Row> (text: string, parameters: Parameter[], timeoutMs: number): Promise<Row[]>
  close (): Promise<void>
}

/** The query builder inside an open transaction. */
export function within (tx: Tx): Queries {
  return tx as unknown as Queries
}
