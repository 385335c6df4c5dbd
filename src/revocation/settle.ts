import type { Clock } from '../shared/clock.js'
import { UnavailableError } from '../shared/errors.js'
import type { CacheLink } from '../token-cache/backend.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { Counters } from '../token-cache/counters.js'
import type { TokenHash } from '../tokens/token.js'
import { type CacheEpoch, overdueMs, trustMs } from './epoch.js'
import type { Epoch, EpochStore } from './store.js'

/** How long our own Redis is tried, before the others are asked. */
const ownMs = 500
/** How long the others have: a poll, and what it does. */
const helpMs = 1_000
const helpCheckMs = 100
/** A database that hasn't answered for so long: the client is told 503, and the row left to whoever polls next. */
const giveUpMs = 5_000
/** Timers may fire a millisecond early, and the clocks of two processes don't tick alike. */
const marginMs = 100

/** A committed revocation whose cache entries are not yet known to be dead. */
export interface Committed { id: string, hashes: TokenHash[], mark: 'revoked' | 'forgotten' }

interface Parts {
  store: Pick<EpochStore, 'finish' | 'askForHelp' | 'waiting' | 'bump' | 'assist'>
  cache: Pick<TokenCache, 'overwrite'>
  link: Pick<CacheLink, 'connection'>
  epoch: Pick<CacheEpoch, 'untilHeard' | 'suspect'>
  clock: Clock
  counters: Counters
}

/** Makes a committed revocation true in every cache, and returns when it is. */
export type Settle = ReturnType<typeof createSettle>

export function createSettle ({ store, cache, link, epoch, clock, counters }: Parts) {
  const waiters = new Map<string, { since: number, settled (by: Epoch): void, failed (error: unknown): void }>()
  let watching = false
  let lastBumpAt = Number.NEGATIVE_INFINITY
  let assisting = false

  /** Resolves once no instance accepts these tokens any more; rejects with UnavailableError if that can't be known. */
  async function settle (committed: Committed): Promise<void> {
    const startedAt = clock.monotonic()
    try {
      await heard(await throughOwnServer(committed) ?? await throughOthers(committed))
    } catch (error) {
      // The row stays: whoever polls next settles it. But nothing is promised to this client.
      throw unavailable(error)
    }
    const tookMs = clock.monotonic() - startedAt
    counters.settlements++
    counters.settleMsTotal += tookMs
    counters.settling.record(tookMs)
    counters.settleMsMax = Math.max(counters.settleMsMax, tookMs)
  }

  /** This generation may be so young that a peer still believes the one before it, and another server with it. */
  async function heard (judged: Epoch): Promise<void> {
    const heardMs = epoch.untilHeard(judged)
    if (heardMs > 0 && judged.incarnation !== null) await clock.sleep(heardMs + marginMs)
  }

  /** Makes every entry of every cache void; resolves once no instance believes one, and rejects with UnavailableError if that can't be known. */
  async function voidAll (): Promise<void> {
    try {
      const judged = await store.bump([])
      counters.bumps++
      await heard(judged)
    } catch (error) {
      throw unavailable(error)
    }
  }

  /** Steps 1 and 2: overwrite the entries, then see that the server they were overwritten in is the one that counts. Null: it isn't. */
  async function throughOwnServer (committed: Committed): Promise<Epoch | null> {
    const written = await overwrite(committed)
    // Sent after every reply of the overwriting: an epoch read earlier could be that of a server replaced meanwhile.
    const current = await store.finish([committed.id], written)
    // Without any registered server nothing is cached anywhere.
    return current.incarnation === null || current.incarnation === written ? current : null
  }

  /** The incarnation in which every entry was overwritten, or null: then nothing is known. */
  async function overwrite ({ hashes, mark }: Pick<Committed, 'hashes' | 'mark'>): Promise<string | null> {
    const until = clock.monotonic() + ownMs
    while (link.connection !== null) {
      try {
        const { connection, incarnation } = await cache.overwrite(hashes, mark)
        return connection === link.connection ? incarnation : null
      } catch (error) {
        epoch.suspect(error)
      }
      if (clock.monotonic() + 50 >= until) break
      await clock.sleep(50)
    }
    return null
  }

  /** Steps 3 and 4: peers see the wish in their poll; where none of them could, all entries are made void. */
  async function throughOthers ({ id }: Committed): Promise<Epoch> {
    await store.askForHelp([id])
    return await new Promise<Epoch>((resolve, reject) => {
      waiters.set(id, { since: clock.monotonic(), settled: resolve, failed: reject })
      if (!watching) void watch()
    })
  }

  /** One loop for all who wait, however many: a statement each 100 ms, and at most one bump each H. */
  async function watch (): Promise<void> {
    watching = true
    while (waiters.size > 0) {
      await clock.sleep(helpCheckMs)
      const now = clock.monotonic()
      // All of them have been told of their COMMIT, so a bump sent from here on covers every one.
      const ids = [...waiters.keys()]
      try {
        const impatient = [...waiters.values()].some(({ since }) => since + helpMs <= now)
        if (impatient && lastBumpAt + trustMs <= now) {
          lastBumpAt = now
          release(ids, await store.bump(ids))
          counters.bumps++
        } else {
          const { epoch: current, waiting } = await store.waiting(ids)
          const settled = ids.filter(id => !waiting.has(id))
          counters.settledByPeers += settled.length
          release(settled, current)
        }
      } catch (error) {
        for (const [id, { since, failed }] of waiters) {
          if (since + giveUpMs > now) continue
          waiters.delete(id)
          failed(error)
        }
      }
    }
    watching = false
  }

  function release (ids: string[], by: Epoch): void {
    for (const id of ids) {
      waiters.get(id)?.settled(by)
      waiters.delete(id)
    }
  }

  return {
    settle,
    voidAll,

    /** What a poll calls that saw settlements of others, overdue or wanting help. Always by deletion: it is right for every change. */
    async assist (): Promise<void> {
      if (assisting || link.connection === null) return
      assisting = true
      try {
        counters.assists += await store.assist(overdueMs, async hashes => await overwrite({ hashes, mark: 'forgotten' }))
      } catch {
        // Another poll, or another instance, will see them again.
      } finally {
        assisting = false
      }
    }
  }
}

const unavailable = (error: unknown) => error instanceof UnavailableError ? error : Object.assign(new UnavailableError(), { cause: error })
