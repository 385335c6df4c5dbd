import type { Log } from '../observability/logger.js'
import { describe } from '../shared/errors.js'
import type { ComposeMail } from './composer.js'
import type { MailCounters } from './counters.js'
import type { DeliveryResult, Mailer, MailLimiter } from './mailer.js'
import type { Mail, OutboxStore } from './outbox-store.js'

/** How long sending one mail may take. Shorter than the lease of its row: no other instance may start while this one can still succeed. */
const timeoutMs = 45_000
/** Waits after a failure: 10 s, then three times as long each time, up to an hour. After a day the mail is given up. */
const firstRetrySeconds = 10
const longestRetrySeconds = 3_600
const giveUpSeconds = 86_400

export interface DeliveryDependencies {
  store: Pick<OutboxStore, 'remove' | 'postpone'>
  limiter: Pick<MailLimiter, 'admit'>
  counters: { mails: MailCounters }
  log: Pick<Log, 'info' | 'warn' | 'error'>
}

/** Delivers one mail that this instance has claimed. `stopping` fires when the process is about to end. */
export function createDelivery ({ store, limiter, counters, log }: DeliveryDependencies, compose: ComposeMail, stopping: AbortSignal) {
  /** False when the mail server could not be reached. Never rejects. */
  async function deliver (mail: Mail, mailer: Mailer): Promise<boolean> {
    const fields = { mail: mail.id, kind: mail.kind, attempt: mail.attempts }
    try {
      if (mail.attempts === 1 && !await limiter.admit(mail.email, mail.kind)) {
        counters.mails.dropped++
        log.warn(fields, 'mail dropped: its mailbox has reached the hourly limit')
        await store.remove(mail.id)
        return true
      }
      const outgoing = await compose(mail)
      if (outgoing === null) {
        await store.remove(mail.id)
        return true
      }
      const result = await mailer.send(outgoing, AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]))
      await finish(mail, result, fields)
      return result.outcome !== 'unreachable'
    } catch (error) {
      // The mail is tried again once its lease has expired.
      log.warn({ ...fields, failure: describe(error) }, 'the outbox did not answer: the mail is tried again later')
      return true
    }
  }

  async function finish (mail: Mail, result: DeliveryResult, fields: object): Promise<void> {
    if (result.outcome === 'sent') {
      counters.mails.sent++
      log.info(fields, 'mail sent')
      return await store.remove(mail.id)
    }
    const { outcome, failure, status } = result
    const reason = { ...fields, failure, status }
    if (outcome === 'refused' || mail.ageSeconds > giveUpSeconds) {
      counters.mails[outcome === 'refused' ? 'refused' : 'abandoned']++
      log.error(reason, outcome === 'refused' ? 'mail refused for good' : 'mail given up after a day')
      return await store.remove(mail.id)
    }
    // While the process ends, the server may have accepted the mail all the same: the lease says when to try again.
    if (stopping.aborted) return
    counters.mails.postponed++
    log.warn(reason, 'mail not sent: it is tried again later')
    await store.postpone(mail.id, Math.min(firstRetrySeconds * 3 ** (mail.attempts - 1), longestRetrySeconds))
  }

  return deliver
}
