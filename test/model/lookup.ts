import type { Moment } from './moment.js'
import type { Instance, Reader } from './state.js'

/** How far a look-up has come. */
export const idle = 0
export const queued = 1
export const looking = 2
export const vouching = 3
export const leaseUnsent = 4
export const leasing = 5
export const hit = 6
export const older = 7
export const reading = 8
export const read = 9
export const fillUnsent = 10
export const filling = 11

/** What a read of the database has found, kept in the reader until it fills. A token that is unknown is filled as a revoked one is. */
export const foundRevoked = 1
export const foundLive = 2
export const foundAltered = 3

/** A look-up and where it runs. */
export interface Act { moment: Moment, reader: Reader, instance: Instance, slot: number, name: string, actor: string }

/** Ends a look-up. */
export function abandon (reader: Reader) {
  Object.assign(reader, { phase: idle, generation: 0, value: 0, late: 0, moved: 0, node: 0 })
}
