import { createHash } from 'node:crypto'
import { loginKey } from '../attempts/login-limiter.js'
import type { Limit } from '../config/values.js'
import { type CounterStorage, consume, createCounter } from '../redis/counter.js'
import type { MailLimiter } from './mailer.js'

/** Mails of one kind that one mailbox gets in an hour: enough for people, too few to flood somebody. */
const mailsPerHour = 10
/** The same for all tagged addresses of a mailbox together: bomb+1@, bomb+2@ and so on are one. */
const mailsPerHourOfAllTags = 20

/** LOGIN_LIMIT for clients that ask for mails, and the hourly cap of each mailbox, whoever asked. */
export function createMailLimiter (limit: Limit, storage: CounterStorage): MailLimiter {
  const asked = createCounter(limit, 'mail', { ...storage, final: true })
  const sent = createCounter({ points: mailsPerHour, seconds: 3_600 }, 'mailbox', { ...storage, final: true })
  const sentToAllTags = createCounter({ points: mailsPerHourOfAllTags, seconds: 3_600 }, 'mailbox-tags', { ...storage, final: true })
  return {
    ask: (email, address) => consume(asked, loginKey(email, address)),
    async admit (email, kind) {
      const admitted = (counter: typeof sent, mailbox: string) =>
        counter.consume(createHash('sha256').update(`${kind}\n${mailbox}`).digest('base64url')).then(() => true, () => false)
      return await admitted(sent, email) && await admitted(sentToAllTags, email.replace(/\+[^@]*(?=@[^@]*$)/, ''))
    }
  }
}
