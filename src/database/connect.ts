import { join } from 'node:path'
import postgres, { type Options, type Sql } from 'postgres'
import { isSocketFolder } from '../config/postgres.js'
import { readBytea } from './bytea.js'
import { parsePostgresUrl, readTlsOptions } from './url.js'

/** PostgreSQL cancels a statement after this time, so a longer silence means that the connection is dead. */
export const statementTimeoutMs = 5_000
/** A process that is suspended inside a transaction must not lock a user's row for long. */
const idleTransactionMs = 5_000

/** What a server, or the pooler in front of it, puts up with. */
export interface Abilities {
  /** False behind a pooler that refuses our start-up parameters: then database and role must have the settings. */
  settings: boolean
  /** Whether a pooler is in front: our start-up parameters may then not hold on every connection. */
  pooled: boolean
  /** False behind a pooler that hands each transaction another connection: what was prepared on one does not exist on the next. */
  prepare: boolean
  /** Where the tables are. */
  schema: string
}

interface ConnectOptions extends Partial<Abilities> { max: number, statementMs?: number, lockMs?: number, onclose? (id: number): void }

/** A client of the server at `url`, with up to `max` connections that are opened when they are first needed. */
export function connect (url: string, options: ConnectOptions): Sql {
  const { max, settings = true, pooled = false, prepare, schema = 'public', onclose } = options
  const { statementMs = statementTimeoutMs, lockMs = statementMs } = options
  const driver = driverOptions(url)
  const prepares = prepare ?? driver.prepare
  const client = postgres({
    ...driver,
    ...onclose === undefined ? {} : { onclose },
    // A connection that ends by its age tells nobody until it is gone, and meanwhile another may be opened that nobody has checked.
    ...pooled ? { max_lifetime: null } : {},
    prepare: prepares,
    max,
    onnotice: () => {},
    // Looking up the types of arrays would take a round trip, and arrays are passed as literals here.
    fetch_types: false,
    types: { bytea: readBytea },
    // By default the pauses grow to 20 s; a server that is back should be used at once.
    backoff: attempts => Math.min(0.05 * 2 ** attempts, 0.5),
    connection: {
      ...driver.connection,
      ...settings
        ? {
            statement_timeout: statementMs,
            lock_timeout: lockMs,
            idle_in_transaction_session_timeout: idleTransactionMs,
            default_transaction_isolation: 'read committed',
            ...readingSettings,
            search_path: `"${schema}"`
          }
        : {}
    }
  })
  return prepares ? client : oneAtATime(client)
}

/**
 * What postgres.js needs to know of `url`, for which it isn't given the URL itself: what it doesn't know there, it sends to the server as a
 * setting. Throws ConfigError.
 */
export function driverOptions (url: string) {
  const { host, port, user, password, database, tls, prepare, applicationName, options, connectTimeoutSeconds } = parsePostgresUrl(url)
  return {
    // Lists, which its types don't know: in a text it takes what is behind a colon for a port.
    ...{ host: [host], port: [port] } as object,
    ...isSocketFolder(host) ? { path: join(host, `.s.PGSQL.${port}`) } : {},
    ...user === undefined ? {} : { user },
    ...password === undefined ? {} : { password },
    ...database === undefined ? {} : { database },
    ssl: tls === null ? false : readTlsOptions(host, tls),
    prepare,
    connect_timeout: connectTimeoutSeconds,
    connection: { application_name: applicationName, ...options === undefined ? {} : { options } }
  } satisfies Options<Record<string, never>>
}

/**
 * `client` whose connections get a statement only once the one before it is answered. postgres.js sends more behind a statement without
 * parameters, and PgBouncer 1.18 gives the server connection away when that one ends: the answer to the next is never seen.
 */
function oneAtATime (client: Sql): Sql {
  return new Proxy(client, {
    get (target, name) {
      // What its own transactions are begun with: false keeps others off the connection until the answer.
      if (name === 'unsafe') return (text: string, parameters?: never[], options?: object) =>
        target.unsafe(text, parameters, { onexecute: () => false, ...options } as object)
      return Reflect.get(target, name, target) as unknown
    }
  })
}

/** With other values, rows would be read as other bytes or times than were written. */
const readingSettings = {
  bytea_output: 'hex',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  standard_conforming_strings: 'on'
}
