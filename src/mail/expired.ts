import type { Clock } from '../shared/clock.js'
import type { MailStore } from './store.js'

/** Tokens of mails that nobody used, and registrations that nobody confirmed. */
export interface Expired { mailTokens: number, registrations: number }

/** What mails leave behind, for pruning. */
export function createExpired ({ store, clock }: { store: Pick<MailStore, 'countExpired' | 'deleteExpired'>, clock: Clock }) {
  const now = () => new Date(clock.now())
  return {
    count: (): Promise<Expired> => store.countExpired(now()),
    delete: (limit: number): Promise<Expired> => store.deleteExpired(now(), limit)
  }
}
