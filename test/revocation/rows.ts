import { randomBytes } from 'node:crypto'
import { cacheEpoch, cacheSettlements } from '../../db/schema.js'
import type { Database } from '../../src/database/database.js'
import { TokenHash } from '../../src/tokens/token.js'

/** What the tests of the epoch and of settlements share. */

export const newHash = () => new TokenHash(randomBytes(32).toString('hex'))
export const past = (ms: number) => new Date(Date.now() - ms)

/** Sets the registered server, the servers replaced before, and how long ago it was confirmed. */
export async function setEpoch (
  database: Database,
  { generation = 1_000, incarnation = 'one', confirmedAgeMs = 0, retired = [] as string[] } = {}
): Promise<void> {
  await database.query(db => db.update(cacheEpoch).set({ generation, incarnation, confirmedAt: past(confirmedAgeMs), retired }))
  await database.query(db => db.delete(cacheSettlements))
}
