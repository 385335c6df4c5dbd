/** What a look-up captures before it reads anything: the generation that counts, on the connection that was confirmed. */
export interface Trust { generation: number, connection: number }

/** Whether the cache may be believed at this instant; `revocation/epoch.ts` knows. */
export interface CacheTrust {
  /** Null: answer from the database and fill nothing. */
  trust (): Trust | null
  /** Whether what was read under `before` may still be believed. */
  still (before: Trust): boolean
  /** Reports a failed command: the cache isn't used again until a later poll finds it working. */
  suspect (cause?: unknown): void
}
