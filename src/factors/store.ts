import { and, eq, inArray, isNotNull, isNull, lt, or } from 'drizzle-orm'
import { loginChallenges, recoveryCodes, totpFactors } from '../../db/schema.js'
import { type Database, type Queries, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { TokenHash } from '../tokens/token.js'

/** `secret` is sealed; `confirmedAt` null: its owner hasn't shown a code yet. */
export interface TotpRow { secret: Buffer, confirmedAt: Date | null }

export interface ChallengeRow { userId: string, device: Buffer, expiresAt: Date }

/** Second factors, and the logins that wait for one. Who writes holds the user's row, and so does who reads within `tx`. */
export interface FactorStore {
  findTotp (userId: string, tx?: Tx): Promise<TotpRow | null>
  /** Takes the place of one that isn't confirmed. The caller has made sure that no other is there. */
  putTotp (tx: Tx, userId: string, secret: Buffer, now: Date): Promise<void>
  /** False when it is confirmed already, or gone. `step` is that of the code that confirmed it. */
  confirmTotp (tx: Tx, userId: string, step: number, now: Date): Promise<boolean>
  /** Uses up a step of a confirmed factor, and those before it; false when it was used. Of any number at once, one gets true. */
  useStep (tx: Tx, userId: string, step: number): Promise<boolean>
  deleteTotp (tx: Tx, userId: string): Promise<void>

  countCodes (userId: string, tx?: Tx): Promise<number>
  /** All earlier codes are void. */
  replaceCodes (tx: Tx, userId: string, hashes: Buffer[], now: Date): Promise<void>
  /** Deletes a code; false when there is none such. Of any number at once, one gets true. */
  takeCode (tx: Tx, userId: string, hash: Buffer): Promise<boolean>

  insertChallenge (tx: Tx, challenge: ChallengeRow & { hash: TokenHash, createdAt: Date }): Promise<void>
  findChallenge (hash: TokenHash): Promise<ChallengeRow | null>
  /** Deletes a challenge; false when it is gone. */
  takeChallenge (tx: Tx, hash: TokenHash): Promise<boolean>
  cancelChallenges (tx: Tx, userIds: string[]): Promise<void>
  countExpired (now: Date): Promise<number>
  /** Deletes up to `limit` expired challenges. Skips rows that are locked. */
  deleteExpired (now: Date, limit: number): Promise<number>
}

export function createFactorStore (database: Database): FactorStore {
  const bytes = (hash: TokenHash) => Buffer.from(hash.hex(), 'hex')
  /** Within `tx` where there is one: the embedded database has no other connection. */
  const read = <T>(tx: Tx | undefined, query: (db: Queries) => PromiseLike<T>) =>
    tx === undefined ? database.query(async db => await query(db)) : query(within(tx))

  return {
    async findTotp (userId, tx) {
      const columns = { secret: totpFactors.secret, confirmedAt: totpFactors.confirmedAt }
      const [row] = await read(tx, db => db.select(columns).from(totpFactors).where(eq(totpFactors.userId, userId)))
      return row ?? null
    },

    async putTotp (tx, userId, secret, now) {
      const row = { secret, createdAt: now, confirmedAt: null, lastStep: null }
      await within(tx).insert(totpFactors).values({ ...row, userId }).onConflictDoUpdate({ target: totpFactors.userId, set: row })
    },

    async confirmTotp (tx, userId, step, now) {
      const rows = await within(tx).update(totpFactors).set({ confirmedAt: now, lastStep: step })
        .where(and(eq(totpFactors.userId, userId), isNull(totpFactors.confirmedAt))).returning({ userId: totpFactors.userId })
      return rows.length > 0
    },

    async useStep (tx, userId, step) {
      const rows = await within(tx).update(totpFactors).set({ lastStep: step })
        .where(and(
          eq(totpFactors.userId, userId),
          isNotNull(totpFactors.confirmedAt),
          or(isNull(totpFactors.lastStep), lt(totpFactors.lastStep, step))
        )).returning({ userId: totpFactors.userId })
      return rows.length > 0
    },

    async deleteTotp (tx, userId) {
      await within(tx).delete(totpFactors).where(eq(totpFactors.userId, userId))
    },

    async countCodes (userId, tx) {
      return await read(tx, db => db.$count(recoveryCodes, eq(recoveryCodes.userId, userId)))
    },

    async replaceCodes (tx, userId, hashes, now) {
      await within(tx).delete(recoveryCodes).where(eq(recoveryCodes.userId, userId))
      if (hashes.length > 0) await within(tx).insert(recoveryCodes).values(hashes.map(hash => ({ hash, userId, createdAt: now })))
    },

    async takeCode (tx, userId, hash) {
      const taken = await within(tx).delete(recoveryCodes).where(and(eq(recoveryCodes.hash, hash), eq(recoveryCodes.userId, userId)))
        .returning({ userId: recoveryCodes.userId })
      return taken.length > 0
    },

    async insertChallenge (tx, { hash, ...challenge }) {
      await within(tx).insert(loginChallenges).values({ ...challenge, hash: bytes(hash) })
    },

    async findChallenge (hash) {
      const [row] = await database.query(db => db.select().from(loginChallenges).where(eq(loginChallenges.hash, bytes(hash))))
      return row === undefined ? null : { userId: row.userId, device: row.device, expiresAt: row.expiresAt }
    },

    async takeChallenge (tx, hash) {
      const taken = await within(tx).delete(loginChallenges).where(eq(loginChallenges.hash, bytes(hash)))
        .returning({ userId: loginChallenges.userId })
      return taken.length > 0
    },

    async cancelChallenges (tx, userIds) {
      if (userIds.length > 0) await within(tx).delete(loginChallenges).where(inArray(loginChallenges.userId, userIds))
    },

    async countExpired (now) {
      return await database.query(db => db.$count(loginChallenges, lt(loginChallenges.expiresAt, now)))
    },

    async deleteExpired (now, limit) {
      return await database.query(async db => {
        const old = db.select({ hash: loginChallenges.hash }).from(loginChallenges).where(lt(loginChallenges.expiresAt, now))
          .orderBy(loginChallenges.expiresAt)
          .limit(limit)
          .for('update', { skipLocked: true })
        const deleted = await db.delete(loginChallenges).where(inArray(loginChallenges.hash, old))
          .returning({ userId: loginChallenges.userId })
        return deleted.length
      })
    }
  }
}
