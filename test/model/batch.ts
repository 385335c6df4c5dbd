import { api, type Moment } from './moment.js'

const none = 0
const unsent = 1
const sent = 2
const executed = 3

/** Look-ups without a lease, which share one database read. */
export function batchSteps ({ state, rules, scenario, next }: Moment) {
  if (!scenario.batches) return
  const { batch, database } = state
  const actor = api(scenario.readers[0]!)

  if (batch.phase === none) {
    batch.phase = unsent
    batch.late = database.answered
    return next(actor, 'batch', `a look-up waits for the next database read${batch.late ? ' (starts after the revocation is due)' : ''}`)
  }
  const joinable = batch.phase === unsent || !rules.joinOnlyUnsentDatabaseReads
  if (joinable && database.answered !== 0 && batch.late === 0) {
    batch.late = 1
    next(actor, 'batch', 'an identical look-up joins (it starts after the revocation is due)')
  }
  if (batch.phase === unsent) {
    batch.phase = sent
    next(actor, 'batch', 'database read sent')
  } else if (batch.phase === sent) {
    batch.phase = executed
    batch.live = database.committed ? 0 : 1
    next(actor, 'batch', `database: ${batch.live ? 'live' : 'revoked'}`)
  } else if (batch.phase === executed) {
    const broken = batch.live !== 0 && batch.late !== 0
    const live = batch.live !== 0
    Object.assign(batch, { phase: none, live: 0, late: 0 })
    next(actor, 'batch', live ? 'accepted' : 'refused', broken ? 'a revoked token is accepted' : undefined)
  }
}
