import type { CacheBackend, Identity } from './backend.js'

/**
 * `backend` with `prefix` before each key and in its incarnation. Whoever trusts an incarnation then uses the same keys as everybody else who
 * does: two instances with different prefixes are two caches, of which one is registered.
 */
export function inNamespace (backend: CacheBackend, prefix: string): CacheBackend {
  const named = ({ connection, incarnation }: Identity): Identity => ({ connection, incarnation: incarnation === null ? null : `${incarnation}:${prefix}` })
  return {
    get connection () { return backend.connection },
    get: key => backend.get(prefix + key),
    takeLease: (key, lease, ttlMs) => backend.takeLease(prefix + key, lease, ttlMs),
    compareAndSet: (key, expected, value, ttlMs) => backend.compareAndSet(prefix + key, expected, value, ttlMs),
    overwrite: async (keys, ttlMs) => named(await backend.overwrite(keys.map(key => prefix + key), ttlMs)),
    identify: async () => named(await backend.identify()),
    close: () => backend.close()
  }
}
