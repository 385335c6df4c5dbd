import { setImmediate as turn } from 'node:timers/promises'
import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Log } from '../observability/logger.js'
import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import { withTimeout } from '../shared/timeout.js'
import type { UserService } from '../users/service.js'
import type { MailCounters } from './counters.js'
import type { Mailer, MailLimiter, Posted } from './mailer.js'
import { type Kind, kinds, type MailKind } from './messages.js'
import type { Mail, MailStore } from './store.js'
import { type Places, write } from './template.js'
import { type MailToken, mintMailToken } from './token.js'

/** So many letters are under way at once, from one instance. */
const atOnce = 5
/** A mail left behind by a restart, or written by another instance, waits no longer than this. */
const pollMs = 3_000
/** The longest a letter may take, and how long its row is kept from the other instances: they must not begin while we may still succeed. */
const longestMs = 45_000
const leaseSeconds = 120
/** After a failure: 10 s, three times as long after each further one, an hour at most; and after a day it is given up. */
const firstGapSeconds = 10
const longestGapSeconds = 3_600
const giveUpSeconds = 86_400
/** While the server doesn't answer at all, one letter tries it, at this most. */
const longestPauseMs = 60_000
/** How long an end of the process waits for letters under way. */
const drainMs = 2_000
const abortMs = 200

interface Parts {
  store: Pick<MailStore, 'claim' | 'hold' | 'remove' | 'postpone' | 'insertToken' | 'lockRegistration' | 'deleteRegistrations'>
  users: Pick<UserService, 'find' | 'findAccount' | 'lock'>
  audit: Pick<Audit, 'find'>
  transactions: Transactions
  /** Null: this instance sends nothing, and leaves it to others. */
  mailer: Mailer | null
  limiter: Pick<MailLimiter, 'admit'>
  places: Places
  counters: { mails: MailCounters }
  clock: Clock
  log: Log
}

/** Takes mails out of the outbox and sends them, beside the requests: at least once, and in the ordinary course exactly once. */
export type MailSender = ReturnType<typeof createMailSender>

export function createMailSender ({ store, users, audit, transactions, mailer, limiter, places, counters, clock, log }: Parts) {
  const ending = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | null = null
  let open = false
  let woken = false
  let failures = 0

  function schedule (ms: number): void {
    clearTimeout(timer)
    timer = setTimeout(() => { running = round().finally(rest) }, ms).unref()
  }

  function rest (): void {
    running = null
    if (!open) return
    schedule(failures > 0 ? Math.min(pollMs * 2 ** (failures - 1), longestPauseMs) : woken ? 0 : pollMs)
    woken = false
  }

  /** Sends all that is due; to a server that is down, one. */
  async function round (): Promise<void> {
    while (open && mailer !== null) {
      const claimed = await claim(failures > 0 ? 1 : atOnce)
      if (claimed.length === 0) return
      const reached = await Promise.all(claimed.map(mail => deliver(mail, mailer)))
      failures = reached.includes(true) ? 0 : failures + 1
      if (failures > 0) return
      // The embedded database answers in microtasks: without this nobody else would get a turn.
      await turn()
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

  /** False when the server could not be reached. */
  async function deliver (mail: Mail, mailer: Mailer): Promise<boolean> {
    const fields = { mail: mail.id, kind: mail.kind, attempt: mail.attempts }
    try {
      if (mail.attempts === 1 && !await limiter.admit(mail.email, mail.kind)) {
        counters.mails.dropped++
        log.warn(fields, 'a mailbox has had its share of mails: this one is dropped')
        await store.remove(mail.id)
        return true
      }
      const ready = await prepare(mail)
      if (ready === null) {
        await store.remove(mail.id)
        return true
      }
      const letter = { ...write(kinds[ready.kind], places, ready.token?.reveal() ?? null, await circumstancesOf(mail)), id: mail.id, kind: ready.kind, to: mail.email }
      const posted = await mailer.post(letter, AbortSignal.any([ending.signal, AbortSignal.timeout(longestMs)]))
      await settle(mail, posted, fields)
      return posted.outcome !== 'unreachable'
    } catch (error) {
      // The lease runs out, and it is tried again.
      log.warn({ ...fields, failure: describe(error) }, 'the outbox did not answer: a mail is left for later')
      return true
    }
  }

  async function settle (mail: Mail, posted: Posted, fields: object): Promise<void> {
    if (posted.outcome === 'sent') {
      counters.mails.sent++
      log.info(fields, 'mail sent')
      return await store.remove(mail.id)
    }
    const { outcome, failure, status } = posted
    const reason = { ...fields, failure, status }
    if (outcome === 'refused' || mail.ageSeconds > giveUpSeconds) {
      counters.mails[outcome === 'refused' ? 'refused' : 'abandoned']++
      log.error(reason, outcome === 'refused' ? 'a mail was refused for good' : 'a mail is given up')
      return await store.remove(mail.id)
    }
    // Not at the end of the process: the server may have taken it, and the lease says when to try again.
    if (ending.signal.aborted) return
    counters.mails.postponed++
    log.warn(reason, 'a mail could not be sent: it is tried again')
    await store.postpone(mail.id, Math.min(firstGapSeconds * 3 ** (mail.attempts - 1), longestGapSeconds))
  }

  /** Whether there is somebody to write to, what to write and, made in this moment, the token; null: nothing is to be sent. */
  async function prepare (mail: Mail): Promise<{ kind: MailKind, token: MailToken | null } | null> {
    if (mail.registrationId !== null) return await prepareRegistration(mail, mail.registrationId)
    const seen = mail.userId === null ? await users.findAccount(mail.email) : await users.find(mail.userId)
    const owner = mail.kind === 'confirm_email_change' ? await users.findAccount(mail.email) : null
    if (seen === null) return null
    return await transactions.transaction(async tx => {
      // First the account, then the mail: as whoever makes both void does.
      const account = await users.lock(tx, seen.user.id)
      if (account === null || account.disabled || !await store.hold(tx, mail.id)) return null
      const { id, email, emailVerifiedAt } = account.user
      if (mail.kind === 'reset_password' && email !== mail.email) return null
      if (mail.kind === 'verify_email' && (email !== mail.email || emailVerifiedAt !== null)) return null
      if (owner !== null) return owner.disabled ? null : { kind: 'account_exists', token: null }
      return { kind: mail.kind, token: await mint(tx, mail, { userId: id }) }
    })
  }

  async function prepareRegistration (mail: Mail, registrationId: string): Promise<{ kind: MailKind, token: MailToken | null } | null> {
    const taken = await users.findAccount(mail.email)
    return await transactions.transaction(async tx => {
      const registration = await store.lockRegistration(tx, registrationId)
      if (registration === null || registration.expiresAt.getTime() <= clock.now() || !await store.hold(tx, mail.id)) return null
      if (taken !== null) return taken.disabled ? null : { kind: 'account_exists', token: null }
      return { kind: mail.kind, token: await mint(tx, mail, { registrationId }) }
    })
  }

  async function mint (tx: Tx, mail: Mail, { userId = null, registrationId = null }: { userId?: string | null, registrationId?: string | null }): Promise<MailToken | null> {
    const { token }: Kind = kinds[mail.kind]
    if (token === undefined) return null
    const plain = mintMailToken(token.purpose)
    const createdAt = new Date(clock.now())
    const expiresAt = new Date(createdAt.getTime() + token.seconds * 1000)
    await store.insertToken(tx, { hash: plain.hash(), kind: token.kind, email: mail.email, userId, registrationId, createdAt, expiresAt })
    return plain
  }

  async function circumstancesOf ({ eventId }: Mail) {
    const event = eventId === null ? null : await audit.find(eventId)
    return event === null ? null : { at: event.createdAt, address: event.ip, userAgent: event.userAgent }
  }

  return {
    /** There is something to send: at once, if the server is not known to be down. */
    wake (): void {
      if (running !== null) woken = true
      else if (open && failures === 0) schedule(0)
    },

    start (): void {
      open = mailer !== null
      if (open) schedule(0)
    },

    /** Begins nothing more, and waits a little for what is under way. */
    async stop (): Promise<void> {
      open = false
      clearTimeout(timer)
      const last = running ?? Promise.resolve()
      await withTimeout(last, drainMs, () => ending.abort()).catch(() => {})
      await withTimeout(last, abortMs, () => {}).catch(() => {})
    }
  }
}
