import type { CacheEpoch } from '../revocation/epoch.js'
import type { CacheCounters } from '../token-cache/counters.js'
import type { AdminStore } from './store.js'

/** How full a cache is. For Redis: all keys of the logical database and the memory of the whole server, other programs' included. */
export interface CacheSize { keys: number, memoryBytes: number | null }

interface CacheFiguresDependencies {
  store: Pick<AdminStore, 'epoch'>
  counters: CacheCounters
  epoch: Pick<CacheEpoch, 'state'>
  /** Null where there is no cache; rejects when it doesn't answer. */
  measure: (() => Promise<CacheSize>) | null
}

/** The cache as this process knows it, and its epoch in the database. Look-ups are counted since the process started. */
export type CacheFigures = ReturnType<typeof createCacheFigures>

export function createCacheFigures ({ store, counters, epoch, measure }: CacheFiguresDependencies) {
  return async () => {
    const { generation, incarnation, settlements, overdueSettlements } = await store.epoch()
    const size = measure === null ? null : await measure().catch(() => null)
    const { hits, refusals, misses, bypasses } = counters
    const answered = hits + refusals
    const lookUps = answered + misses + Object.values(bypasses).reduce((sum, each) => sum + each, 0)
    const state = epoch.state()
    return {
      state,
      trusted: state === 'trusted',
      generation,
      registered: incarnation !== null,
      openSettlements: settlements,
      overdueSettlements,
      hitRatio: lookUps === 0 ? null : Math.round(answered / lookUps * 10_000) / 10_000,
      lookUps,
      answered,
      keys: size?.keys ?? null,
      memoryBytes: size?.memoryBytes ?? null
    }
  }
}
