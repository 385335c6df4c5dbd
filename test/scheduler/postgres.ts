import { randomUUID } from 'node:crypto'
import { runTransaction, type Transactions, type Tx } from '../../src/database/transaction.js'
import type { RevokingTx } from '../../src/revocation/revocation.js'
import type { EpochReading, EpochStore } from '../../src/revocation/store.js'
import { UnavailableError } from '../../src/shared/errors.js'
import type { Principal, TokenState } from '../../src/tokens/principal.js'
import type { NewToken } from '../../src/tokens/rows.js'
import type { TokenStore } from '../../src/tokens/store.js'
import { TokenHash } from '../../src/tokens/token.js'
import type { Process, Schedule } from './scheduler.js'

/** The wall clock when a schedule begins. */
export const wallStart = Date.UTC(2026, 0, 1)
const idleTransactionMs = 5_000

export interface TokenRow { id: string, hash: string, userId: string, sessionId: string, expiresAt: number, revokedAt: number | null, /** When the revocation's COMMIT was executed. */ committedAt: number | null }

interface SettlementRow { id: string, hashes: string[], createdAt: number, help: boolean }

interface Transaction { process: Process, open: boolean, revoked: Set<string>, inserted: TokenRow[], apply: Array<() => void>, startedAt: number, touched: number }

export type SimulatedPostgres = ReturnType<typeof createSimulatedPostgres>

/** A simulated PostgreSQL: it does what the stores' SQL does, with a gate before each statement runs and one before its reply. */
export function createSimulatedPostgres (schedule: Schedule, latency: (kind: 'database' | 'find') => number) {
  const { now } = schedule
  const wall = () => wallStart + now()
  const epoch = { generation: 1_000, incarnation: null as string | null, confirmedAt: null as number | null, retired: [] as string[] }
  const tokens = new Map<string, TokenRow>()
  const versions = new Map<string, number>()
  const settlements = new Map<string, SettlementRow>()
  const locks = new Map<string, { holder: Transaction, waiting: Array<() => void> }>()
  const open = new Set<Transaction>()
  /** Processes that can't reach PostgreSQL. */
  const unreachable = new Set<Process>()
  /** Processes whose next COMMIT is executed but never acknowledged. */
  const unacknowledged = new Set<Process>()

  /** `run` calls `reply` when it is done, at once or after waiting for a lock; if it throws, the statement fails. */
  function statement<T> (process: Process, name: string, run: (reply: (value: T) => void) => void, { timeoutMs = 7_000, kind = 'database' as 'database' | 'find' } = {}): Promise<T> {
    const label = `${process.name} ${name}`
    return new Promise<T>((resolve, reject) => {
      const timer = schedule.after(timeoutMs, `${label} times out`, () => reject(new UnavailableError()), { process, timer: true, wakes: true })
      const respond = (settle: () => void) => schedule.after(latency(kind), `${label} replies`, () => {
        schedule.cancel(timer)
        if (unreachable.has(process)) reject(new UnavailableError())
        else settle()
      }, { process, wakes: true })
      schedule.after(latency(kind), `${label} runs`, () => {
        if (unreachable.has(process)) return respond(() => reject(new UnavailableError()))
        try {
          run(value => respond(() => resolve(value)))
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
    if (commit) for (const change of tx.apply) change()
    const waiting: Array<() => void> = []
    for (const [row, held] of locks) {
      if (held.holder !== tx) continue
      locks.delete(row)
      waiting.push(...held.waiting)
    }
    for (const next of waiting) next()
  }

  async function inTransaction<T> (process: Process, tx: Transaction, name: string, run: (reply: (value: T) => void) => void, kind: 'database' | 'find' = 'database'): Promise<T> {
    tx.touched++
    const touched = tx.touched
    try {
      return await statement<T>(process, name, reply => {
        if (!tx.open) throw new UnavailableError()
        run(value => {
          schedule.after(idleTransactionMs, `${process.name} was idle in a transaction`, () => { if (tx.touched === touched) end(tx, false) })
          reply(value)
        })
      }, { kind })
    } catch (error) {
      end(tx, false)
      throw error
    }
  }

  async function transaction<T> (process: Process, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const tx: Transaction = { process, open: true, revoked: new Set(), inserted: [], apply: [], startedAt: wall(), touched: 0 }
    open.add(tx)
    let done: T
    try {
      done = await work(tx)
    } catch (error) {
      await statement<void>(process, 'ROLLBACK', reply => { end(tx, false); reply() }).catch(() => end(tx, false))
      throw error
    }
    await inTransaction<void>(process, tx, 'COMMIT', reply => {
      end(tx, true)
      if (unacknowledged.delete(process)) throw new UnavailableError()
      reply()
    })
    return done
  }

  const visible = (tx: Transaction) => [...tokens.values(), ...tx.inserted]

  function principalOf (row: Pick<TokenRow, 'id' | 'userId' | 'sessionId' | 'expiresAt'>): Principal {
    const at = new Date(wallStart).toISOString()
    const expiresAt = new Date(row.expiresAt).toISOString()
    return {
      issuedAtMs: wallStart,
      expiresAtMs: row.expiresAt,
      token: { id: row.id, kind: 'access', abilities: ['*'], expiresAt },
      session: { id: row.sessionId, deviceName: null, createdAt: at, expiresAt },
      user: { id: row.userId, email: 'ada@example.com', emailVerifiedAt: null, name: String(versions.get(row.userId) ?? 0), role: 'user', createdAt: at }
    }
  }

  function judge (row: TokenRow, nowMs: number): TokenState {
    if (row.revokedAt !== null) return { state: 'revoked' }
    return row.expiresAt <= nowMs ? { state: 'over' } : { state: 'live', principal: principalOf(row) }
  }

  const nextGeneration = () => Math.max(epoch.generation + 1, Math.floor(wall()))
  const seen = () => ({ generation: epoch.generation, incarnation: epoch.incarnation, retired: epoch.retired.length })

  function tokenStore (process: Process): TokenStore {
    const absent = () => Promise.reject(new Error('the simulated PostgreSQL has no such query'))
    return {
      findRefresh: absent,
      countPersonal: absent,
      findRow: absent,
      listServices: absent,
      revokeServices: absent,
      revokeOne: absent,
      consume: absent,
      listPersonal: absent,
      revokePersonal: absent,
      cacheableOfUser: absent,
      revokeOfUsers: absent,
      deleteOfUser: absent,
      find: (hexes, nowMs) => statement(process, 'find', reply => reply(new Map(hexes.flatMap(hex => {
        const row = tokens.get(hex)
        return row === undefined ? [] : [[hex, judge(row, nowMs)] as const]
      }))), { kind: 'find' }),
      insert: (tx: Tx, { hash, userId, sessionId, expiresAt }: NewToken) => inTransaction(process, of(tx), 'INSERT token', reply => {
        const row: TokenRow = { id: randomUUID(), hash: hash.hex(), userId: userId ?? '', sessionId: sessionId ?? '', expiresAt: expiresAt?.getTime() ?? Number.MAX_SAFE_INTEGER, revokedAt: null, committedAt: null }
        of(tx).inserted.push(row)
        of(tx).apply.push(() => tokens.set(row.hash, row))
        reply(row.id)
      }),
      isLive: (tx: Tx, id: string, at: Date) => inTransaction(process, of(tx), 'isLive', reply => {
        reply(visible(of(tx)).some(row => row.id === id && row.revokedAt === null && !of(tx).revoked.has(row.hash) && row.expiresAt > at.getTime()))
      }),
      revokeOfSessions: (tx: RevokingTx, sessionIds: string[]) => inTransaction(process, of(tx), 'UPDATE tokens', reply => {
        for (const row of visible(of(tx))) {
          if (row.revokedAt !== null || !sessionIds.includes(row.sessionId)) continue
          of(tx).revoked.add(row.hash)
          of(tx).apply.push(() => Object.assign(row, { revokedAt: of(tx).startedAt, committedAt: now() }))
        }
        reply()
      }),
      revokedOfUser: (tx: RevokingTx, userId: string, withinSeconds: number) => inTransaction(process, of(tx), 'SELECT revoked', reply => {
        reply(visible(of(tx)).filter(row => row.userId === userId && (of(tx).revoked.has(row.hash) || (row.revokedAt !== null && row.revokedAt > of(tx).startedAt - withinSeconds * 1000)))
          .map(row => new TokenHash(row.hash)))
      })
    }
  }

  function epochStore (process: Process): EpochStore {
    return {
      poll: timeoutMs => statement<EpochReading>(process, 'poll', reply => {
        const ages = [...settlements.values()].map(({ createdAt }) => wall() - createdAt)
        reply({
          ...seen(), standby: false, confirmedAgeMs: epoch.confirmedAt === null ? null : wall() - epoch.confirmedAt,
          oldestSettlementMs: ages.length === 0 ? null : Math.max(...ages), helpWanted: [...settlements.values()].some(({ help }) => help)
        })
      }, { timeoutMs }),
      bumpWithin: () => Promise.reject(new Error('the simulated PostgreSQL has no such query')),
      requirePrimary: async () => {},
      forget: async () => false,
      register: (incarnation, generation, timeoutMs) => statement<boolean>(process, 'register', reply => {
        const { confirmedAt, retired, incarnation: before } = epoch
        if (epoch.generation !== generation || before === incarnation || (retired.includes(incarnation) && confirmedAt !== null && confirmedAt >= wall() - 15_000)) return reply(false)
        if (before !== null) epoch.retired = [...retired.filter(one => one !== before), before]
        Object.assign(epoch, { generation: nextGeneration(), incarnation, confirmedAt: wall() })
        reply(true)
      }, { timeoutMs }),
      confirm: (incarnation, timeoutMs) => statement<void>(process, 'confirm', reply => {
        if (epoch.incarnation === incarnation) epoch.confirmedAt = wall()
        reply()
      }, { timeoutMs }),
      insertSettlement: (tx, id, hashes) => inTransaction<void>(process, of(tx), 'INSERT settlement', reply => {
        const row = { id, hashes: hashes.map(hash => hash.hex()), createdAt: wall(), help: false }
        of(tx).apply.push(() => settlements.set(id, row))
        reply()
      }),
      finish: (ids, incarnation) => statement(process, 'finish', reply => {
        const judged = seen()
        if (judged.incarnation !== null && judged.incarnation !== incarnation) return reply(judged)
        whenFree(ids, () => {
          for (const id of ids) settlements.delete(id)
          reply(judged)
        })
      }),
      askForHelp: ids => statement<void>(process, 'askForHelp', reply => whenFree(ids, () => {
        for (const id of ids) Object.assign(settlements.get(id) ?? {}, { help: true })
        reply()
      })),
      waiting: ids => statement(process, 'waiting', reply => reply({ epoch: seen(), waiting: new Set(ids.filter(id => settlements.has(id))) })),
      bump: () => statement(process, 'bump', reply => {
        for (const id of settlements.keys()) if (!locks.has(id)) settlements.delete(id)
        epoch.generation = nextGeneration()
        reply(seen())
      }),
      assist: (overdueMs, settle) => transaction(process, async tx => {
        const found = await inTransaction<SettlementRow[]>(process, tx, 'SELECT settlements', reply => {
          const rows = [...settlements.values()].filter(({ id, help, createdAt }) => !locks.has(id) && (help || createdAt < wall() - overdueMs))
          for (const { id } of rows) lock(tx, id, () => {})
          reply(rows)
        })
        if (found.length === 0) return { taken: 0, more: false }
        const incarnation = await settle(found.flatMap(({ hashes }) => hashes.map(hex => new TokenHash(hex))))
        if (incarnation === null) return { taken: 0, more: false }
        await inTransaction<void>(process, tx, 'DELETE settlements', reply => {
          if (epoch.incarnation === incarnation) tx.apply.push(() => { for (const { id } of found) settlements.delete(id) })
          reply()
        })
        return { taken: found.length, more: false }
      }),
      close: async () => {}
    }
  }

  return {
    epoch,
    tokens,
    settlements,
    unreachable,
    unacknowledged,
    tokenStore,
    epochStore,

    transactions: (process: Process): Transactions => ({
      transaction: work => runTransaction(begun => transaction(process, tx => begun(tx as unknown as Tx)), work)
    }),

    /** Locks the user's row until the transaction ends. */
    lockUser: (tx: Tx, userId: string): Promise<void> => inTransaction<void>(of(tx).process, of(tx), 'lock user', reply => lock(of(tx), userId, reply)),

    /** Renames the user to the next number: this revokes nothing, but every cached entry is out of date. */
    rename: (tx: Tx, userId: string): Promise<{ hashes: TokenHash[], version: number }> => inTransaction(of(tx).process, of(tx), 'rename', reply => {
      const version = (versions.get(userId) ?? 0) + 1
      of(tx).apply.push(() => versions.set(userId, version))
      reply({ version, hashes: [...tokens.values()].filter(row => row.userId === userId && row.revokedAt === null).map(row => new TokenHash(row.hash)) })
    }),

    principalOf,

    /** Rolls back a dead process's transactions, as the server does once it notices. */
    abort (process: Process): void {
      for (const tx of [...open]) if (tx.process === process) end(tx, false)
    }
  }
}

function of (tx: Tx): Transaction {
  return tx as unknown as Transaction
}
