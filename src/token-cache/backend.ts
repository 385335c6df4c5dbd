/** Which server answers, and over which connection of ours. `incarnation` null: not a master, or not to be told apart. */
export interface Identity { connection: number, incarnation: string | null }

/**
 * What the protocol asks of a cache: one key at a time, over one connection whose every replacement can be noticed.
 * Each call rejects rather than waits; a rejected one may or may not have been carried out.
 */
export interface CacheLink {
  /** The number of the connection in use; null while there is none. */
  readonly connection: number | null
  /** What stands at the key, which stays as it is. Look-ups of an event-loop turn travel together. */
  look (key: string): Promise<string | null>
  /** Sets `lease` if the key is free; returns what was there, null when the lease is now ours. */
  takeLease (key: string, lease: string, ttlMs: number): Promise<string | null>
  /** Sets `value` where `expected` stands, in one step. */
  compareAndSet (key: string, expected: string, value: string, ttlMs: number): Promise<boolean>
  /** One pipeline: each key to `R` for `ttlMs`, or deleted (null, or where memory is short); then who answered. Rejects if any part failed. */
  overwrite (keys: string[], ttlMs: number | null): Promise<Identity>
  /** Who answers on this connection, now. */
  identify (): Promise<Identity>
  close (): Promise<void>
}

/** A reply that is the server's own refusal of one command: the connection is sound, the cache not in doubt. */
export class RefusedCommandError extends Error {
  override name = 'RefusedCommandError'
}

/** Another server of the cluster has this key, so what was known of who has which is out of date. */
export class MisroutedError extends Error {
  override name = 'MisroutedError'
}

/** No cache at all: a process with a database alone. */
export const noLink: CacheLink = {
  connection: null,
  look: () => Promise.reject(new Error('no cache')),
  takeLease: () => Promise.reject(new Error('no cache')),
  compareAndSet: () => Promise.reject(new Error('no cache')),
  overwrite: () => Promise.reject(new Error('no cache')),
  identify: () => Promise.reject(new Error('no cache')),
  close: async () => {}
}
