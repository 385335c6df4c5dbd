import { LRUCache } from 'lru-cache'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { nextEventLoopTurn } from '../shared/event-loop.js'
import { withTimeout } from '../shared/timeout.js'
import { SessionDataHash, type TokenHash } from '../tokens/token.js'
import type { HintCounters } from './counters.js'
import { createHints, type Hint } from './hint.js'
import { WriteError, type WriteHints } from './upstash.js'

const maxLive = 1_000
const maxEnded = 10_000
const perRequest = 200
const pauseMs = 1_000
const stopMs = 1_000

/** What edges may go by instead of asking, each time for EDGE_TTL at most. Nothing here waits or throws: a hint may be missing. */
export interface EdgeHints {
  /** This token was looked up at `askedAt` (milliseconds since 1970) and found live, until `endsAt` at the latest. */
  live (hash: TokenHash, answer: object, at: { askedAt: number, endsAt: number }): void
  /** These tokens are dead: no hint of theirs says otherwise any more. */
  ended (hashes: TokenHash[]): void
  /** What hints say of these tokens is no longer so. */
  changed (hashes: TokenHash[]): void
  /** So many have ended or changed that they aren't named: edges ask about every token until older hints are over. */
  pause (): void
  /** Writes what waits, for a second at most, and then nothing any more. */
  stop (): Promise<void>
}

interface WriterNeeds {
  write: WriteHints
  keyPrefix: string
  ttlSeconds: number
  clock: Clock
  counters: HintCounters
  log: Pick<Log, 'info' | 'warn'>
}

/** Sends what a turn of the event loop brings in one request, and one request at a time. */
export function createHintWriter ({ write, keyPrefix, ttlSeconds, clock, counters, log }: WriterNeeds): EdgeHints {
  const ttlMs = Math.round(ttlSeconds * 1000)
  const hints = createHints({ keyPrefix, ttlMs })
  const live = new Map<string, Hint>()
  const ended = new Map<string, Hint>()
  /** Keys of hints that are there: another one would change nothing. */
  const known = new LRUCache<string, true>({ max: 20_000, ttl: ttlMs })
  let working: Promise<void> | null = null
  let failing = false
  let pausedUntil = Number.NEGATIVE_INFINITY
  let stopped = false
  let wake = () => {}

  function begin (): void {
    if (!stopped) working ??= work().finally(() => { working = null })
  }

  async function work (): Promise<void> {
    await nextEventLoopTurn()
    while (live.size + ended.size > 0) {
      if (await send([...take(ended), ...take(live)])) continue
      if (stopped) return
      await new Promise<void>(resolve => {
        wake = resolve
        void clock.sleep(pauseMs).then(resolve)
      })
    }
  }

  /** Whether all of it was written, or needn't be. */
  async function send (taken: Hint[]): Promise<boolean> {
    const now = clock.now()
    const batch = taken.filter(hint => hint.until > now || drop(hint))
    if (batch.length === 0) return true
    try {
      const results = await write(batch, now)
      let refusal: string | null = null
      for (const [i, result] of results.entries()) {
        if (result === null) counters.written++
        else if (result === 'kept') counters.kept++
        else {
          refusal = result.refusal
          failed(batch[i] as Hint)
        }
      }
      return noteOutcome(refusal)
    } catch (error) {
      for (const hint of batch) failed(hint)
      return noteOutcome(error instanceof WriteError ? error.code : 'unknown')
    }
  }

  /** Only what says that a token has ended is sent again: older hints are over by then. A newer one for the key takes its place. */
  function failed (hint: Hint): void {
    counters.failed++
    known.delete(hint.key)
    if (hint.live || ended.has(hint.key)) return
    if (stopped) drop(hint)
    else ended.set(hint.key, hint)
  }

  function noteOutcome (cause: string | null): boolean {
    if (cause !== null && !failing) {
      log.warn({ cause }, 'hints for edges cannot be written: edges ask this server, or go by older hints for EDGE_TTL')
    } else if (cause === null && failing) {
      log.info({}, 'hints for edges are written again')
    }
    failing = cause !== null
    if (failing) pausedUntil = clock.monotonic() + pauseMs
    return !failing
  }

  function drop ({ live }: Hint): false {
    counters[live ? 'dropped' : 'lost']++
    return false
  }

  function put (hint: Hint): void {
    if (ended.size >= maxEnded && !ended.has(hint.key)) {
      drop(hint)
      return
    }
    live.delete(hint.key)
    if (ended.get(hint.key)?.value !== 'ended') ended.set(hint.key, hint)
    known.set(hint.key, true)
    begin()
  }

  return {
    live (hash, answer, { askedAt, endsAt }) {
      const key = hints.keyOf(hash)
      if (known.has(key) || live.has(key) || ended.has(key)) return
      if (stopped || live.size >= maxLive || clock.monotonic() < pausedUntil) {
        counters.dropped++
        return
      }
      known.set(key, true)
      live.set(key, hints.live(hash, answer, Math.min(askedAt + ttlMs, endsAt)))
      begin()
    },
    ended (hashes) { for (const hash of hashes.filter(isTokens)) put(hints.ended(hash, clock.now())) },
    changed (hashes) { for (const hash of hashes.filter(isTokens)) put(hints.changed(hash, clock.now())) },
    pause () { put(hints.pause(clock.now())) },
    async stop () {
      stopped = true
      wake()
      if (working !== null) await withTimeout(working, stopMs, () => {}).catch(() => {})
      for (const hint of [...ended.values(), ...live.values()]) drop(hint)
      ended.clear()
      live.clear()
    }
  }
}

const isTokens = (hash: TokenHash) => !(hash instanceof SessionDataHash)

function take (hints: Map<string, Hint>): Hint[] {
  const taken = [...hints.values()].slice(0, perRequest)
  for (const { key } of taken) hints.delete(key)
  return taken
}
