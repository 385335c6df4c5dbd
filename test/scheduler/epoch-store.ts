import type { EpochReading, EpochStore } from '../../src/revocation/store.js'
import { TokenHash } from '../../src/tokens/token.js'
import type { Change, SettlementRow } from './database-state.js'
import { type Engine, of, requirePrimary } from './postgres.js'
import type { Process } from './scheduler.js'

const staysAwayMs = 15_000
const forgetAfterMs = 180_000

/** The epoch store on a simulated database: what its SQL does. */
export function createSimulatedEpochStore (engine: Engine, process: Process): EpochStore {
  const { rules, state, wall, defaults, statement, inTransaction, transaction, lock, whenFree, isLocked } = engine
  const nextGeneration = (generation: number) => rules.bumpAlwaysAdds ? Math.max(generation + 1, Math.floor(wall())) : Math.floor(wall())
  const current = ({ epoch } = state.data) =>
    ({ generation: epoch.generation, incarnation: epoch.incarnation, retired: epoch.retired.length })
  const commit = (change: Change, waitsForFlush = false) => state.commit([change], waitsForFlush || defaults.waitsForFlush)

  /** A date in the future was written by a clock that was ahead, so nobody knows how old the row is. */
  function ageOf ({ createdAt }: SettlementRow): number {
    const age = wall() - createdAt
    return age < 0 && rules.futureSettlementIsOverdue ? Number.POSITIVE_INFINITY : age
  }

  return {
    poll: timeoutMs => statement<EpochReading>(process, 'poll', ({ data, standby }, reply) => {
      const rows = [...data.settlements.values()]
      const { confirmedAt } = data.epoch
      reply({
        ...current(data),
        standby: standby && rules.pollTellsStandby,
        database: { here: '1', home: '1' },
        confirmedAgeMs: confirmedAt === null ? null : wall() - confirmedAt,
        oldestSettlementMs: rows.length === 0 ? null : Math.max(...rows.map(ageOf)),
        helpWanted: rows.some(({ help }) => help)
      })
    }, { timeoutMs }),

    register: (incarnation, generation, timeoutMs) => statement<boolean>(process, 'register', (server, reply) => {
      requirePrimary(server)
      const { confirmedAt, retired, incarnation: before, generation: now } = state.data.epoch
      const staysAway = retired.includes(incarnation) &&
        confirmedAt !== null &&
        confirmedAt >= wall() - staysAwayMs &&
        confirmedAt <= wall()
      if (now !== generation || before === incarnation || staysAway) return reply(false)
      const next = {
        generation: nextGeneration(now),
        incarnation,
        confirmedAt: wall(),
        retired: before === null ? retired : [...retired.filter(one => one !== before), before]
      }
      commit(({ epoch }) => Object.assign(epoch, next), rules.registrationWaitsForFlush)
      reply(true)
    }, { timeoutMs }),

    confirm: (incarnation, timeoutMs) => statement<void>(process, 'confirm', (server, reply) => {
      requirePrimary(server)
      const confirmedAt = wall()
      if (state.data.epoch.incarnation === incarnation) commit(({ epoch }) => Object.assign(epoch, { confirmedAt }))
      reply()
    }, { timeoutMs }),

    forget: (generation, timeoutMs) => statement<boolean>(process, 'forget', (server, reply) => {
      requirePrimary(server)
      const { confirmedAt, retired, incarnation, generation: now } = state.data.epoch
      if (now !== generation || incarnation === null || confirmedAt === null || confirmedAt >= wall() - forgetAfterMs) return reply(false)
      const next = {
        generation: nextGeneration(now),
        incarnation: null,
        confirmedAt: null,
        retired: [...retired.filter(one => one !== incarnation), incarnation]
      }
      commit(({ epoch }) => Object.assign(epoch, next), rules.registrationWaitsForFlush)
      reply(true)
    }, { timeoutMs }),

    identify: async () => ({ here: '1', home: '1' }),

    requirePrimary: tx => inTransaction<void>(of(tx), 'require primary', (server, reply) => {
      if (rules.nothingToEndRefusesStandby) requirePrimary(server)
      reply()
    }),

    insertSettlement: (tx, id, hashes) => inTransaction<void>(of(tx), 'INSERT settlement', (server, reply) => {
      requirePrimary(server)
      const row = { id, hashes: hashes.map(hash => hash.hex()), createdAt: wall(), help: false }
      of(tx).changes.push(({ settlements }) => { settlements.set(id, { ...row }) })
      if (rules.commitWaitsForFlush) of(tx).waitsForFlush = true
      reply()
    }),

    bumpWithin: tx => inTransaction<void>(of(tx), 'bump within', (server, reply) => {
      requirePrimary(server)
      lock(of(tx), 'epoch', () => {
        const generation = nextGeneration(state.data.epoch.generation)
        of(tx).changes.push(({ epoch }) => Object.assign(epoch, { generation }))
        if (rules.commitWaitsForFlush) of(tx).waitsForFlush = true
        reply()
      })
    }),

    finish: (ids, incarnation) => statement(process, 'finish', (server, reply) => {
      requirePrimary(server)
      const judged = current()
      if (judged.incarnation !== null && judged.incarnation !== incarnation) return reply(judged)
      whenFree(ids, () => {
        commit(({ settlements }) => { for (const id of ids) settlements.delete(id) })
        reply(judged)
      })
    }),

    askForHelp: ids => statement<void>(process, 'askForHelp', (server, reply) => {
      requirePrimary(server)
      whenFree(ids, () => {
        commit(({ settlements }) => { for (const id of ids) Object.assign(settlements.get(id) ?? {}, { help: true }) })
        reply()
      })
    }),

    waiting: ids => statement(process, 'waiting', (server, reply) => {
      if (rules.waitRefusesStandby) requirePrimary(server)
      reply({ epoch: current(server.data), waiting: new Set(ids.filter(id => server.data.settlements.has(id))) })
    }),

    bump: () => statement(process, 'bump', (server, reply) => {
      requirePrimary(server)
      const seen = [...state.data.settlements.keys()].filter(id => !isLocked(id))
      whenFree(['epoch'], () => {
        const generation = nextGeneration(state.data.epoch.generation)
        commit(({ epoch, settlements }) => {
          for (const id of seen) settlements.delete(id)
          epoch.generation = generation
        }, rules.bumpWaitsForFlush)
        reply(current())
      })
    }),

    assist: (overdueMs, settle) => transaction(process, async tx => {
      const found = await inTransaction<SettlementRow[]>(tx, 'SELECT settlements', (server, reply) => {
        requirePrimary(server)
        const rows = [...server.data.settlements.values()].filter(row => !isLocked(row.id) && (row.help || ageOf(row) > overdueMs))
        for (const { id } of rows) lock(tx, id, () => {})
        reply(rows)
      })
      if (found.length === 0) return { taken: 0, more: false }
      const incarnation = await settle(found.flatMap(({ hashes }) => hashes.map(hex => new TokenHash(hex))))
      if (incarnation === null) return { taken: 0, more: false }
      await inTransaction<void>(tx, 'DELETE settlements', ({ data }, reply) => {
        if (data.epoch.incarnation === incarnation) tx.changes.push(({ settlements }) => { for (const { id } of found) settlements.delete(id) })
        reply()
      })
      return { taken: found.length, more: false }
    }),

    close: async () => {}
  }
}
