import { setTimeout as pause } from 'node:timers/promises'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from '../../db/migrate.js'
import { type Abilities, connect } from './connect.js'
import { translateError } from './errors.js'

/** Building an index on many rows takes a while, and so does waiting for the instance that builds it. */
const statementMs = 600_000
/** While a migration waits for a table's lock, every later statement on that table waits behind it. So it gives up soon and tries again. */
const lockMs = 1_000
const attempts = 30
const pauseMs = 1_000

/** Brings the database at `url` to the newest schema. Instances that start at the same time wait for the one that does it. */
export async function migratePostgres (url: string, abilities: Abilities): Promise<void> {
  const holder = connect(url, { ...abilities, max: 1, statementMs })
  const worker = connect(url, { ...abilities, max: 1, statementMs, lockMs })
  try {
    await holder.begin(async tx => {
      // The lock belongs to the transaction: a pooler may run the next transaction on another connection.
      await tx`select pg_advisory_xact_lock(7402318), set_config('idle_in_transaction_session_timeout', '0', true)`
      await retryWhileLocked(() => migrate({ kind: 'postgres', db: drizzle(worker) }))
    })
  } catch (error) {
    throw translateError(error)
  } finally {
    await Promise.allSettled([holder.end({ timeout: 1 }), worker.end({ timeout: 1 })])
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
