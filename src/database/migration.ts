import { setTimeout as pause } from 'node:timers/promises'
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import { addRows, type Connection, journal, migrate, migrationHashes } from '../../db/migrate.js'
import { standby } from '../shared/errors.js'
import { type Abilities, connect } from './connect.js'
import type { Database } from './database.js'
import { DatabaseError, translateError } from './errors.js'
import { primaryAttempts } from './server-check.js'

/** Building an index on many rows takes a while, and so does waiting for the instance that builds it. */
const statementMs = 600_000
/** While a migration waits for a table's lock, every later statement on that table waits behind it. So it gives up soon and tries again. */
const lockMs = 1_000
const attempts = 30
const pauseMs = 1_000

/**
 * Brings the tables at `url` to the newest version. Instances that start at the same time wait for the one that does it. Where nothing is
 * to be done, it takes no lock and needs no right to change tables.
 */
export async function migratePostgres (url: string, abilities: Abilities): Promise<void> {
  const worker = await connectPrimary(url, { ...abilities, statementMs, lockMs })
  const connection = drizzle(worker) as unknown as Connection
  try {
    const missing = await findMissing(worker)
    if (missing.length > 0) {
      const migrating = withLock(url, abilities, () => retryWhileLocked(() => migrate(connection, abilities.schema)))
      await migrating.catch((error: unknown) => { throw explainRefused(error, missing.length) })
    }
    await addRows(connection)
  } catch (error) {
    throw translateError(error)
  } finally {
    await worker.end({ timeout: 1 }).catch(() => {})
  }
}

/** A client of one connection that leads to the primary: behind a balancer some may lead to a standby. */
async function connectPrimary (url: string, options: Abilities & { statementMs: number, lockMs?: number }): Promise<Sql> {
  for (let attempt = 1; ; attempt++) {
    const client = connect(url, { ...options, max: 1 })
    try {
      const [row] = await client`select pg_is_in_recovery() as standby`
      if (row?.standby === false) return client
    } catch (error) {
      await client.end({ timeout: 0 }).catch(() => {})
      throw translateError(error)
    }
    await client.end({ timeout: 1 }).catch(() => {})
    if (attempt === primaryAttempts) {
      const problem = 'is a standby, which takes no changes: DATABASE_URL has to lead to the primary'
      throw Object.assign(standby(), { problem })
    }
  }
}

/** Whoever owns the tables has to bring them up to date, where the server's role may only read and write rows. */
function explainRefused (error: unknown, missing: number): unknown {
  const { code } = translateError(error) as { code?: string }
  if (code !== '42501') return error
  return new OtherVersionError('The role of DATABASE_URL may not change tables, and ' +
    `${missing} of ${migrationHashes().length} migrations are missing: run npm run db:migrate as the owner of the tables`)
}

/** The migrations that the tables still lack: all of them where there are none. */
async function findMissing (client: Sql): Promise<string[]> {
  const [found] = await client`select to_regclass(${journal}) is not null as made`
  if (found?.made !== true) return migrationHashes()
  const applied = new Set((await client`select hash from ${client(journal)}`).map(({ hash }) => hash as string))
  return migrationHashes().filter(hash => !applied.has(hash))
}

/** Runs `work` while no other process of this database does. */
async function withLock (url: string, abilities: Abilities, work: () => Promise<void>): Promise<void> {
  const holder = await connectPrimary(url, { ...abilities, statementMs })
  try {
    await holder.begin(async tx => {
      // The lock belongs to the transaction: a pooler may run the next transaction on another connection.
      await tx`select pg_advisory_xact_lock(7402318), set_config('idle_in_transaction_session_timeout', '0', true)`
      await work()
    })
  } finally {
    await holder.end({ timeout: 1 }).catch(() => {})
  }
}

async function retryWhileLocked (work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const { detail } = translateError(error) as { detail?: string }
      if (detail !== '55P03' || attempt === attempts) throw error
      await pause(pauseMs)
    }
  }
}

/** The tables are those of another version. The message says which is older, and what to do. */
export class OtherVersionError extends Error {
  override name = 'OtherVersionError'
}

/** Throws OtherVersionError unless the tables are exactly those that this version makes; changes nothing. */
export async function requireNewest (database: Pick<Database, 'prepared'>): Promise<void> {
  const rows = await database.prepared<{ hash: string }>(`select hash from ${journal}`, []).catch((error: unknown) => {
    const { code } = error as { code?: string }
    if (!(error instanceof DatabaseError)) throw error
    if (code === '42501') {
      throw new OtherVersionError('The role may not read the journal of migrations: npm run verifier:role prints what it needs')
    }
    // Undefined table, or schema.
    if (code === '42P01' || code === '3F000') throw new OtherVersionError('The database has no tables of Latchkey: start the server first')
    throw error
  })
  const found = new Set(rows.map(({ hash }) => hash))
  const needed = migrationHashes()
  const missing = needed.filter(hash => !found.has(hash)).length
  if (missing > 0) {
    throw new OtherVersionError('The database is older than this version of Latchkey: ' +
      `${missing} of ${needed.length} migrations are missing. Start the server of this version first`)
  }
  if (found.size > needed.length) {
    throw new OtherVersionError('The database is newer than this version of Latchkey: ' +
      `it has ${found.size} migrations, and ${needed.length} are known here. Use the version of the server`)
  }
}
