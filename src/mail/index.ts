import type { Audit } from '../audit/service.js'
import type { Database } from '../database/database.js'
import type { FactorCheck } from '../factors/check.js'
import type { Log } from '../observability/logger.js'
import type { Revocation } from '../revocation/revocation.js'
import type { SessionService } from '../sessions/service.js'
import type { Clock } from '../shared/clock.js'
import type { TokenService } from '../tokens/service.js'
import type { UserService } from '../users/service.js'
import type { MailCounters } from './counters.js'
import { createExpiredMail, type ExpiredMail } from './expired.js'
import type { Mailer, MailLimiter } from './mailer.js'
import { cancelledFromOutside, createOutbox } from './outbox.js'
import { createOutboxStore, type OutboxStore } from './outbox-store.js'
import { createMailSender, type MailSender } from './sender.js'
import { createMailService, type MailService } from './service.js'
import { createMailStore } from './store.js'

interface MailPorts {
  database: Database
  users: UserService
  sessions: SessionService
  tokens: TokenService
  revocation: Revocation
  audit: Audit
  check: FactorCheck
  /** Null: this instance sends nothing and leaves it to others. */
  mailer: Mailer | null
  limiter: MailLimiter
  clock: Clock
  counters: { mails: MailCounters }
  log: Log
  networkOf (address: string): string
  config: {
    registration: 'open' | 'closed' | 'confirm'
    appName: string
    appUrl?: string | undefined
    publicUrl?: string | undefined
    pages: boolean
  }
}

export interface Mail {
  mail: MailService
  sender: Pick<MailSender, 'start' | 'stop'>
  /** For pruning. */
  expired: ExpiredMail
  /** For metrics. */
  outbox: Pick<OutboxStore, 'waiting'>
}

/** Mails, what their tokens prove, and the notices that events of the audit trail cause. */
export function createMail ({ database, config, mailer, networkOf, ...ports }: MailPorts): Mail {
  const store = { ...createMailStore(database), ...createOutboxStore(database) }
  const app = { name: config.appName, appUrl: config.appUrl ?? null, publicUrl: config.publicUrl ?? null, hasPages: config.pages }
  const common = { ...ports, store, transactions: database }
  const sender = createMailSender({ ...common, mailer, app })
  const outbox = createOutbox({ store, audit: ports.audit, networkOf, onCommitted: sender.wake })
  ports.audit.onRecorded(outbox.onRecorded)
  ports.sessions.onEndedFromOutside((tx, userIds) => outbox.cancel(tx, userIds, cancelledFromOutside))
  return {
    mail: createMailService({ ...common, outbox, confirms: config.registration === 'confirm' }),
    sender,
    expired: createExpiredMail(common),
    outbox: store
  }
}
