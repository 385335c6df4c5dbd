import postgres, { type Sql } from 'postgres'
import { parsePostgresUrl } from './url.js'

/** PostgreSQL cancels a statement after this time, so a longer silence means that the connection is dead. */
export const statementTimeoutMs = 5_000
/** A process that is suspended inside a transaction must not lock a user's row for long. */
const idleTransactionMs = 5_000

/** A client of the server at `url`, with up to `max` connections that are opened when they are first needed. */
export function connect (url: string, max: number, statementMs = statementTimeoutMs, lockMs = statementMs): Sql {
  const { url: plain, ssl, prepare } = parsePostgresUrl(url)
  return postgres(plain, {
    ...ssl === false ? {} : { ssl },
    prepare,
    max,
    connect_timeout: 3,
    onnotice: () => {},
    // Looking up the types of arrays would take a round trip, and arrays are passed as literals here.
    fetch_types: false,
    // By default the pauses grow to 20 s; a server that is back should be used at once.
    backoff: attempts => Math.min(0.05 * 2 ** attempts, 0.5),
    connection: {
      application_name: 'latchkey',
      statement_timeout: statementMs,
      lock_timeout: lockMs,
      default_transaction_isolation: 'read committed',
      idle_in_transaction_session_timeout: idleTransactionMs
    }
  })
}
