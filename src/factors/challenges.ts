import type { EventType } from '../audit/event.js'
import type { AuditEvent } from '../audit/service.js'
import type { Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import type { TokenHash } from '../tokens/token.js'
import { bindingOf, mintChallenge, type PlainChallenge, parseChallenge } from './challenge.js'
import type { FactorCheck, FactorKind } from './check.js'
import type { FactorStore } from './store.js'

const lifeSeconds = 300

/** What a client is told instead of getting a session: it answers by one of `factors`. */
export interface Challenge { plain: PlainChallenge, factors: FactorKind[], expiresInSeconds: number }

/** Logins that wait for their second factor: for five minutes, for one session, and on the device that they began on. */
export interface Challenges {
  /** In the transaction that has checked the password again and holds the user's row. */
  issue (tx: Tx, userId: string, device: Device): Promise<Challenge>
  /** Whose login it is; null for a challenge that is malformed, unknown, used, expired, void or another device's. */
  find (candidate: string, device: Device): Promise<{ hash: TokenHash, userId: string } | null>
  /** Uses it up; false when it has been used or made void. `tx` holds the user's row. */
  take (tx: Tx, hash: TokenHash): Promise<boolean>
  /** Makes every challenge of these users void. */
  cancel (tx: Tx, userIds: string[]): Promise<void>
  /** The audit trail calls this with every event: what changes password or factors makes the challenges before it void. */
  onRecorded (tx: Tx, events: AuditEvent[]): Promise<void>
  countExpired (): Promise<number>
  /** Deletes up to `limit` of them; returns how many. */
  deleteExpired (limit: number): Promise<number>
}

const cancelling: ReadonlySet<EventType> = new Set([
  'password_changed', 'password_reset', 'user_disabled', 'email_changed',
  'totp_added', 'totp_removed', 'recovery_codes_created', 'factors_reset'
])

interface ChallengesDependencies {
  store: Pick<FactorStore,
    'insertChallenge' | 'findChallenge' | 'takeChallenge' | 'cancelChallenges' | 'countExpired' | 'deleteExpired'>
  check: Pick<FactorCheck, 'factorsOf'>
  clock: Clock
  networkOf (address: string): string
}

export function createChallenges ({ store, check, clock, networkOf }: ChallengesDependencies): Challenges {
  const now = () => new Date(clock.now())

  return {
    async issue (tx, userId, device) {
      const plain = mintChallenge()
      const createdAt = now()
      const expiresAt = new Date(createdAt.getTime() + lifeSeconds * 1000)
      await store.insertChallenge(tx, { hash: plain.hash(), userId, device: bindingOf(device, networkOf), createdAt, expiresAt })
      return { plain, factors: await check.factorsOf(userId, tx), expiresInSeconds: lifeSeconds }
    },

    async find (candidate, device) {
      const hash = parseChallenge(candidate)?.hash()
      const row = hash === undefined ? null : await store.findChallenge(hash)
      if (hash === undefined || row === null || row.expiresAt <= now() || !row.device.equals(bindingOf(device, networkOf))) return null
      return { hash, userId: row.userId }
    },

    take: store.takeChallenge,
    cancel: store.cancelChallenges,

    async onRecorded (tx, events) {
      const userIds = events.flatMap(({ type, userId }) => cancelling.has(type) && userId !== null ? [userId] : [])
      await store.cancelChallenges(tx, userIds)
    },

    countExpired: () => store.countExpired(now()),
    deleteExpired: limit => store.deleteExpired(now(), limit)
  }
}
