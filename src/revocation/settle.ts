import type { Clock } from '../shared/clock.js'
import { UnavailableError } from '../shared/errors.js'
import type { CacheBackend } from '../token-cache/backend.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { TokenHash } from '../tokens/token.js'
import type { RevocationCounters } from './counters.js'
import type { CacheEpoch } from './epoch.js'
import { createHelp } from './help.js'
import type { Epoch, EpochStore } from './store.js'
import { marginMs, overdueMs } from './timing.js'

/** How long we try our own Redis before we ask the other instances. */
const ownMs = 500
const retryMs = 50

/** A committed revocation (or change) whose cache entries are not yet known to be dead. */
export interface CommittedChange { id: string, hashes: TokenHash[], mark: 'revoked' | 'forgotten' }

/** Makes committed revocations true in every cache. */
export interface Settle {
  /** Resolves once no instance accepts these tokens any more; rejects with UnavailableError if that can't be known. */
  settle (change: CommittedChange): Promise<void>
  /**
   * Makes every entry of every cache void; resolves once no instance believes one, and rejects with UnavailableError if that can't be
   * known.
   */
  voidAll (): Promise<void>
  /** Settles what other instances left overdue or want help with. Never rejects. */
  assist (): Promise<void>
}

/** What is read elsewhere, and ends by itself. Told of each change after its COMMIT; nobody waits for it, and it never throws. */
export interface Copies {
  ended (hashes: TokenHash[]): void
  changed (hashes: TokenHash[]): void
  /** More have changed than are named. */
  pause (): void
}

interface SettleNeeds {
  store: Pick<EpochStore, 'finish' | 'askForHelp' | 'waiting' | 'bump' | 'assist'>
  cache: Pick<TokenCache, 'overwrite'>
  backend: Pick<CacheBackend, 'connection'>
  epoch: Pick<CacheEpoch, 'msUntilPolledByAll' | 'suspect'>
  clock: Clock
  counters: RevocationCounters
  copies?: Copies | null
}

export function createSettle ({ store, cache, backend, epoch, clock, counters, copies = null }: SettleNeeds): Settle {
  const help = createHelp({ store, clock, counters })
  let assisting = false

  async function settle (change: CommittedChange): Promise<void> {
    const startedAt = clock.monotonic()
    if (change.mark === 'revoked') copies?.ended(change.hashes)
    else copies?.changed(change.hashes)
    try {
      await waitUntilPolledByAll(await throughOwnServer(change) ?? await help.settledByOthers(change.id))
    } catch (error) {
      // The row stays, and whoever polls next settles it; but this client is promised nothing.
      throw unavailable(error)
    }
    count(clock.monotonic() - startedAt)
  }

  /** The generation may be so young that another instance still believes the one before it, and with it another server. */
  async function waitUntilPolledByAll (current: Epoch): Promise<void> {
    // Where no server was ever registered, nobody has an entry to believe.
    if (current.incarnation === null && current.retired === 0) return
    const ms = epoch.msUntilPolledByAll(current)
    if (ms > 0) await clock.sleep(ms + marginMs)
  }

  async function voidAll (): Promise<void> {
    copies?.pause()
    try {
      const current = await store.bump()
      counters.bumps++
      await waitUntilPolledByAll(current)
    } catch (error) {
      throw unavailable(error)
    }
  }

  /** Steps 1 and 2: overwrites the entries, then checks that the server they are in is the registered one. Null: it isn't. */
  async function throughOwnServer (change: CommittedChange): Promise<Epoch | null> {
    const written = await overwrite(change)
    // Sent after every reply of the overwriting: an epoch read earlier could belong to a server that was replaced meanwhile.
    const current = await store.finish([change.id], written)
    // Without a registered server nothing is cached any more, once all instances know that.
    return current.incarnation === null || current.incarnation === written ? current : null
  }

  /** The incarnation of the server in which every entry was overwritten, or null: then nothing is known. */
  async function overwrite ({ hashes, mark }: Pick<CommittedChange, 'hashes' | 'mark'>): Promise<string | null> {
    const until = clock.monotonic() + ownMs
    while (backend.connection !== null) {
      try {
        const { connection, incarnation } = await cache.overwrite(hashes, mark)
        return connection === backend.connection ? incarnation : null
      } catch (error) {
        epoch.suspect(error)
      }
      if (clock.monotonic() + retryMs >= until) break
      await clock.sleep(retryMs)
    }
    return null
  }

  async function assist (): Promise<void> {
    if (assisting || backend.connection === null) return
    assisting = true
    try {
      // By deletion: that is right for revocations and for other changes.
      for (let more = true; more;) {
        const helped = await store.assist(overdueMs, async hashes => {
          copies?.changed(hashes)
          return await overwrite({ hashes, mark: 'forgotten' })
        })
        counters.assists += helped.taken
        more = helped.more && helped.taken > 0
      }
    } catch {
      // Another poll, or another instance, will find them again.
    } finally {
      assisting = false
    }
  }

  function count (tookMs: number): void {
    counters.settlements++
    counters.settleMsTotal += tookMs
    counters.settling.record(tookMs)
    counters.settleMsMax = Math.max(counters.settleMsMax, tookMs)
  }

  return { settle, voidAll, assist }
}

const unavailable = (error: unknown) => error instanceof UnavailableError ? error : Object.assign(new UnavailableError(), { cause: error })
