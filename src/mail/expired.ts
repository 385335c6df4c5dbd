import type { Clock } from '../shared/clock.js'
import type { ExpiredMailRows, MailStore } from './store.js'

export type { ExpiredMailRows }

type ExpiredRowsStore = Pick<MailStore, 'countExpired' | 'deleteExpired'>

/** Expired mail tokens and unconfirmed registrations, for pruning: counted, or deleted up to `limit` of each. */
export interface ExpiredMail {
  count (): Promise<ExpiredMailRows>
  delete (limit: number): Promise<ExpiredMailRows>
}

export function createExpiredMail ({ store, clock }: { store: ExpiredRowsStore, clock: Clock }): ExpiredMail {
  const now = () => new Date(clock.now())
  return {
    count: () => store.countExpired(now()),
    delete: limit => store.deleteExpired(now(), limit)
  }
}
