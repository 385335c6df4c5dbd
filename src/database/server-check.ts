import { setTimeout as pause } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { unavailable } from '../shared/errors.js'
import { type Abilities, connect } from './connect.js'
import { parsePostgresUrl } from './url.js'

/** The settings that reading and writing rows relies on: the values that each may have, and how to correct it. */
const required: Array<[setting: string, allowed: RegExp, cure: string]> = [
  ['server_encoding', /^UTF8$/, "create the database with ENCODING 'UTF8'"],
  ['client_encoding', /^(UTF8|UNICODE)$/, 'set it to UTF8 for the role of DATABASE_URL'],
  ['default_transaction_read_only', /^off$/, 'set it to off for the database and the role of DATABASE_URL'],
  ['default_transaction_isolation', /^read committed$/, "set it to 'read committed' for the role of DATABASE_URL"],
  ['bytea_output', /^hex$/, 'set it to hex for the role of DATABASE_URL'],
  ['DateStyle', /^ISO\b/, "set it to 'ISO, MDY' for the role of DATABASE_URL"],
  ['extra_float_digits', /^[0-3]$/, 'set it to 1 for the role of DATABASE_URL'],
  ['standard_conforming_strings', /^on$/, 'set it to on for the role of DATABASE_URL']
]

const settingsText = `select pg_is_in_recovery() as standby, current_schema() as schema, ${required.map(([name], i) =>
  `current_setting('${name}') as s${i}`).join(', ')}`

/** How long the attempt waits for an answer before it counts as none. */
const holdMs = 2_000

/** Throws UnavailableError, with the `problem` for the operator, if a setting of this connection is not what it must be. */
export async function requireSettings (client: Sql, schema: string): Promise<void> {
  const [row] = await client.unsafe<Array<Record<string, string | boolean | null>>>(settingsText)
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

/** Tries what the server at `url`, or the pooler in front of it, supports. Throws like `requireSettings`, or the driver's error. */
export async function findAbilities (url: string, schema: string): Promise<Abilities> {
  try {
    return await tryAbilities(url, schema, true)
  } catch (error) {
    if (!isParameterRefused(error)) throw error
    return await tryAbilities(url, schema, false).catch((reason: unknown) => {
      if (!isParameterRefused(reason)) throw reason
      throw Object.assign(unavailable('08P01'), { problem: 'is behind a pooler that refuses options in DATABASE_URL: leave them out' })
    })
  }
}

function isParameterRefused (error: unknown): boolean {
  return error instanceof Error && /unsupported startup parameter/.test(error.message)
}

async function tryAbilities (url: string, schema: string, settings: boolean): Promise<Abilities> {
  // Clients of one connection each: reserve() of postgres.js 3.4.9 hangs without fetch_types.
  const clients = Array.from({ length: 4 }, () => connect(url, { max: 1, settings, schema }))
  const [client, ...others] = clients as [Sql, ...Sql[]]
  try {
    await requireSettings(client, schema)
    return { settings, schema, prepare: parsePostgresUrl(url).prepare && await keepsPrepared(client, others) }
  } finally {
    for (const ended of clients) void ended.end({ timeout: 0 }).catch(() => {})
  }
}

/**
 * Whether prepared statements can be used: always on a connection of PostgreSQL's own. Behind a pooler a statement is prepared, and then
 * the `others` hold one server connection after the other, until the pooler has to run it where it was not prepared.
 */
async function keepsPrepared (client: Sql, others: Sql[]): Promise<boolean> {
  const ending = new AbortController()
  async function ask (n: number): Promise<{ name: string, pid: number, isPooled: boolean } | null> {
    const result = await client.unsafe<Array<{ n: number, pid: number }>>(
      'select $1::int4 as n, pg_backend_pid() as pid',
      [n],
      { prepare: true }
    )
    const [row] = result
    if (row?.n !== n) return null
    // A pooler gives its clients process numbers of its own.
    return { name: result.statement.name, pid: row.pid, isPooled: (result as unknown as { state: { pid: number } }).state.pid !== row.pid }
  }
  try {
    const first = await ask(1)
    if (first === null) return false
    for (const [i, other] of (first.isPooled ? others : []).entries()) {
      await Promise.race([hold(other, ending.signal), pause(holdMs)])
      // Where it is missing, postgres.js prepares it again under another name, or leaves it unanswered; under load it mixes up answers.
      const next = await Promise.race([ask(i + 2), pause(holdMs, null)])
      if (next?.name !== first.name) return false
      if (next.pid !== first.pid) return true
    }
    return true
  } catch (error) {
    if (/^(26000|42P05|08P01)$/.test(String((error as { code?: unknown }).code))) return false
    throw error
  } finally {
    ending.abort()
  }
}

/** Resolves once `client` is in a transaction, which lasts until `signal` fires. */
function hold (client: Sql, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    client.begin(async busy => {
      await busy.unsafe('select 1')
      resolve()
      if (!signal.aborted) await new Promise(end => signal.addEventListener('abort', end, { once: true }))
    }).catch(reject)
  })
}
