import type { Sql } from 'postgres'
import { unavailable } from '../shared/errors.js'

/** The settings that reading and writing rows relies on: the values that each may have, and how to correct it. */
const required: Array<[setting: string, allowed: RegExp, cure: string]> = [
  ['server_encoding', /^UTF8$/, "create the database with ENCODING 'UTF8'"],
  ['client_encoding', /^(UTF8|UNICODE)$/, 'set it to UTF8 for the role of DATABASE_URL'],
  ['default_transaction_read_only', /^off$/, 'set it to off for the database and the role of DATABASE_URL'],
  ['default_transaction_isolation', /^read committed$/, "set it to 'read committed' for the role of DATABASE_URL"],
  ['bytea_output', /^hex$/, 'set it to hex for the role of DATABASE_URL'],
  ['DateStyle', /^ISO\b/, "set it to 'ISO, MDY' for the role of DATABASE_URL"],
  ['TimeZone', /^(Etc\/)?(UTC|UCT|GMT|Zulu|Universal)$/, 'set it to UTC for the role of DATABASE_URL'],
  ['IntervalStyle', /^postgres$/, 'set it to postgres for the role of DATABASE_URL'],
  ['extra_float_digits', /^[0-3]$/, 'set it to 1 for the role of DATABASE_URL'],
  ['standard_conforming_strings', /^on$/, 'set it to on for the role of DATABASE_URL']
]

const settingsText = `select pg_is_in_recovery() as standby, pg_backend_pid() as pid, current_schema() as schema, ${required.map(([name], i) =>
  `current_setting('${name}') as s${i}`).join(', ')}`

/** How many connections in a row may lead to a standby before there seems to be no primary. */
export const primaryAttempts = 10
/** How long none is looked for then. */
const noPrimaryMs = 1_000

type Settings = Record<string, string | number | boolean | null>

/**
 * Throws UnavailableError, with the `problem` for the operator, if a setting of this connection is not what it must be. True if the
 * connection leads to a pooler, which gives its clients process numbers of its own.
 */
export async function requireSettings (client: Sql, schema: string): Promise<boolean> {
  const result = await client.unsafe<Settings[]>(settingsText)
  judge(result[0], schema)
  return (result as unknown as { state: { pid: number } }).state.pid !== result[0]?.pid
}

function judge (row: Settings | undefined, schema: string): void {
  if (row === undefined) throw unavailable('SETTINGS')
  for (const [i, [name, allowed, cure]] of required.entries()) {
    const value = String(row[`s${i}`])
    // A standby is always read-only; each statement detects it.
    if (allowed.test(value) || (name === 'default_transaction_read_only' && row.standby === true)) continue
    throw Object.assign(unavailable('SETTINGS'), { problem: `has ${name} = ${value}: ${cure}` })
  }
  // None: the migrations haven't made it yet.
  if (row.schema === schema || row.schema === null) return
  const problem = `has current_schema = ${String(row.schema)}: set search_path to ${schema} for the role of DATABASE_URL`
  throw Object.assign(unavailable('SETTINGS'), { problem })
}

/** What postgres.js passes to `onexecute`: the connection that a statement was sent on. `end` ends it once it is idle. */
interface DriverConnection { id: number, end (): Promise<void> }

/**
 * The check of a pool's connections, for its gate: returns the id of the one that passed. One with a wrong setting is ended, and the error
 * is that of `requireSettings`; one that a balancer led to a standby is ended too, and the result is null.
 */
export function createConnectionCheck (client: Sql, schema: string): () => Promise<number | null> {
  let standbys = 0
  let trustStandbysUntil = Number.NEGATIVE_INFINITY

  return async () => {
    let connection: DriverConnection | undefined
    const onexecute = (used: DriverConnection) => {
      connection = used
      return false
    }
    const [row] = await client.unsafe<Settings[]>(settingsText, [], { onexecute } as object)
    if (connection === undefined) throw unavailable('SETTINGS')
    try {
      judge(row, schema)
    } catch (error) {
      await connection.end()
      throw error
    }
    if (row?.standby === true && performance.now() >= trustStandbysUntil) {
      if (++standbys < primaryAttempts) {
        await connection.end()
        return null
      }
      // There seems to be no primary: each statement will say so, and answer 503.
      trustStandbysUntil = performance.now() + noPrimaryMs
    }
    standbys = 0
    return connection.id
  }
}
