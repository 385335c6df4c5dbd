import { createHmac } from 'node:crypto'
import type { EventCause } from '../audit/event.js'
import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { rateLimited } from '../shared/errors.js'
import type { AttemptStore, Keys } from './store.js'

/** Consecutive failures that an account, or a network it knows, may have (NIST SP 800-63B 3.2.2). */
export const failureLimit = 100

/** A block doesn't end with time, but somebody may end it: so long until it is worth another look. */
const blockedForSeconds = 3_600

const networksOfUser = 20
const idleDays = 90

/** Whose password is being tried: an account, or (id null) none of that address. */
export interface Account { id: string | null, email: string }

/** An attempt under way. It counts as failed until it has succeeded. */
export interface Attempt {
  /** Writes the failure into the audit trail. */
  failed (cause: EventCause): Promise<void>
  /** Forgets this failure and those before it. */
  succeeded (): Promise<void>
}

/** `networkOf`: what of an address one subscriber has for himself. `key` is the database's own. */
interface Parts { store: AttemptStore, audit: Pick<Audit, 'recordAttempt'>, transactions: Transactions, clock: Clock, networkOf (address: string): string, key: Buffer }

/** Failures to log in, counted where nothing is forgotten. */
export type Attempts = ReturnType<typeof createAttempts>

export function createAttempts ({ store, audit, transactions, clock, networkOf, key }: Parts) {
  const now = () => new Date(clock.now())
  const accountKey = (email: string) => createHmac('sha256', key).update(`account\n${email}`).digest()
  const networkKey = (userId: string | null, address: string) => createHmac('sha256', key).update(`network\n${userId ?? ''}\n${networkOf(address)}`).digest()
  const keysOf = ({ id, email }: Account, { address }: Device): Keys => ({ account: accountKey(email), network: networkKey(id, address) })

  return {
    /**
     * Counts an attempt before the password is looked at; throws a 429 error past the limit. From a network that has logged in to the
     * account before, it is that network's failures that count: nobody elsewhere can lock its owner out.
     */
    async begin (account: Account, device: Device): Promise<Attempt> {
      const keys = keysOf(account, device)
      const failures = await store.reserve(account.id, keys, failureLimit, now())
      if (failures === null) throw rateLimited(blockedForSeconds)
      return {
        async failed (cause) {
          // Those that are refused from now on are told of once, here: else whoever goes on could fill the trail.
          const causes: EventCause[] = failures < failureLimit ? [cause] : [cause, 'too_many_failures']
          await transactions.transaction(tx => audit.recordAttempt(tx, device, account.id, ...causes.map(cause => ({ type: 'login_failed' as const, cause }))))
        },
        succeeded: () => store.clear(keys)
      }
    },

    /** Somebody has come in to an account whose row `tx` holds: what failed before is forgotten, and the network is known. */
    async entered (tx: Tx, account: { id: string, email: string }, device: Device): Promise<void> {
      const keys = keysOf(account, device)
      await store.know(tx, account.id, keys.network, now(), networksOfUser)
      await store.clearWithin(tx, keys)
    },

    /** Forgets every failure on the account of `email`, from all networks; `tx` holds its row. */
    forgive: (tx: Tx, email: string): Promise<void> => store.clearAll(tx, email, accountKey(email))
  }
}

/** Counts that nobody has added to for 90 days; one that has reached the limit stays until it is forgiven. */
export type IdleAttempts = ReturnType<typeof createIdleAttempts>

export function createIdleAttempts ({ store, clock }: Pick<Parts, 'store' | 'clock'>) {
  const oldest = () => new Date(clock.now() - idleDays * 86_400_000)
  return {
    count: (): Promise<number> => store.countOld(oldest(), failureLimit),
    delete: (batch: number): Promise<number> => store.deleteOld(oldest(), failureLimit, batch)
  }
}
