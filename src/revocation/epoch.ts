import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import { type CacheLink, type Identity, noLink } from '../token-cache/backend.js'
import type { Counters } from '../token-cache/counters.js'
import type { Epoch, EpochReading, EpochStore } from './store.js'

/** H: how long one poll may be trusted. A revocation that changed the epoch waits as long before it is answered. */
export const trustMs = 1_500
const pollEveryMs = 500
const pollTimeoutMs = 1_000
const confirmEveryMs = 5_000
/** A settlement this old is somebody's who died: its entries may live, so nothing cached is believed until it is settled. */
export const overdueMs = 3_000

/** What a look-up captures before it reads anything: the generation that counts, on the connection that was confirmed. */
export interface Trust { generation: number, connection: number }

export type TrustState = 'trusted' | 'starting' | 'no-cache' | 'database-unreachable' | 'database-standby' | 'redis-unreachable' | 'redis-not-master' | 'not-registered' | 'settlement-overdue' | 'redis-suspect'

interface Held extends Trust { reading: EpochReading, sentAt: number, sentAtWall: number }

interface Parts {
  store: Pick<EpochStore, 'poll' | 'register' | 'confirm'>
  link: CacheLink
  clock: Clock
  counters: Counters
  log: { info (fields: object, text: string): void, warn (fields: object, text: string): void }
  /** Called after a poll that found settlements wanting help or overdue. */
  onNeed (): void
}

/** The poll of the epoch, and whether the cache may be believed at this instant. */
export type CacheEpoch = ReturnType<typeof createEpoch>

export function createEpoch ({ store, link, clock, counters, log, onNeed }: Parts) {
  let held: Held | null = null
  let suspectedAt = Number.NEGATIVE_INFINITY
  let state: TrustState = 'starting'
  let newest = { generation: 0, firstSeenAt: Number.NEGATIVE_INFINITY }
  let lastConfirm = Number.NEGATIVE_INFINITY
  let running: Promise<void> | null = null
  let stopping = false
  let wake = () => {}

  /** Null: answer from the database, and fill nothing. */
  function trust (): Trust | null {
    if (held === null || held.sentAt <= suspectedAt || held.connection !== link.connection) return null
    // Counted from the SENDING: the reply may have been under way while the generation was bumped. By both clocks:
    // the monotonic one stands still while a virtual machine is suspended, the other one can be set back.
    if (clock.monotonic() - held.sentAt >= trustMs || Math.abs(clock.now() - held.sentAtWall) >= trustMs) return null
    return held
  }

  /** Whether what was read under `before` may still be believed. */
  function still (before: Trust): boolean {
    const now = trust()
    return now !== null && now.generation === before.generation && now.connection === before.connection
  }

  /** Opens the breaker: a cache that failed once is left alone until a later poll has found it well. */
  function suspect (cause?: unknown): void {
    counters.failures++
    if (trust() !== null) log.warn({ cause: describe(cause) }, 'a command to the cache failed: answering from the database until the next poll')
    suspectedAt = clock.monotonic()
  }

  /** Milliseconds until every other instance has heard of `epoch`, or no longer believes its own poll. */
  function untilHeard (epoch: Epoch): number {
    observe(epoch.generation)
    return Math.max(0, newest.firstSeenAt + trustMs - clock.monotonic())
  }

  function observe (generation: number): void {
    // The moment of the reply, not of the sending: a bump lies between them at the latest.
    if (generation > newest.generation) newest = { generation, firstSeenAt: clock.monotonic() }
  }

  /** One at a time, so that no reply is older than the one held. */
  let turn: Promise<void> = Promise.resolve()
  function poll (): Promise<void> {
    turn = turn.then(pollOnce, pollOnce)
    return turn
  }

  async function pollOnce (): Promise<void> {
    const sentAt = clock.monotonic()
    const sentAtWall = clock.now()
    const [asked, answered] = await Promise.allSettled([store.poll(pollTimeoutMs), link.identify()])
    if (asked.status === 'rejected') {
      // The last poll is good for the rest of its time: a short absence of the database shouldn't reach the clients.
      if (trust() === null) become('database-unreachable', asked.reason)
      return
    }
    const reading = asked.value
    // A standby may lag behind the bump that this poll is there to notice.
    if (reading.standby) return become('database-standby')
    observe(reading.generation)

    if (link === noLink) return become('no-cache')
    if (answered.status === 'rejected') become('redis-unreachable', answered.reason)
    else await judge(reading, answered.value, sentAt, sentAtWall)

    if (reading.helpWanted || (reading.oldestSettlementMs ?? 0) >= overdueMs) onNeed()
  }

  async function judge (reading: EpochReading, identity: Identity, sentAt: number, sentAtWall: number): Promise<void> {
    const { connection, incarnation } = identity
    if (incarnation === null) return become('redis-not-master')
    if (connection !== link.connection) return become('redis-unreachable')
    if (incarnation !== reading.incarnation) {
      // The server changed: what it holds may lack the last revocations. Nothing older than this registration will count.
      if (await store.register(incarnation, reading.generation, pollTimeoutMs)) {
        counters.registrations++
        log.info({ incarnation: incarnation.slice(0, 8) }, 'registered another cache server: entries made before are void')
        wake()
      }
      return become('not-registered')
    }
    // Generation, incarnation and time of sending are replaced together: a mixture would lend an old generation a new time.
    if ((reading.oldestSettlementMs ?? 0) >= overdueMs) return become('settlement-overdue')
    held = { generation: reading.generation, connection, reading, sentAt, sentAtWall }
    become(held.sentAt <= suspectedAt ? 'redis-suspect' : 'trusted')
    if ((reading.confirmedAgeMs ?? Number.POSITIVE_INFINITY) >= confirmEveryMs && sentAt - lastConfirm >= confirmEveryMs / 2) {
      lastConfirm = sentAt
      await store.confirm(incarnation, pollTimeoutMs)
    }
  }

  /** One line when trust is lost, one when it is back. */
  function become (next: TrustState, cause?: unknown): void {
    if (next !== 'trusted' && next !== 'redis-suspect') held = null
    if (next === state) return
    if (state === 'trusted') {
      counters.trustLosses++
      log.warn({ reason: next, ...cause === undefined ? {} : { cause: describe(cause) } }, 'the cache is not trusted: answering from the database')
    } else if (next === 'trusted') {
      log.info({ was: state }, 'the cache is trusted')
    }
    state = next
  }

  async function run (): Promise<void> {
    while (!stopping) {
      const startedAt = clock.monotonic()
      let again = false
      const woken = new Promise<void>(resolve => { wake = () => { again = true; resolve() } })
      try {
        await poll()
      } catch (error) {
        if (trust() === null) become('database-unreachable', error)
      }
      if (!again && !stopping) await Promise.race([clock.sleep(Math.max(10, pollEveryMs - (clock.monotonic() - startedAt))), woken])
    }
  }

  return {
    trust,
    still,
    suspect,
    untilHeard,
    /** For /health/ready: trusted, or why not. */
    state: (): TrustState => trust() !== null ? 'trusted' : state === 'trusted' ? 'redis-suspect' : state,
    /** Polls once, now; the first poll of a process, and of a test. */
    poll,
    start (): void { running ??= run() },
    async stop (): Promise<void> {
      stopping = true
      wake()
      await running
    }
  }
}
