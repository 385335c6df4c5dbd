import type { Clock } from '../clock.js'
import { UnavailableError } from '../errors.js'
import type { TokenCache } from './cache.js'
import type { Counters } from './counters.js'
import { type CacheEpoch, overdueMs, trustMs } from './epoch.js'
import type { EpochStore } from './epoch-store.js'
import type { CacheLink } from './link.js'
import type { TokenHash } from './token.js'

/** How long our own Redis is tried, before the others are asked. */
const ownMs = 500
/** How long the others have: a poll, and what it does. */
const helpMs = 1_000
const helpCheckMs = 100
/** Timers may fire a millisecond early, and clocks of two processes don't tick alike. */
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
  const waitForPeers = createWaiting()
  const sharedBump = createSharedBump()
  let assisting = false

  /** Resolves once no instance accepts these tokens any more; rejects with UnavailableError if that can't be known. */
  async function settle (committed: Committed): Promise<void> {
    const startedAt = clock.monotonic()
    try {
      if (!await throughOwnServer(committed)) {
        await store.askForHelp([committed.id])
        if (!await waitForPeers(committed.id)) await sharedBump(committed.id)
      }
    } catch (error) {
      // The row stays: whoever polls next settles it. But nothing is promised to this client.
      throw error instanceof Error && 'statusCode' in error ? error : Object.assign(new UnavailableError(), { cause: error })
    }
    const tookMs = clock.monotonic() - startedAt
    counters.settlements++
    counters.settleMsTotal += tookMs
    counters.settleMsMax = Math.max(counters.settleMsMax, tookMs)
  }

  /** Steps 1 and 2: overwrite the entries, then see that the server they were overwritten in is the one that counts. */
  async function throughOwnServer (committed: Committed): Promise<boolean> {
    const written = await overwrite(committed)
    // Sent after every reply of the overwriting: an epoch read earlier could be that of a server replaced meanwhile.
    const current = await store.finish([committed.id], written)
    if (current.incarnation === null) return true
    if (current.incarnation !== written) return false
    // This generation may be so young that a peer still believes the one before it, and another server with it.
    await clock.sleep(roundUp(epoch.untilHeard(current)))
    return true
  }

  /** The incarnation in which every entry was overwritten, or null: then nothing is known. */
  async function overwrite ({ hashes, mark }: Pick<Committed, 'hashes' | 'mark'>): Promise<string | null> {
    const until = clock.monotonic() + ownMs
    while (link.connection !== null) {
      try {
        const { connection, incarnation } = await cache.overwrite(hashes, mark)
        return connection === link.connection ? incarnation : null
      } catch {
        epoch.suspect()
      }
      if (clock.monotonic() + 50 >= until) break
      await clock.sleep(50)
    }
    return null
  }

  /** Step 3: peers see the wish in their poll. One statement asks for everybody who waits here. */
  function createWaiting () {
    const waiters = new Map<string, (heardMs: number) => void>()
    let watching = false

    async function watch () {
      watching = true
      while (waiters.size > 0) {
        await clock.sleep(helpCheckMs)
        const answer = await store.waiting([...waiters.keys()]).catch(() => null)
        if (answer === null) continue
        const heardMs = roundUp(epoch.untilHeard(answer.epoch))
        for (const [id, settled] of waiters) if (answer.asked.has(id) && !answer.waiting.has(id)) settled(heardMs)
      }
      watching = false
    }

    return async (id: string): Promise<boolean> => {
      const settled = new Promise<number>(resolve => waiters.set(id, resolve))
      if (!watching) void watch()
      const heardMs = await Promise.race([settled, clock.sleep(helpMs).then(() => null)])
      waiters.delete(id)
      if (heardMs === null) return false
      counters.settledByPeers++
      await clock.sleep(heardMs)
      return true
    }
  }

  /**
   * Step 4: void every entry everywhere, and wait until nobody believes an older poll. Shared by all who wait for it, at most one
   * every H; who joins has been told of his COMMIT before, and joins only what wasn't sent.
   */
  function createSharedBump () {
    let next: { ids: string[], done: Promise<void> } | null = null
    let lastSentAt = Number.NEGATIVE_INFINITY

    async function send (ids: string[]) {
      await clock.sleep(Math.max(0, lastSentAt + trustMs - clock.monotonic()))
      next = null
      lastSentAt = clock.monotonic()
      await store.bump(ids)
      counters.bumps++
      await clock.sleep(trustMs + marginMs)
    }

    return async (id: string): Promise<void> => {
      if (next === null) {
        const ids: string[] = []
        next = { ids, done: send(ids) }
      }
      next.ids.push(id)
      await next.done
    }
  }

  return {
    settle,

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

/** Timers may fire a millisecond early. */
function roundUp (ms: number): number {
  return ms > 0 ? ms + marginMs : 0
}
