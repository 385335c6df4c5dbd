/** Which server answered, and on which of our connections. `incarnation` null: not a master, or it hides who it is. */
export interface Identity { connection: number, incarnation: string | null }

/**
 * What the revocation protocol needs of a cache server: commands on single keys, on one connection, each replacement of which shows.
 * Every call rejects rather than waits. A call that rejected may or may not have been carried out.
 */
export interface CacheBackend {
  /** The number of the connection in use; null while there is none. */
  readonly connection: number | null
  /** The value at `key`, or null; changes nothing. Look-ups of one event-loop turn travel together. A replica must refuse it. */
  get (key: string): Promise<string | null>
  /** Sets `lease` if the key is free and returns null; otherwise returns the value that is there. */
  takeLease (key: string, lease: string, ttlMs: number): Promise<string | null>
  /** Replaces `expected` by `value`, atomically; false if something else is there. */
  compareAndSet (key: string, expected: string, value: string, ttlMs: number): Promise<boolean>
  /** Sets each key to `R` for `ttlMs`, or deletes it (null, or no memory left), then asks who answered. Rejects if any part failed. */
  overwrite (keys: string[], ttlMs: number | null): Promise<Identity>
  /** Who answers on this connection right now. */
  identify (): Promise<Identity>
  close (): Promise<void>
}

/** The server itself refused one command: the connection is fine, and the cache not in doubt. */
export class RefusedCommandError extends Error {
  override name = 'RefusedCommandError'
}

/** Another server of the cluster has this key: our map of the slots is out of date. */
export class MisroutedError extends Error {
  override name = 'MisroutedError'
}

/** A process with a database and no cache. */
export const noBackend: CacheBackend = {
  connection: null,
  get: () => Promise.reject(new Error('no cache')),
  takeLease: () => Promise.reject(new Error('no cache')),
  compareAndSet: () => Promise.reject(new Error('no cache')),
  overwrite: () => Promise.reject(new Error('no cache')),
  identify: () => Promise.reject(new Error('no cache')),
  close: async () => {}
}
