import { setTimeout as pause } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { type Abilities, connect } from './connect.js'
import { unavailable } from './errors.js'
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
  ['standard_conforming_strings', /^on$/, 'set it to on for the role of DATABASE_URL'],
  ['current_schema', /^public$/, 'set search_path to public for the role of DATABASE_URL']
]

const settingsText = `select pg_is_in_recovery() as standby, ${required.map(([name], i) =>
  `${name === 'current_schema' ? 'current_schema()' : `current_setting('${name}')`} as s${i}`).join(', ')}`

/** Throws UnavailableError, with the `problem` for the operator, if a setting of this connection is not what it must be. */
export async function requireSettings (client: Sql): Promise<void> {
  const [row] = await client.unsafe<Array<Record<string, string | boolean | null>>>(settingsText)
  if (row === undefined) throw unavailable('SETTINGS')
  for (const [i, [name, allowed, cure]] of required.entries()) {
    const value = String(row[`s${i}`])
    // A standby is always read-only; each statement detects it.
    if (allowed.test(value) || (name === 'default_transaction_read_only' && row.standby === true)) continue
    throw Object.assign(unavailable('SETTINGS'), { problem: `has ${name} = ${value}: ${cure}` })
  }
}

/** Tries what the server at `url`, or the pooler in front of it, supports. Throws like `requireSettings`, or the driver's error. */
export async function findAbilities (url: string): Promise<Abilities> {
  try {
    return await tryAbilities(url, true)
  } catch (error) {
    if (!(error instanceof Error) || !/unsupported startup parameter/.test(error.message)) throw error
    return await tryAbilities(url, false)
  }
}

async function tryAbilities (url: string, settings: boolean): Promise<Abilities> {
  // Two clients: reserve() of postgres.js 3.4.9 hangs without fetch_types.
  const [client, other] = [connect(url, { max: 1, settings }), connect(url, { max: 1, settings })]
  try {
    await requireSettings(client)
    return { settings, prepare: parsePostgresUrl(url).prepare && await keepsPrepared(client, other) }
  } finally {
    for (const ended of [client, other]) void ended.end({ timeout: 0 }).catch(() => {})
  }
}

/** Prepares a statement, then keeps the server connection that has it busy: a pooler must run it on another one. */
async function keepsPrepared (client: Sql, other: Sql): Promise<boolean> {
  async function ask (n: number): Promise<string | null> {
    const result = await client.unsafe<Array<{ n: number }>>('select $1::int4 as n', [n], { prepare: true })
    return result[0]?.n === n ? result.statement.name : null
  }
  try {
    const name = await ask(1)
    if (name === null) return false
    return await other.begin(async busy => {
      await busy.unsafe('select 1')
      // Where it is missing, postgres.js prepares it again under another name, or leaves it unanswered; under load it mixes up answers.
      return await Promise.race([ask(2), pause(2_000, null)]) === name
    })
  } catch (error) {
    if (/^(26000|42P05|08P01)$/.test(String((error as { code?: unknown }).code))) return false
    throw error
  }
}
