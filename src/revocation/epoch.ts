import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import { type CacheBackend, type Identity, noBackend } from '../token-cache/backend.js'
import type { Namespace } from '../token-cache/namespace.js'
import type { CacheTrust, Trust } from '../token-cache/trust.js'
import type { RevocationCounters } from './counters.js'
import { createGenerationAge } from './generation.js'
import { createPollLoop } from './poll-loop.js'
import type { Epoch, EpochReading, EpochStore } from './store.js'
import { overdueMs, trustMs } from './timing.js'

export type { Trust }

const pollEveryMs = 500
const pollTimeoutMs = 1_000
const confirmEveryMs = 5_000
const forgetAfterMs = 180_000

/** Why the cache is trusted, or isn't. */
export type TrustState = 'trusted'
  | 'starting'
  | 'no-cache'
  | 'database-unreachable'
  | 'database-standby'
  | 'redis-unreachable'
  | 'redis-not-master'
  | 'not-registered'
  | 'settlement-overdue'
  | 'redis-suspect'

/** The poll of the epoch, and whether the cache may be believed at this instant. */
export interface CacheEpoch extends CacheTrust {
  /** Milliseconds until every other instance has polled `epoch`, or no longer trusts its last poll. */
  msUntilPolledByAll (epoch: Epoch): number
  /** For /health/ready: trusted, or why not. */
  state (): TrustState
  /** Polls once, now: the first poll of a process, and of a test. */
  poll (): Promise<void>
  start (): void
  stop (): Promise<void>
}

interface TrustedPoll extends Trust { sentAt: number, sentAtWall: number }

interface EpochNeeds {
  store: Pick<EpochStore, 'poll'>
  /** Null: this instance only reads. It believes what others have registered, or nothing. */
  registry: Pick<EpochStore, 'register' | 'confirm' | 'forget'> | null
  backend: CacheBackend
  namespace: Pick<Namespace, 'adopt'>
  clock: Clock
  counters: Pick<RevocationCounters, 'failures' | 'registrations' | 'trustLosses'>
  log: { info (fields: object, text: string): void, warn (fields: object, text: string): void }
  /** Called after a poll that found settlements overdue, or waiting for help. */
  onSettlementsWaiting (): void
}

export function createEpoch ({ store, registry, backend, namespace, clock, counters, log, onSettlementsWaiting }: EpochNeeds): CacheEpoch {
  const generations = createGenerationAge(clock)
  let held: TrustedPoll | null = null
  let suspectedAt = Number.NEGATIVE_INFINITY
  let state: TrustState = 'starting'
  let lastConfirm = Number.NEGATIVE_INFINITY

  function trust (): Trust | null {
    if (held === null || held.sentAt <= suspectedAt || held.connection !== backend.connection) return null
    // Counted from the SENDING: the generation may have been bumped while the reply was under way. By both clocks: the monotonic one
    // stands still while a virtual machine is suspended, the other one can be set back.
    if (clock.monotonic() - held.sentAt >= trustMs || Math.abs(clock.now() - held.sentAtWall) >= trustMs) return null
    return held
  }

  function still (before: Trust): boolean {
    const now = trust()
    return now !== null && now.generation === before.generation && now.connection === before.connection
  }

  function suspect (cause?: unknown): void {
    counters.failures++
    if (trust() !== null) log.warn(
      { cause: describe(cause) },
      'a command to the cache failed: answering from the database until the next poll'
    )
    suspectedAt = clock.monotonic()
  }

  const loop = createPollLoop(clock, pollEveryMs, async () => {
    await poll().catch(error => { if (trust() === null) setState('database-unreachable', error) })
  })

  /** One at a time, so that no reply is older than the one held. */
  let lastPoll: Promise<void> = Promise.resolve()
  function poll (): Promise<void> {
    lastPoll = lastPoll.then(pollOnce, pollOnce)
    return lastPoll
  }

  async function pollOnce (): Promise<void> {
    const sentAt = clock.monotonic()
    const sentAtWall = clock.now()
    const [asked, answered] = await Promise.allSettled([store.poll(pollTimeoutMs), backend.identify()])
    if (asked.status === 'rejected') {
      // The last poll is good for the rest of its time: clients shouldn't notice when the database is away for a moment.
      if (trust() === null) setState('database-unreachable', asked.reason)
      return
    }
    const reading = asked.value
    // A standby may not have the bump yet that this poll is there to notice.
    if (reading.standby) return setState('database-standby')
    generations.observe(reading.generation)
    // Which server answered was asked under the old name.
    if (!namespace.adopt(reading.database)) return setState('not-registered')

    if (backend === noBackend) setState('no-cache')
    else if (answered.status === 'rejected') setState('redis-unreachable', answered.reason)
    else await evaluate(reading, answered.value, sentAt, sentAtWall)
    if (held === null) await forgetAbsent(reading)

    if (reading.helpWanted || (reading.oldestSettlementMs ?? 0) >= overdueMs) onSettlementsWaiting()
  }

  async function evaluate (
    reading: EpochReading,
    { connection, incarnation }: Identity,
    sentAt: number,
    sentAtWall: number
  ): Promise<void> {
    if (incarnation === null) return setState('redis-not-master')
    if (connection !== backend.connection) return setState('redis-unreachable')
    if (incarnation !== reading.incarnation) {
      await register(incarnation, reading.generation)
      return setState('not-registered')
    }
    if ((reading.oldestSettlementMs ?? 0) >= overdueMs) return setState('settlement-overdue')
    // Generation, connection and time of sending are replaced together: a mixture would give an old generation a new time.
    held = { generation: reading.generation, connection, sentAt, sentAtWall }
    setState(held.sentAt <= suspectedAt ? 'redis-suspect' : 'trusted')
    const age = reading.confirmedAgeMs
    // A date in the future, of a clock that went back, has to be put right too.
    if ((age === null || age < 0 || age >= confirmEveryMs) && sentAt - lastConfirm >= confirmEveryMs / 2) {
      lastConfirm = sentAt
      await registry?.confirm(incarnation, pollTimeoutMs)
    }
  }

  /** A server that nobody has confirmed for minutes is gone: revocations should no longer wait for it. */
  async function forgetAbsent ({ incarnation, confirmedAgeMs, generation }: EpochReading): Promise<void> {
    if (incarnation === null || (confirmedAgeMs ?? 0) < forgetAfterMs || await registry?.forget(generation, pollTimeoutMs) !== true) return
    log.info(
      { incarnation: incarnation.slice(0, 8) },
      'nobody has used the registered cache server for minutes: it is not waited for any more'
    )
  }

  /** This is another server than before, which may lack the last revocations: no entry older than its registration will count. */
  async function register (incarnation: string, generation: number): Promise<void> {
    if (await registry?.register(incarnation, generation, pollTimeoutMs) !== true) return
    counters.registrations++
    log.info({ incarnation: incarnation.slice(0, 8) }, 'registered another cache server: entries made before are void')
    loop.again()
  }

  /** Logs one line when trust is lost, and one when it is back. */
  function setState (next: TrustState, cause?: unknown): void {
    if (next !== 'trusted' && next !== 'redis-suspect') held = null
    if (next === state) return
    if (state === 'trusted') {
      counters.trustLosses++
      log.warn(
        { reason: next, ...cause === undefined ? {} : { cause: describe(cause) } },
        'the cache is not trusted: answering from the database'
      )
    } else if (next === 'trusted') {
      log.info({ was: state }, 'the cache is trusted')
    }
    state = next
  }

  return {
    trust,
    still,
    suspect,
    msUntilPolledByAll: ({ generation }) => generations.msUntilOlderAreVoid(generation),
    state: () => trust() !== null ? 'trusted' : state === 'trusted' ? 'redis-suspect' : state,
    poll,
    start: loop.start,
    stop: loop.stop
  }
}
