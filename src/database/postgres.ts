import { drizzle } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import type { Log } from '../observability/logger.js'
import { unavailable } from '../shared/errors.js'
import { withTimeout } from '../shared/timeout.js'
import { findAbilities } from './abilities.js'
import { type Abilities, connect } from './connect.js'
import { type ConnectionGate, createConnectionGate } from './connection-gate.js'
import type { Database, Parameter, Queries } from './database.js'
import { createDedicated, saysStandby } from './dedicated.js'
import { isConnectionLoss, isStandby, translateError } from './errors.js'
import { guardedTransaction } from './guarded-transaction.js'
import { migratePostgres } from './migration.js'
import { createConnectionCheck } from './server-check.js'
import { runTransaction, type Tx } from './transaction.js'
import { parsePostgresUrl } from './url.js'

/** Longer than the server lets a statement run: an answer that takes longer is not going to come. */
const deadConnectionMs = 7_000
/** How many may wait per connection. Past that the answer is 503 at once; a longer queue would never empty. */
const maxWaitingPerConnection = 50

/** Ends the connection that it runs on, if that leads to a standby. */
const leaveText = 'select pg_terminate_backend(pg_backend_pid()) where pg_is_in_recovery()'

interface Pool { client: Sql, queries: Queries, gate: ConnectionGate }

/** `schema`: where the tables are. */
interface PostgresOptions { schema?: string, log?: Pick<Log, 'warn'> }

/** A pool of connections to a PostgreSQL server, opened when they are needed. Each new one is checked before it is used. */
export function createPostgres (url: string, poolSize: number, { schema = 'public', log }: PostgresOptions = {}): Database {
  let abilities: Promise<Abilities> | null = null
  let pool: Pool | null = null
  let mayPrepare = true
  let closed = false
  let underWay = 0
  let refused = 0
  let leaving = false
  let problem: string | undefined

  function requireAbilities (): Promise<Abilities> {
    abilities ??= findAbilities(url, schema).catch((error: unknown) => {
      abilities = null
      throw report(error)
    })
    return abilities.then(found => {
      if (!found.prepare && parsePostgresUrl(url).prepare) warnUnprepared()
      return { ...found, prepare: found.prepare && mayPrepare }
    })
  }

  async function requirePool (): Promise<Pool> {
    if (pool !== null) return pool
    const found = await requireAbilities()
    if (closed) throw unavailable('CONNECTION_ENDED')
    return pool ??= openPool(found)
  }

  function openPool (found: Abilities): Pool {
    const client = connect(url, { max: poolSize, ...found, onclose: id => gate.lost(id) })
    const check = createConnectionCheck(client, schema)
    const gate = createConnectionGate({
      size: poolSize,
      mayShare: !found.pooled,
      check: () => check().catch((error: unknown) => { throw report(error) })
    })
    return { client, queries: drizzle(readCommitted(client)) as unknown as Queries, gate }
  }

  /** Replaces all connections: a dead one would stay in the pool until TCP gives it up, after a quarter of an hour. */
  function reconnect (dead: Pool | null) {
    if (dead === null || pool !== dead) return
    pool = null
    void dead.client.end({ timeout: 0 }).catch(() => {})
  }

  /** What is wrong with the server is logged once, by name. */
  function report (error: unknown): unknown {
    const found = (error as { problem?: string }).problem
    if (found !== undefined && found !== problem) log?.warn({}, `PostgreSQL ${found}`)
    problem = found
    return error
  }

  /** A pooler that forgets prepared statements may also give one request's answer to another. */
  function warnUnprepared (): void {
    if (!mayPrepare) return
    mayPrepare = false
    log?.warn({}, 'A pooler in front of PostgreSQL forgets prepared statements, so none are used: set prepare=false in DATABASE_URL')
  }

  /** A connection that was the primary's may be a standby's now. Left open, it would answer its share of requests with 503. */
  function leaveStandbys (used: Pool): void {
    if (leaving) return
    leaving = true
    const asked = Array.from({ length: used.gate.open }, () => run(async ({ client }) => await client.unsafe(leaveText), deadConnectionMs))
    // Where there is nothing but a standby, connections mustn't be opened and ended without a pause.
    void Promise.allSettled(asked).then(() => setTimeout(() => { leaving = false }, 250).unref())
  }

  async function run<T> (work: (pool: Pool) => Promise<T>, timeoutMs: number): Promise<T> {
    if (underWay >= poolSize * maxWaitingPerConnection) {
      refused++
      throw unavailable('POOL', 1)
    }
    underWay++
    let used: Pool | undefined
    let inside: Pool['gate'] | undefined
    let isLost = false
    function enter (found: Pool): Promise<T> {
      used = found
      const { gate } = found
      const begin = () => {
        inside = gate
        return work(found)
      }
      const waiting = gate.enter()
      return waiting === undefined ? begin() : waiting.then(begin)
    }
    try {
      return await withTimeout(requirePool().then(enter), timeoutMs, () => reconnect(used ?? pool))
    } catch (error) {
      const translated = translateError(error) as { detail?: string }
      isLost = isConnectionLoss(translated)
      if (used !== undefined && isStandby(translated)) leaveStandbys(used)
      if (used !== undefined && /^(26000|42P05)$/.test(translated.detail ?? '')) {
        warnUnprepared()
        reconnect(used)
      }
      throw translated
    } finally {
      if (isLost) inside?.leaveLost()
      else inside?.leave()
      underWay--
    }
  }

  return {
    embedded: false,
    query: work => run(({ queries }) => work(queries), deadConnectionMs),
    prepared: <Row>(text: string, parameters: Parameter[]) =>
      run(async used => {
        const rows = await used.client.unsafe(text, parameters, { prepare: true }) as unknown as Row[]
        if (saysStandby(rows)) leaveStandbys(used)
        return rows
      }, deadConnectionMs),
    transaction: <T>(work: (tx: Tx) => Promise<T>, limitMs = deadConnectionMs * 2) =>
      run(({ queries }) => runTransaction(begun => guardedTransaction(queries, begun), work), limitMs),
    dedicated: () => createDedicated(url, requireAbilities),
    migrate: async () => {
      const found = await requireAbilities().catch((error: unknown) => { throw translateError(error) })
      await migratePostgres(url, found)
    },
    load: () => ({ connections: poolSize, underWay, refused }),
    async close (patienceMs = 2_000) {
      closed = true
      await pool?.client.end({ timeout: patienceMs / 1_000 })
    }
  }
}

/** `client` whose transactions are READ COMMITTED, whatever the server's default is: under another level a re-check would see old rows. */
function readCommitted (client: Sql): Sql {
  return new Proxy(client, {
    get (target, name) {
      if (name === 'begin') return (work: Parameters<Sql['begin']>[1]) => target.begin('isolation level read committed', work)
      return Reflect.get(target, name, target) as unknown
    }
  })
}
