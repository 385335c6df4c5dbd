import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { nextEventLoopTurn } from '../shared/event-loop.js'
import type { CacheBackend, Identity } from './backend.js'

/** Characters of all values together. */
const maxSize = 200_000_000

/** The embedded mode's cache: the same commands on a map in this process, which ends with it. */
export function createMemoryBackend (maxEntries = 100_000): CacheBackend & { measure (): Promise<{ keys: number, memoryBytes: null }> } {
  const entries = new LRUCache<string, string>({
    max: maxEntries, maxSize, sizeCalculation: value => value.length + 1, ttl: 60_000, ttlResolution: 0
  })
  const identity: Identity = { connection: 1, incarnation: `memory:${randomUUID()}` }

  return {
    connection: identity.connection,
    async get (key) {
      await nextEventLoopTurn()
      return entries.get(key) ?? null
    },
    async takeLease (key, lease, ttlMs) {
      const there = entries.get(key)
      if (there !== undefined) return there
      entries.set(key, lease, { ttl: ttlMs })
      return null
    },
    async compareAndSet (key, expected, value, ttlMs) {
      if (entries.get(key) !== expected) return false
      entries.set(key, value, { ttl: ttlMs })
      return true
    },
    async overwrite (keys, ttlMs) {
      for (const key of keys) {
        if (ttlMs === null) entries.delete(key)
        else entries.set(key, 'R', { ttl: ttlMs })
      }
      return identity
    },
    identify: async () => identity,
    measure: async () => ({ keys: entries.size, memoryBytes: null }),
    close: async () => entries.clear()
  }
}
