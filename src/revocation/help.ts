import type { Clock } from '../shared/clock.js'
import type { RevocationCounters } from './counters.js'
import type { Epoch, EpochStore } from './store.js'
import { trustMs } from './timing.js'

/** How long the other instances have: a poll, and what they do after it. */
const helpMs = 1_000
const helpCheckMs = 100
/** A database that hasn't answered for this long: the client gets a 503, and the row is left to whoever polls next. */
const giveUpMs = 5_000

interface HelpNeeds {
  store: Pick<EpochStore, 'askForHelp' | 'waiting' | 'bump'>
  clock: Clock
  counters: Pick<RevocationCounters, 'bumps' | 'settledByPeers'>
}

/** Steps 3 and 4: other instances see the request in their poll and settle it; if none does, a bump makes every entry void. */
export interface Help {
  /** Resolves with the epoch under which the settlement is gone; rejects if the database doesn't answer. */
  settledByOthers (id: string): Promise<Epoch>
}

export function createHelp ({ store, clock, counters }: HelpNeeds): Help {
  const waiters = new Map<string, { since: number, resolve (epoch: Epoch): void, reject (error: unknown): void }>()
  let watching = false
  let lastBumpAt = Number.NEGATIVE_INFINITY

  /** One loop for everybody who waits: one statement each 100 ms, and at most one bump each H. */
  async function watch (): Promise<void> {
    watching = true
    while (waiters.size > 0) {
      await clock.sleep(helpCheckMs)
      const now = clock.monotonic()
      // The COMMIT of each of them was acknowledged, so a bump sent from here on covers them all.
      const ids = [...waiters.keys()]
      try {
        await check(ids, now)
      } catch (error) {
        giveUp(error, now)
      }
    }
    watching = false
  }

  async function check (ids: string[], now: number): Promise<void> {
    const overdue = [...waiters.values()].some(({ since }) => since + helpMs <= now)
    if (overdue && lastBumpAt + trustMs <= now) {
      lastBumpAt = now
      release(ids, await store.bump())
      counters.bumps++
      return
    }
    const { epoch, waiting } = await store.waiting(ids)
    const settled = ids.filter(id => !waiting.has(id))
    counters.settledByPeers += settled.length
    release(settled, epoch)
  }

  function giveUp (error: unknown, now: number): void {
    for (const [id, { since, reject }] of waiters) {
      if (since + giveUpMs > now) continue
      waiters.delete(id)
      reject(error)
    }
  }

  function release (ids: string[], epoch: Epoch): void {
    for (const id of ids) {
      waiters.get(id)?.resolve(epoch)
      waiters.delete(id)
    }
  }

  return {
    async settledByOthers (id) {
      await store.askForHelp([id])
      return await new Promise<Epoch>((resolve, reject) => {
        waiters.set(id, { since: clock.monotonic(), resolve, reject })
        if (!watching) void watch()
      })
    }
  }
}
