import { createHmac } from 'node:crypto'
import type { EventCause } from '../audit/event.js'
import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { rateLimited } from '../shared/errors.js'
import type { AttemptStore, Keys } from './store.js'

/** Consecutive failures that an account, or one of its known networks, may have (NIST SP 800-63B 3.2.2). */
export const failureLimit = 100

/** The block doesn't end by itself, but an administrator or a reset may lift it: after this long a client may try again. */
const retryAfterSeconds = 3_600

const maxNetworksPerUser = 20
const idleDays = 90

/** Whose password is being tried; `id` is null when no account has this address. */
export interface AttemptedAccount { id: string | null, email: string }

/** An attempt under way. It counts as failed until `succeeded` is called. */
export interface Attempt {
  /** Records the failure in the audit trail. */
  failed (cause: EventCause): Promise<void>
  /** Clears this failure and those before it. */
  succeeded (): Promise<void>
  /** Takes this failure back and leaves those before it: the password was right, and alone opens nothing. */
  withdrawn (): Promise<void>
}

/**
 * `reset`: attempts of somebody who has the account's mailbox. Counted apart, or whoever guesses passwords could keep the owner from
 * resetting theirs.
 */
export type AttemptScope = 'login' | 'reset'

/** Counts failed logins in PostgreSQL, where they outlive Redis and restarts. */
export interface Attempts {
  /**
   * Counts an attempt before the password is checked; throws a 429 error past the limit. An attempt from a network that has logged in to
   * the account before counts for that network alone, so nobody elsewhere can lock the owner out.
   */
  begin (account: AttemptedAccount, device: Device, scope?: AttemptScope): Promise<Attempt>
  /** After a login: clears earlier failures and remembers the network. `tx` holds the user's row. */
  recordLogin (tx: Tx, account: { id: string, email: string }, device: Device): Promise<void>
  /** Clears every failure on the account of `email`, from all networks. `tx` holds the user's row. */
  forgive (tx: Tx, email: string): Promise<void>
}

interface AttemptsDependencies {
  store: AttemptStore
  audit: Pick<Audit, 'recordAttempt'>
  transactions: Transactions
  clock: Clock
  /** The part of an address that belongs to one subscriber. */
  networkOf (address: string): string
  /** Kept in the database; without it the stored hashes can't be traced back to addresses. */
  key: Buffer
}

export function createAttempts ({ store, audit, transactions, clock, networkOf, key }: AttemptsDependencies): Attempts {
  const now = () => new Date(clock.now())
  const accountKey = (email: string, scope: AttemptScope = 'login') =>
    createHmac('sha256', key).update(scope === 'login' ? `account\n${email}` : `${scope}\n${email}`).digest()
  const networkKey = (
    userId: string | null,
    address: string
  ) => createHmac('sha256', key).update(`network\n${userId ?? ''}\n${networkOf(address)}`).digest()
  const keysOf = (
    { id, email }: AttemptedAccount,
    { address }: Device,
    scope: AttemptScope = 'login'
  ): Keys => ({ account: accountKey(email, scope), network: networkKey(id, address) })

  return {
    async begin (account, device, scope) {
      const keys = keysOf(account, device, scope)
      const failures = await store.reserve(account.id, keys, failureLimit, now())
      if (failures === null) throw rateLimited(retryAfterSeconds)
      return {
        async failed (cause) {
          // The attempts refused from here on leave no events of their own, or whoever goes on could fill the trail.
          const causes: EventCause[] = failures < failureLimit ? [cause] : [cause, 'too_many_failures']
          await transactions.transaction(
            tx => audit.recordAttempt(tx, device, account.id, ...causes.map(cause => ({ type: 'login_failed' as const, cause }
          ))))
        },
        succeeded: () => store.clear(keys),
        withdrawn: () => store.release(account.id, keys)
      }
    },

    async recordLogin (tx, account, device) {
      const keys = keysOf(account, device)
      await store.rememberNetwork(tx, account.id, keys.network, now(), maxNetworksPerUser)
      await store.clearWithin(tx, keys)
    },

    forgive: (tx, email) => store.clearAll(tx, email, [accountKey(email), accountKey(email, 'reset')])
  }
}

/** Counts that haven't changed for 90 days, to be pruned. Those that reached the limit stay until they are cleared. */
export interface IdleAttempts {
  count (): Promise<number>
  /** Deletes up to `batch`; returns how many. */
  delete (batch: number): Promise<number>
}

export function createIdleAttempts ({ store, clock }: { store: Pick<AttemptStore, 'countOld' | 'deleteOld'>, clock: Clock }): IdleAttempts {
  const oldest = () => new Date(clock.now() - idleDays * 86_400_000)
  return {
    count: () => store.countOld(oldest(), failureLimit),
    delete: batch => store.deleteOld(oldest(), failureLimit, batch)
  }
}
