import { createHintCounters, type HintCounters } from './edge-hints/counters.js'
import { createMailCounters, type MailCounters } from './mail/counters.js'
import { createPruneCounters, type PruneCounters } from './retention/counters.js'
import { createRevocationCounters, type RevocationCounters } from './revocation/counters.js'
import { createRefreshCounters, type RefreshCounters } from './sessions/counters.js'
import { type CacheCounters, createCacheCounters } from './token-cache/counters.js'
import { createLookUpCounters, type LookUpCounters } from './tokens/counters.js'

/** Everything this process has counted since it started: plain numbers, read by metrics, figures and tests. */
export interface Counters extends LookUpCounters, CacheCounters, RevocationCounters {
  refreshes: RefreshCounters
  prune: PruneCounters
  mails: MailCounters
  hints: HintCounters
}

export function createCounters (): Counters {
  return {
    ...createLookUpCounters(),
    ...createCacheCounters(),
    ...createRevocationCounters(),
    refreshes: createRefreshCounters(),
    prune: createPruneCounters(),
    mails: createMailCounters(),
    hints: createHintCounters()
  }
}
