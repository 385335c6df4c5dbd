import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import type { HintCounters } from './counters.js'
import { createUpstash } from './upstash.js'
import { createHintWriter, type EdgeHints } from './writer.js'

interface Needs {
  config: { upstash: { url: string, token: string } | null, edgeTtlSeconds: number, redisKeyPrefix: string }
  clock: Clock
  counters: { hints: HintCounters }
  log: Pick<Log, 'info' | 'warn'>
}

/** What edges read in Upstash instead of asking here; null without UPSTASH_REDIS_REST_URL. */
export function createEdgeHints ({ config, clock, counters, log }: Needs): EdgeHints | null {
  const { upstash, edgeTtlSeconds: ttlSeconds, redisKeyPrefix: keyPrefix } = config
  return upstash === null ? null : createHintWriter({
    write: createUpstash(upstash), keyPrefix, ttlSeconds, clock, counters: counters.hints, log
  })
}
