import type { Moment } from './moment.js'
import { settled } from './revocation.js'
import type { SystemState } from './state.js'

/** The instance whose database is the copy. */
export const copysInstance = 1

const names = ['generation', 'registered', 'issued', 'committed'] as const

/** What one statement of an instance may find: the primary's data, a lagging standby's, or those of a copy of the database. */
export interface Found { standby: boolean, generation: number, registered: number, issued: number, committed: number, row: number }

const empty: Found = { standby: false, generation: 0, registered: 0, issued: 0, committed: 0, row: 0 }
const primary = { ...empty }
const other = { ...empty }
const alone = [primary]
const copied = [other]
const both = [primary, other]

/** Every database that a statement of this instance may reach. The result is valid until the next call: it is asked for all the time. */
export function reachable ({ state, scenario }: Moment, index: number): Found[] {
  const { database, snapshot, revocations } = state
  for (const name of names) primary[name] = database[name]
  primary.row = revocations[0]!.row
  if (snapshot === undefined || scenario.database === 'crash') return alone
  for (const name of names) other[name] = snapshot[name]
  other.row = snapshot.row
  other.standby = scenario.database === 'standby'
  if (scenario.database === 'copy') return index === copysInstance ? copied : alone
  return snapshot.fixed ? alone : both
}

/** Replay, promotion, crash and copying. */
export function databaseSteps (moment: Moment) {
  const { scenario } = moment
  if (scenario.database === 'standby') {
    replay(moment)
    promote(moment)
  }
  if (scenario.database === 'crash') {
    flush(moment)
    crash(moment)
  }
  if (scenario.database === 'copy') copy(moment)
  if (scenario.clockStepsBack) stepBack(moment)
}

/** Call after a write. Unless it waits for its flush, a crash may lose it; a flush carries all earlier writes with it. */
export function wrote ({ state, scenario }: Moment, waitsForFlush: boolean) {
  if (scenario.database === 'crash' && waitsForFlush) take(state)
}

function replay ({ state, next }: Moment) {
  if (state.snapshot!.fixed || !differs(state)) return
  take(state)
  next('standby', 'replays', describe(state.snapshot!))
}

/**
 * The standby becomes the primary, and the old one is fenced. With a synchronous standby no commit that anybody has seen is lost; one that
 * is lost before that is a request that fails.
 */
function promote ({ state, next }: Moment) {
  if (state.snapshot!.fixed) return
  take(state)
  state.snapshot!.fixed = 1
  next('standby', 'promoted', describe(state.snapshot!))
}

function flush ({ state, next }: Moment) {
  if (!differs(state)) return
  take(state)
  next('database', 'flushes', describe(state.snapshot!))
}

function crash ({ state, next }: Moment) {
  if (!differs(state)) return
  restore(state)
  next('database', 'crashes', `comes back with ${describe(state.snapshot!)}`)
}

function copy ({ state, next }: Moment) {
  if (state.snapshot!.fixed) return
  take(state)
  state.snapshot!.fixed = 1
  next('database', 'copied', describe(state.snapshot!))
}

/** A failover to a machine whose clock is behind: what was dated before is now in the future. */
function stepBack ({ state, next }: Moment) {
  if (state.database.steppedBack) return
  state.database.steppedBack = 1
  for (const revocation of state.revocations) if (revocation.row !== settled) revocation.rowInFuture = 1
  next('database', 'clock', 'steps back')
}


function take ({ database, snapshot, revocations }: SystemState) {
  for (const name of names) snapshot![name] = database[name]
  snapshot!.row = revocations[0]!.row
}

function restore ({ database, snapshot, revocations }: SystemState) {
  for (const name of names) database[name] = snapshot![name]
  revocations[0]!.row = snapshot!.row
}

function differs ({ database, snapshot, revocations }: SystemState): boolean {
  return snapshot!.row !== revocations[0]!.row || names.some(name => snapshot![name] !== database[name])
}

function describe ({ generation, issued, committed, row }: Omit<Found, 'standby'>): string {
  const token = issued === 0 ? 'unknown' : committed ? 'revoked' : 'live'
  return `generation ${generation}, token ${token}${row === settled ? '' : ', a settlement'}`
}
