import type { Clock } from '../shared/clock.js'
import type { MailStore } from './store.js'

/** Tokens of mails that nobody used, and registrations that nobody confirmed. */
export interface Expired { mailTokens: number, registrations: number }

/** What mails leave behind: counted, or deleted up to `limit` of each. */
export interface ExpiredMail { count (): Promise<Expired>, delete (limit: number): Promise<Expired> }

export function createExpired ({ store, clock }: { store: Pick<MailStore, 'countExpired' | 'deleteExpired'>, clock: Clock }): ExpiredMail {
  const now = () => new Date(clock.now())
  return {
    count: () => store.countExpired(now()),
    delete: limit => store.deleteExpired(now(), limit)
  }
}
