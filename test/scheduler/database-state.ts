import type { Schedule } from './scheduler.js'

export interface TokenRow {
  id: string
  hash: string
  userId: string
  sessionId: string
  expiresAt: number
  revokedAt: number | null
  /** When the revocation's COMMIT was executed. */
  committedAt: number | null
}

export interface SettlementRow { id: string, hashes: string[], createdAt: number, help: boolean }

/** What a database server holds. */
export interface Data {
  epoch: { generation: number, incarnation: string | null, confirmedAt: number | null, retired: string[] }
  tokens: Map<string, TokenRow>
  versions: Map<string, number>
  settlements: Map<string, SettlementRow>
}

/** A change as the log has it: it can be made again, on another server's data. */
export type Change = (data: Data, committedAt: number) => void

interface Record { change: Change, at: number }

const empty = (): Data => ({
  epoch: {
    generation: 1_000,
    incarnation: null,
    confirmedAt: null,
    retired: []
  }, tokens: new Map(), versions: new Map(), settlements: new Map()
})

const copyOf = ({ epoch, tokens, versions, settlements }: Data): Data => ({
  epoch: { ...epoch },
  tokens: new Map([...tokens].map(([hash, row]) => [hash, { ...row }])),
  versions: new Map(versions),
  settlements: new Map([...settlements].map(([id, row]) => [id, { ...row }]))
})

export type DatabaseState = ReturnType<typeof createDatabaseState>

/** The data of a primary, with the log of its changes: what of it is on disk, and what a standby has replayed. */
export function createDatabaseState (schedule: Schedule, latency: (kind: 'replay') => number, from: Data = empty()) {
  const base = copyOf(from)
  const log: Record[] = []
  let data = copyOf(from)
  let standby = copyOf(from)
  let replayed = 0
  let flushed = 0
  let paused = false

  function make (target: Data, { change, at }: Record): void {
    change(target, at)
  }

  function replay (upTo: number): void {
    for (; replayed < upTo && replayed < log.length && !paused; replayed++) make(standby, log[replayed] as Record)
  }

  return {
    get data () { return data },
    get standby () { return standby },
    copy: () => copyOf(data),

    /** Puts something there from the start. */
    seed (change: Change): void {
      for (const target of [base, data, standby]) change(target, schedule.now())
    },

    /** Makes changes; one that waits for its flush takes all before it to the disk. */
    commit (changes: Change[], waitsForFlush: boolean): void {
      for (const change of changes) {
        const record = { change, at: schedule.now() }
        make(data, record)
        log.push(record)
      }
      const upTo = log.length
      if (waitsForFlush) flushed = upTo
      if (changes.length > 0) schedule.after(latency('replay'), 'the standby replays', () => replay(upTo))
    },

    /** Stops or continues the standby's replay. */
    pause (on: boolean): void {
      paused = on
      if (!on) replay(log.length)
    },

    /** What was not flushed is lost. */
    crash (): void {
      log.splice(flushed)
      data = copyOf(base)
      for (const record of log) make(data, record)
      if (replayed <= log.length) return
      standby = copyOf(data)
      replayed = log.length
    },

    /** The standby takes over, once it has replayed everything. */
    promote (): void {
      paused = false
      replay(log.length)
      flushed = log.length
      data = copyOf(standby)
    }
  }
}
