import { createHash } from 'node:crypto'
import type { CacheBackend, Identity } from './backend.js'

/** Which database this is: `here` where it is, `home` where its first start found it (null: not written down yet). */
export interface DatabaseIdentity { here: string, home: string | null }

/** What begins every key of this database's cache entries. */
export interface Namespace {
  readonly prefix: string
  /** Follows the database; false if that changes the prefix. */
  adopt (database: DatabaseIdentity): boolean
}

/** REDIS_KEY_PREFIX, and for a database that was copied or restored elsewhere its own mark: it must not share entries with the original. */
export function createNamespace (keyPrefix: string): Namespace {
  let prefix = keyPrefix
  return {
    get prefix () { return prefix },
    adopt ({ here, home }) {
      const before = prefix
      const mark = home === null || home === here ? '' : `${createHash('sha256').update(`${here} ${home}`).digest('hex').slice(0, 12)}:`
      prefix = keyPrefix + mark
      return prefix === before
    }
  }
}

/**
 * `backend` with the namespace in front of each key and in its incarnation. Whoever trusts an incarnation then uses the same keys as
 * everybody else who does: two instances with different namespaces are two caches, of which one is registered.
 */
export function inNamespace (backend: CacheBackend, namespace: Pick<Namespace, 'prefix'>): CacheBackend {
  const named = (
    { connection, incarnation }: Identity,
    prefix: string
  ): Identity => ({ connection, incarnation: incarnation === null ? null : `${incarnation}:${prefix}` })
  return {
    get connection () { return backend.connection },
    get: key => backend.get(namespace.prefix + key),
    takeLease: (key, lease, ttlMs) => backend.takeLease(namespace.prefix + key, lease, ttlMs),
    compareAndSet: (key, expected, value, ttlMs) => backend.compareAndSet(namespace.prefix + key, expected, value, ttlMs),
    async overwrite (keys, ttlMs) {
      const { prefix } = namespace
      return named(await backend.overwrite(keys.map(key => prefix + key), ttlMs), prefix)
    },
    async identify () {
      const { prefix } = namespace
      return named(await backend.identify(), prefix)
    },
    close: () => backend.close()
  }
}
