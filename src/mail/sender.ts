import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Log } from '../observability/logger.js'
import { describe } from '../shared/errors.js'
import { withTimeout } from '../shared/timeout.js'
import { type ComposerDependencies, createComposer } from './composer.js'
import { createDelivery, type DeliveryDependencies } from './delivery.js'
import type { Mailer } from './mailer.js'
import type { Mail, OutboxStore } from './outbox-store.js'

/** How many mails one instance sends at the same time. */
const concurrency = 5
/** How soon a mail that a restart left behind, or that another instance wrote, is noticed. */
const pollMs = 3_000
/** How long a claimed row is reserved for this instance. */
const leaseSeconds = 120
/** While the server is unreachable a single mail tries it, at most this seldom. */
const longestPauseMs = 60_000
/** How long a shutdown waits for mails that are being sent, and then for them to be aborted. */
const drainMs = 2_000
const abortMs = 200

interface SenderDependencies extends ComposerDependencies, DeliveryDependencies {
  store: ComposerDependencies['store'] & DeliveryDependencies['store'] & Pick<OutboxStore, 'claim'>
  /** Null: this instance sends nothing and leaves it to others. */
  mailer: Mailer | null
  log: Log
}

/** Sends what is in the outbox, independently of requests: each mail at least once, and exactly once unless a process dies. */
export interface MailSender {
  /** There is something to send: start at once, unless the server is known to be unreachable. */
  wake (): void
  start (): void
  /** Starts nothing more, and waits briefly for mails that are being sent. */
  stop (): Promise<void>
}

export function createMailSender (dependencies: SenderDependencies): MailSender {
  const { store, mailer, log } = dependencies
  const stopping = new AbortController()
  const deliver = createDelivery(dependencies, createComposer(dependencies), stopping.signal)
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | null = null
  let started = false
  let woken = false
  let failures = 0

  function schedule (ms: number): void {
    clearTimeout(timer)
    timer = setTimeout(() => { running = sendAll().finally(scheduleNext) }, ms).unref()
  }

  function scheduleNext (): void {
    running = null
    if (!started) return
    schedule(failures > 0 ? Math.min(pollMs * 2 ** (failures - 1), longestPauseMs) : woken ? 0 : pollMs)
    woken = false
  }

  /** Sends everything that is due; to an unreachable server, one mail. */
  async function sendAll (): Promise<void> {
    while (started && mailer !== null) {
      const claimed = await claim(failures > 0 ? 1 : concurrency)
      if (claimed.length === 0) return
      const reached = await Promise.all(claimed.map(mail => deliver(mail, mailer)))
      failures = reached.includes(true) ? 0 : failures + 1
      if (failures > 0) return
      // The embedded database answers in microtasks: without this, nothing else would get to run.
      await nextTurn()
    }
  }

  async function claim (limit: number): Promise<Mail[]> {
    try {
      return await store.claim(limit, leaseSeconds)
    } catch (error) {
      log.warn({ failure: describe(error) }, 'the outbox could not be read')
      return []
    }
  }

  function wake (): void {
    if (running !== null) woken = true
    else if (started && failures === 0) schedule(0)
  }

  function start (): void {
    started = mailer !== null
    if (started) schedule(0)
  }

  async function stop (): Promise<void> {
    started = false
    clearTimeout(timer)
    const last = running ?? Promise.resolve()
    await withTimeout(last, drainMs, () => stopping.abort()).catch(() => {})
    await withTimeout(last, abortMs, () => {}).catch(() => {})
  }

  return { wake, start, stop }
}
