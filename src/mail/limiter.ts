import { createHash } from 'node:crypto'
import { loginKey } from '../attempts/login-limiter.js'
import type { Limit } from '../config/values.js'
import { type CounterStorage, consume, createCounter } from '../redis/counter.js'
import type { MailLimiter } from './mailer.js'

/** Mails of one kind that one mailbox gets in an hour: enough for people, too few to flood somebody. */
const mailsPerHour = 10

/** LOGIN_LIMIT for clients that ask for mails, and the hourly cap of each mailbox, whoever asked. */
export function createMailLimiter (limit: Limit, storage: CounterStorage): MailLimiter {
  const asked = createCounter(limit, 'mail', { ...storage, final: true })
  const sent = createCounter({ points: mailsPerHour, seconds: 3_600 }, 'mailbox', { ...storage, final: true })
  return {
    ask: (email, address) => consume(asked, loginKey(email, address)),
    async admit (email, kind) {
      return await sent.consume(createHash('sha256').update(`${kind}\n${email}`).digest('base64url')).then(() => true, () => false)
    }
  }
}
