import { drizzle } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import { withTimeout } from '../shared/timeout.js'
import { connect } from './connect.js'
import type { Database, DedicatedConnection, Parameter, Queries } from './database.js'
import { translateError, unavailable } from './errors.js'
import { guardedTransaction } from './guarded-transaction.js'
import { migratePostgres } from './migration.js'
import { runTransaction, type Tx } from './transaction.js'

/** Longer than the server lets a statement run: an answer that takes longer is not going to come. */
const deadConnectionMs = 7_000
/** How many may wait per connection. Past that the answer is 503 at once; a longer queue would never empty. */
const maxWaitingPerConnection = 50

/** A pool of connections to a PostgreSQL server, opened when first used. */
export function createPostgres (url: string, poolSize: number): Database {
  let client = connect(url, poolSize)
  let queries = drizzle(client) as unknown as Queries
  let underWay = 0
  let refused = 0

  /** Replaces all connections: a dead one would stay in the pool until TCP gives it up, after a quarter of an hour. */
  function reconnect (dead: Sql) {
    if (client !== dead) return
    client = connect(url, poolSize)
    queries = drizzle(client) as unknown as Queries
    void dead.end({ timeout: 0 }).catch(() => {})
  }

  async function run<T> (work: () => Promise<T>, timeoutMs: number): Promise<T> {
    if (underWay >= poolSize * maxWaitingPerConnection) {
      refused++
      throw unavailable('POOL', 1)
    }
    underWay++
    const used = client
    try {
      return await withTimeout(work(), timeoutMs, () => reconnect(used))
    } catch (error) {
      throw translateError(error)
    } finally {
      underWay--
    }
  }

  return {
    embedded: false,
    query: work => run(() => work(queries), deadConnectionMs),
    prepared: <Row>(text: string, parameters: Parameter[]) =>
      run(async () => await client.unsafe(text, parameters, { prepare: true }) as unknown as Row[], deadConnectionMs),
    transaction: <T>(work: (tx: Tx) => Promise<T>, limitMs = deadConnectionMs * 2) =>
      run(() => runTransaction(begun => guardedTransaction(queries, begun), work), limitMs),
    dedicated: () => createDedicated(url),
    migrate: () => migratePostgres(url),
    load: () => ({ connections: poolSize, underWay, refused }),
    close: (patienceMs = 2_000) => client.end({ timeout: patienceMs / 1_000 })
  }
}

function createDedicated (url: string): DedicatedConnection {
  let client = connect(url, 1)
  return {
    async query<Row> (text: string, parameters: Parameter[], timeoutMs: number) {
      const used = client
      const answer = async () => await used.unsafe(text, parameters, { prepare: true }) as unknown as Row[]
      try {
        return await withTimeout(answer(), timeoutMs, () => {
          client = connect(url, 1)
          void used.end({ timeout: 0 }).catch(() => {})
        })
      } catch (error) {
        throw translateError(error)
      }
    },
    close: () => client.end({ timeout: 1 })
  }
}
