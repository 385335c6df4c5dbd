import { setTimeout as pause } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { unavailable } from '../shared/errors.js'
import { type Abilities, connect } from './connect.js'
import { requireSettings } from './server-check.js'
import { parsePostgresUrl } from './url.js'

/** How long the attempt waits for an answer before it counts as none. */
const holdMs = 2_000

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
    const pooled = await requireSettings(client, schema)
    const prepare = parsePostgresUrl(url).prepare && (!pooled || await keepsPrepared(client, others))
    return { settings, pooled, schema, prepare }
  } finally {
    for (const ended of clients) void ended.end({ timeout: 0 }).catch(() => {})
  }
}

/**
 * Whether a pooler lets prepared statements be used: one is prepared, and then the `others` hold one server connection after the other,
 * until the pooler has to run it where it was not prepared.
 */
async function keepsPrepared (client: Sql, others: Sql[]): Promise<boolean> {
  const ending = new AbortController()
  async function ask (n: number): Promise<{ name: string, pid: number } | null> {
    const result = await client.unsafe<Array<{ n: number, pid: number }>>(
      'select $1::int4 as n, pg_backend_pid() as pid',
      [n],
      { prepare: true }
    )
    const [row] = result
    return row?.n === n ? { name: result.statement.name, pid: row.pid } : null
  }
  try {
    const first = await ask(1)
    if (first === null) return false
    for (const [i, other] of others.entries()) {
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
