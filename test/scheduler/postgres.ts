import { runTransaction, type Transactions, type Tx } from '../../src/database/transaction.js'
import { UnavailableError } from '../../src/shared/errors.js'
import type { Principal } from '../../src/tokens/principal.js'
import { TokenHash } from '../../src/tokens/token.js'
import { type Change, createDatabaseState, type Data, type TokenRow } from './database-state.js'
import { createSimulatedEpochStore } from './epoch-store.js'
import type { Process, Schedule } from './scheduler.js'
import { createSimulatedTokenStore } from './token-store.js'

/** The wall clock when a schedule begins. */
export const wallStart = Date.UTC(2026, 0, 1)
const idleTransactionMs = 5_000

/** Rules of the stores' SQL and of their connections; a mutant removes some. */
export const databaseRules = {
  lookUpTellsStandby: true,
  pollTellsStandby: true,
  waitRefusesStandby: true,
  nothingToEndRefusesStandby: true,
  commitWaitsForFlush: true,
  bumpWaitsForFlush: true,
  registrationWaitsForFlush: true,
  bumpAlwaysAdds: true,
  readCommitted: true,
  futureSettlementIsOverdue: true,
  databaseBelongsToKey: true
}

export type DatabaseRules = typeof databaseRules

/** The server that a statement runs on. */
export interface Server { data: Data, standby: boolean }

export interface Transaction {
  process: Process
  open: boolean
  /** The server of its first statement, and what that saw; null before it, and in READ COMMITTED. */
  server: Server | null
  snapshot: Map<string, TokenRow> | null
  revoked: Set<string>
  inserted: TokenRow[]
  changes: Change[]
  waitsForFlush: boolean
  startedAt: number
  touched: number
}

export interface StatementOptions { timeoutMs?: number, kind?: 'database' | 'find' }

/** Runs on a server, and calls `reply` when it is done, at once or after waiting for a lock; if it throws, the statement fails. */
export type Run<T> = (server: Server, reply: (value: T) => void) => void

export type SimulatedPostgres = ReturnType<typeof createSimulatedPostgres>

interface Options { rules?: Partial<DatabaseRules>, from?: Data, identity?: string }

/** A simulated PostgreSQL: it does what the stores' SQL does, with a gate before each statement runs and one before its reply. */
export function createSimulatedPostgres (
  schedule: Schedule,
  latency: (kind: 'database' | 'find' | 'replay') => number,
  { rules: removed = {}, from, identity = 'database1' }: Options = {}
) {
  const rules = { ...databaseRules, ...removed }
  const state = createDatabaseState(schedule, latency, from)
  const locks = new Map<string, { holder: Transaction, waiting: Array<() => void> }>()
  const open = new Set<Transaction>()
  let wallOffset = 0
  let life = 0
  let up = true
  /** The server's settings: whether commits wait for their flush by default, and the isolation of transactions that don't say. */
  const defaults = { waitsForFlush: true, repeatableRead: false }
  const wall = () => wallStart + schedule.now() + wallOffset

  /** Processes that can't reach PostgreSQL. */
  const unreachable = new Set<Process>()
  /** Processes whose next COMMIT is executed but never acknowledged. */
  const unacknowledged = new Set<Process>()
  /** Processes some of whose connections lead to the standby: how many of a hundred. */
  const onStandby = new Map<Process, number>()

  function serverOf (process: Process): Server {
    const share = onStandby.get(process) ?? 0
    const standby = share > 0 && schedule.random() * 100 < share
    return { data: standby ? state.standby : state.data, standby }
  }

  function statement<T> (
    process: Process,
    name: string,
    run: Run<T>,
    { timeoutMs = 7_000, kind = 'database' }: StatementOptions = {},
    pinned: Server | null = null
  ): Promise<T> {
    const label = `${process.name} ${name}`
    const sent = life
    return new Promise<T>((resolve, reject) => {
      const timer = schedule.after(
        timeoutMs,
        `${label} times out`,
        () => reject(new UnavailableError()),
        { process, timer: true, wakes: true }
      )
      const respond = (settle: () => void) => schedule.after(latency(kind), `${label} replies`, () => {
        schedule.cancel(timer)
        if (unreachable.has(process) || sent !== life) reject(new UnavailableError())
        else settle()
      }, { process, wakes: true })
      schedule.after(latency(kind), `${label} runs`, () => {
        if (unreachable.has(process) || sent !== life || !up) return respond(() => reject(new UnavailableError()))
        try {
          run(pinned ?? serverOf(process), value => respond(() => resolve(value)))
        } catch (error) {
          respond(() => reject(error))
        }
      })
    })
  }

  function lock (tx: Transaction, row: string, next: () => void): void {
    const held = locks.get(row)
    if (held !== undefined && held.holder !== tx) {
      held.waiting.push(() => { if (tx.open) lock(tx, row, next) })
      return
    }
    if (held === undefined) locks.set(row, { holder: tx, waiting: [] })
    next()
  }

  function whenFree (rows: string[], next: () => void): void {
    const held = rows.map(row => locks.get(row)).find(held => held !== undefined)
    if (held === undefined) next()
    else held.waiting.push(() => whenFree(rows, next))
  }

  function end (tx: Transaction, commit: boolean): void {
    if (!tx.open) return
    tx.open = false
    open.delete(tx)
    if (commit) state.commit(tx.changes, tx.waitsForFlush || defaults.waitsForFlush)
    const waiting: Array<() => void> = []
    for (const [row, held] of locks) {
      if (held.holder !== tx) continue
      locks.delete(row)
      waiting.push(...held.waiting)
    }
    for (const next of waiting) next()
  }

  async function inTransaction<T> (tx: Transaction, name: string, run: Run<T>, kind: 'database' | 'find' = 'database'): Promise<T> {
    tx.touched++
    const touched = tx.touched
    try {
      return await statement<T>(tx.process, name, (server, reply) => {
        if (!tx.open) throw new UnavailableError()
        tx.server ??= server
        // Taken before its first statement waits for a lock.
        if (defaults.repeatableRead &&
          !rules.readCommitted) tx.snapshot ??= new Map([...tx.server.data.tokens].map(([hash, row]) => [hash, { ...row }]))
        run(tx.server, value => {
          schedule.after(
            idleTransactionMs,
            `${tx.process.name} was idle in a transaction`,
            () => { if (tx.touched === touched) end(tx, false) }
          )
          reply(value)
        })
      }, { kind }, tx.server)
    } catch (error) {
      end(tx, false)
      throw error
    }
  }

  async function transaction<T> (process: Process, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const tx: Transaction = {
      process, open: true, server: null, snapshot: null, revoked: new Set(), inserted: [], changes: [], waitsForFlush: false, startedAt: wall(), touched: 0
    }
    open.add(tx)
    let done: T
    try {
      done = await work(tx)
    } catch (error) {
      await statement<void>(process, 'ROLLBACK', (_server, reply) => { end(tx, false); reply() }).catch(() => end(tx, false))
      throw error
    }
    await inTransaction<void>(tx, 'COMMIT', (_server, reply) => {
      end(tx, true)
      if (unacknowledged.delete(process)) throw new UnavailableError()
      reply()
    })
    return done
  }

  /** Whoever is connected loses the connection. */
  function disconnect (): void {
    life++
    for (const tx of [...open]) end(tx, false)
    locks.clear()
  }

  const engine = {
    schedule,
    rules,
    state,
    wall,
    defaults,
    statement,
    inTransaction,
    transaction,
    lock,
    whenFree,
    isLocked: (row: string) => locks.has(row),
    principalOf
  }

  function principalOf (row: Pick<TokenRow, 'id' | 'userId' | 'sessionId' | 'expiresAt'>, { versions }: Data = state.data): Principal {
    const at = new Date(wallStart).toISOString()
    const expiresAt = new Date(row.expiresAt).toISOString()
    return {
      issuedAtMs: wallStart,
      expiresAtMs: row.expiresAt,
      amr: ['pwd'],
      acr: 'aal1',
      hasFactor: false,
      token: { id: row.id, kind: 'access', abilities: ['*'], expiresAt },
      session: { id: row.sessionId, deviceName: null, createdAt: at, expiresAt },
      user: {
        id: row.userId,
        email: 'ada@example.com',
        emailVerifiedAt: null,
        name: String(versions.get(row.userId) ?? 0),
        role: 'user',
        createdAt: at
      },
      emailVerified: false
    }
  }

  return {
    identity,
    rules,
    defaults,
    get epoch () { return state.data.epoch },
    get tokens () { return state.data.tokens },
    seed: state.seed,
    /** Another database with the same data, and an identity of its own. */
    copy: (name: string) => createSimulatedPostgres(schedule, latency, { rules: removed, from: state.copy(), identity: name }),
    unreachable,
    unacknowledged,
    onStandby,
    pauseReplay: state.pause,
    tokenStore: (process: Process) => createSimulatedTokenStore(engine, process),
    epochStore: (process: Process) => createSimulatedEpochStore(engine, process),

    transactions: (process: Process): Transactions => ({
      transaction: work => runTransaction(begun => transaction(process, tx => begun(tx as unknown as Tx)), work)
    }),

    /** Locks the user's row until the transaction ends. */
    lockUser: (tx: Tx, userId: string): Promise<void> => inTransaction<void>(of(tx), 'lock user', (server, reply) => {
      requirePrimary(server)
      lock(of(tx), userId, reply)
    }),

    /** Renames the user to the next number: this revokes nothing, but every cached entry is out of date. */
    rename: (
      tx: Tx,
      userId: string
    ): Promise<{ hashes: TokenHash[], version: number }> => inTransaction(of(tx), 'rename', ({ data }, reply) => {
      const version = (data.versions.get(userId) ?? 0) + 1
      of(tx).changes.push(({ versions }) => { versions.set(userId, version) })
      reply({
        version,
        hashes: [...data.tokens.values()].filter(row => row.userId === userId && row.revokedAt === null).map(row => new TokenHash(row.hash))
      })
    }),

    principalOf,

    /** kill -9 of the server; it is back `downMs` later, without what was not flushed. */
    crash (downMs: number): void {
      schedule.note('PostgreSQL is killed')
      disconnect()
      up = false
      state.crash()
      schedule.after(downMs, 'PostgreSQL is back', () => { up = true })
    },

    /** The standby takes over; its clock may be `behindMs` behind. */
    promote (behindMs: number): void {
      schedule.note(`the standby is promoted, its clock ${behindMs} ms behind`)
      disconnect()
      state.promote()
      wallOffset -= behindMs
      onStandby.clear()
    },

    /** Rolls back a dead process's transactions, as the server does once it notices. */
    abort (process: Process): void {
      for (const tx of [...open]) if (tx.process === process) end(tx, false)
    }
  }
}

/** What the stores need of the simulated server. */
export interface Engine {
  rules: DatabaseRules
  state: ReturnType<typeof createDatabaseState>
  wall (): number
  defaults: { waitsForFlush: boolean, repeatableRead: boolean }
  statement<T> (process: Process, name: string, run: Run<T>, options?: StatementOptions): Promise<T>
  inTransaction<T> (tx: Transaction, name: string, run: Run<T>, kind?: 'database' | 'find'): Promise<T>
  transaction<T> (process: Process, work: (tx: Transaction) => Promise<T>): Promise<T>
  lock (tx: Transaction, row: string, next: () => void): void
  whenFree (rows: string[], next: () => void): void
  isLocked (row: string): boolean
  principalOf (row: Pick<TokenRow, 'id' | 'userId' | 'sessionId' | 'expiresAt'>, data: Data): Principal
}

/** A standby refuses whatever writes or locks. */
export function requirePrimary ({ standby }: Server): void {
  if (standby) throw new UnavailableError()
}

export function of (tx: Tx): Transaction {
  return tx as unknown as Transaction
}
