import type { Database } from '../database/database.js'
import type { Keys } from '../keys/store.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { traced } from '../shared/traced.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { LookUpCounters } from './counters.js'
import { createLastUse, type LastUse } from './last-use.js'
import { createLastUseStore } from './last-use-store.js'
import { createTokenLookUp } from './lookup-store.js'
import { createTokenReader, type TokenReader } from './reader.js'
import { createTokenService, type TokenService } from './service.js'
import { createTokenStore, type TokenStore } from './store.js'
import { TokenMint } from './token.js'

interface ReadingNeeds {
  database: Database
  keys: Keys
  cache: TokenCache
  clock: Clock
  counters: LookUpCounters
  log: Pick<Log, 'warn'>
  config: { lastUseIntervalSeconds: number, sessionIdleTtlSeconds: number | null }
}

interface TokensNeeds extends ReadingNeeds {
  config: ReadingNeeds['config'] & { cacheTtlSeconds: number, refreshGraceSeconds: number }
  spans: { tokenStore (real: TokenStore): TokenStore } | null
}

/** Last uses are written late: the idle time must not end a session that is being used elsewhere. */
export function idleSecondsOf ({ sessionIdleTtlSeconds, lastUseIntervalSeconds }: ReadingNeeds['config']): number | null {
  return sessionIdleTtlSeconds === null ? null : sessionIdleTtlSeconds + 4 * lastUseIntervalSeconds
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
  spans
}: TokensNeeds): Promise<{ tokens: TokenService, lastUse: LastUse }> {
  const { cacheTtlSeconds, lastUseIntervalSeconds: intervalSeconds, refreshGraceSeconds: graceSeconds } = config
  const idleSeconds = idleSecondsOf(config)
  const store = traced(createTokenStore(database, { idleSeconds }), spans?.tokenStore)
  const mint = new TokenMint(await keys.require('token-check'))
  const lastUse = createLastUse({ store: createLastUseStore(database), clock, intervalSeconds, graceSeconds, log })
  return { tokens: createTokenService({ lastUse, mint, cache, store, clock, counters, cacheTtlSeconds, idleSeconds }), lastUse }
}

/** The same for a process that only reads tokens: of all that it may write, it writes last uses. */
export async function createTokenReading ({
  database,
  keys,
  cache,
  clock,
  counters,
  log,
  config
}: ReadingNeeds): Promise<{ reader: TokenReader, lastUse: LastUse }> {
  const idleSeconds = idleSecondsOf(config)
  const mint = new TokenMint(await keys.require('token-check'))
  const store = { ...createLastUseStore(database), async eraseSecrets () {} }
  const lastUse = createLastUse({ store, clock, intervalSeconds: config.lastUseIntervalSeconds, graceSeconds: 0, log })
  const lookUp = createTokenLookUp(database, idleSeconds)
  return { reader: createTokenReader({ lastUse, mint, cache, store: lookUp, clock, counters, idleSeconds }), lastUse }
}
