import { setTimeout as pause } from 'node:timers/promises'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { migrate } from '../../db/migrate.js'
import { UnavailableError } from '../shared/errors.js'
import { withTimeout } from '../shared/timeout.js'
import { type Database, type DedicatedConnection, type Parameter, type Queries, translate } from './database.js'
import { runTransaction, type Tx } from './transaction.js'
import { parsePostgresUrl } from './url.js'

/** PostgreSQL ends a statement after this; so whoever waits longer waits for a dead link. */
const statementTimeoutMs = 5_000
const deadLinkMs = 7_000
/** A process frozen inside a transaction must not hold a user's row for long. */
const idleTransactionMs = 5_000
/** An index on many rows takes its time, and so do the instances that wait for who makes it. */
const migrationMs = 600_000
/** While a migration waits for a lock on a table, everybody else waits behind it: so it gives up soon, and tries again so often. */
const migrationLockMs = 1_000
const migrationAttempts = 30
const migrationPauseMs = 1_000
/** Waiting work a connection: past it the answer is 503 at once, rather than a queue that never empties. */
const waitingPerConnection = 50

/** A pool of connections to a PostgreSQL server, dialled when first used. */
export function createPostgres (url: string, poolSize: number): Database {
  let client = connect(url, poolSize)
  let queries = drizzle(client) as unknown as Queries
  let underWay = 0
  let refused = 0

  /** A dead link would block the pool until TCP gives up, a quarter of an hour: leave it and dial again. */
  function redial (dead: Sql) {
    if (client !== dead) return
    client = connect(url, poolSize)
    queries = drizzle(client) as unknown as Queries
    void dead.end({ timeout: 0 }).catch(() => {})
  }

  async function run<T> (work: () => Promise<T>, limitMs: number): Promise<T> {
    if (underWay >= poolSize * waitingPerConnection) {
      refused++
      throw Object.assign(new UnavailableError(), { retryAfterSeconds: 1, detail: 'POOL' })
    }
    underWay++
    const used = client
    try {
      return await withTimeout(work(), limitMs, () => redial(used))
    } catch (error) {
      throw translate(error)
    } finally {
      underWay--
    }
  }

  return {
    embedded: false,
    query: work => run(() => work(queries), deadLinkMs),
    prepared: <Row>(text: string, parameters: Parameter[]) =>
      run(async () => await client.unsafe(text, parameters, { prepare: true }) as unknown as Row[], deadLinkMs),
    transaction: <T>(work: (tx: Tx) => Promise<T>, limitMs = deadLinkMs * 2) => run(() => runTransaction(begun => transact(queries, begun), work), limitMs),
    dedicated: () => createDedicated(url),
    async migrate () {
      const [holder, worker] = [connect(url, 1, migrationMs), connect(url, 1, migrationMs, migrationLockMs)]
      try {
        await holder.begin(async tx => {
          // Of a transaction, not of a connection: a pooler may give the next transaction another one.
          await tx`select pg_advisory_xact_lock(7402318), set_config('idle_in_transaction_session_timeout', '0', true)`
          await untilUnlocked(() => migrate({ kind: 'postgres', db: drizzle(worker) }))
        })
      } catch (error) {
        throw translate(error)
      } finally {
        await Promise.allSettled([holder.end({ timeout: 1 }), worker.end({ timeout: 1 })])
      }
    },
    load: () => ({ connections: poolSize, underWay, refused }),
    close: (patienceMs = 2_000) => client.end({ timeout: patienceMs / 1_000 })
  }
}

/**
 * A transaction whose connection is lost sends nothing any more. postgres.js would send the next statement, and at the end a ROLLBACK, to
 * what has taken the connection's place: nothing, and the process dies of it (porsager/postgres#1208), or another's transaction.
 */
async function transact<T> (queries: Queries, work: (tx: Tx) => Promise<T>): Promise<T> {
  let lost = false
  const whole = queries.transaction(async tx => {
    const guarded = new Proxy(tx, {
      get (target, name) {
        if (lost) throw new UnavailableError()
        return Reflect.get(target, name, target) as unknown
      }
    })
    const outcome = await work(guarded as unknown as Tx).then(value => ({ value }), async (error: unknown) => {
      // The loss is told after the failure of the statement that met it.
      await pause(isLoss(error) ? 100 : 0)
      return { error }
    })
    if (lost) return await new Promise<never>(() => {})
    if ('error' in outcome) throw outcome.error
    return outcome.value
  })
  return await whole.finally(() => { lost = true })
}

function isLoss (error: unknown): boolean {
  const { detail = '' } = translate(error) as { detail?: string }
  return /^(08|57P|CONNECTION_|E[A-Z]+$)/.test(detail)
}

function createDedicated (url: string): DedicatedConnection {
  let client = connect(url, 1)
  return {
    async query<Row> (text: string, parameters: Parameter[], timeoutMs: number) {
      const used = client
      try {
        return await withTimeout((async () => await used.unsafe(text, parameters, { prepare: true }) as unknown as Row[])(), timeoutMs, () => {
          client = connect(url, 1)
          void used.end({ timeout: 0 }).catch(() => {})
        })
      } catch (error) {
        throw translate(error)
      }
    },
    close: () => client.end({ timeout: 1 })
  }
}

/** `work` again while all it lacks is a lock that somebody holds. */
async function untilUnlocked (work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if ((translate(error) as { detail?: string }).detail !== '55P03' || attempt === migrationAttempts) throw error
      await pause(migrationPauseMs)
    }
  }
}

function connect (url: string, max: number, statementMs = statementTimeoutMs, lockMs = statementMs): Sql {
  const { url: plain, ssl, prepare } = parsePostgresUrl(url)
  return postgres(plain, {
    ...ssl === false ? {} : { ssl },
    prepare,
    max,
    connect_timeout: 3,
    onnotice: () => {},
    // The type look-up of arrays is a round trip of its own, and arrays travel as literals here.
    fetch_types: false,
    // A server that is back is used again at once: by default the pauses grow to 20 s.
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
