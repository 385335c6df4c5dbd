import type { Database } from '../database/database.js'
import type { Keys } from '../keys/store.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { traced } from '../shared/traced.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { LookUpCounters } from './counters.js'
import { createLastUse, type LastUse } from './last-use.js'
import { createLastUseStore } from './last-use-store.js'
import { createTokenService, type TokenService } from './service.js'
import { createTokenStore, type TokenStore } from './store.js'
import { TokenMint } from './token.js'

interface TokensNeeds {
  database: Database
  keys: Keys
  cache: TokenCache
  clock: Clock
  counters: LookUpCounters
  log: Log
  config: { cacheTtlSeconds: number, lastUseIntervalSeconds: number, refreshGraceSeconds: number }
  idleSeconds: number | null
  spans: { tokenStore (real: TokenStore): TokenStore } | null
}

/** Tokens of all kinds, and when they were last used. */
export async function createTokens ({
  database,
  keys,
  cache,
  clock,
  counters,
  log,
  config,
  idleSeconds,
  spans
}: TokensNeeds): Promise<{ tokens: TokenService, lastUse: LastUse }> {
  const { cacheTtlSeconds, lastUseIntervalSeconds: intervalSeconds, refreshGraceSeconds: graceSeconds } = config
  const store = traced(createTokenStore(database, { idleSeconds }), spans?.tokenStore)
  const mint = new TokenMint(await keys.require('token-check'))
  const lastUse = createLastUse({ store: createLastUseStore(database), clock, intervalSeconds, graceSeconds, log })
  return { tokens: createTokenService({ lastUse, mint, cache, store, clock, counters, cacheTtlSeconds }), lastUse }
}
