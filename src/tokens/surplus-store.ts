import { and, desc, eq, gt, inArray, isNotNull, isNull, sql } from 'drizzle-orm'
import { tokens } from '../../db/schema.js'
import { within } from '../database/database.js'
import type { RevokingTx, Tx } from '../database/transaction.js'
import { maxNamed } from '../revocation/naming.js'
import { TokenHash, type TokenKind } from './token.js'

/** Rows of each kind that one refresh looks at, and may delete: more than it adds, so that a session's rows don't pile up. */
const rowsLookedAt = 100

/** The rows that refreshing leaves behind in a session. */
export interface SurplusStore {
  /** Revokes the session's live access tokens but the newest `keep` and returns their hashes. The row of their user is locked. */
  revokeSurplus (tx: RevokingTx, sessionId: string, keep: number, now: Date): Promise<TokenHash[]>
  /** Hashes of the session's access tokens revoked within the last `withinSeconds`: at most one more than may be named. */
  revokedOfSession (tx: RevokingTx, sessionId: string, withinSeconds: number): Promise<TokenHash[]>
  /**
   * Deletes, of the session's oldest rows, those that nothing needs any more: access tokens revoked longer ago than `deadSeconds`, and
   * access tokens and consumed refresh tokens that expired more than an hour ago. A consumed refresh token that has not expired stays: its
   * reuse must be noticed. Locked rows are left for the next time.
   */
  deleteSurplus (tx: Tx, sessionId: string, deadSeconds: number): Promise<void>
}

export function createSurplusStore (): SurplusStore {
  return {
    async revokeSurplus (tx: RevokingTx, sessionId, keep, now) {
      const surplus = within(tx).select({ id: tokens.id }).from(tokens)
        .where(and(accessOf(sessionId), isNull(tokens.revokedAt), gt(tokens.expiresAt, now)))
        .orderBy(desc(tokens.createdAt), desc(tokens.id)).offset(keep)
      const ended = await within(tx).update(tokens).set({ revokedAt: sql`now()` }).where(inArray(tokens.id, surplus))
        .returning({ hash: tokens.hash })
      return ended.map(hashOf)
    },

    async revokedOfSession (tx, sessionId, withinSeconds) {
      const rows = await within(tx).select({ hash: tokens.hash }).from(tokens)
        .where(and(accessOf(sessionId), revokedWithin(withinSeconds))).limit(maxNamed + 1)
      return rows.map(hashOf)
    },

    async deleteSurplus (tx, sessionId, deadSeconds) {
      const oldest = (kind: TokenKind) => sql`array(select ctid from ${tokens} where ${tokens.sessionId} = ${sessionId}
        and ${tokens.kind} = ${kind} order by ${tokens.createdAt} limit ${rowsLookedAt})`
      const isAccess = sql`${tokens.kind} = 'access'`
      await within(tx).delete(tokens).where(sql`ctid = any(array(
        select ctid from ${tokens} where ctid = any(${oldest('access')} || ${oldest('refresh')}) and (
          ${isAccess} and ${tokens.revokedAt} < now() - make_interval(secs => ${deadSeconds})
          or (${isAccess} or ${tokens.consumedAt} is not null) and ${tokens.expiresAt} < now() - interval '1 hour'
        ) for update skip locked))`)
    }
  }
}

const accessOf = (sessionId: string) => and(eq(tokens.sessionId, sessionId), eq(tokens.kind, 'access'))

const hashOf = ({ hash }: { hash: Buffer }) => new TokenHash(hash.toString('hex'))

/** Of tokens revoked within the last `seconds`, by the database's clock. */
export const revokedWithin = (seconds: number) =>
  and(isNotNull(tokens.revokedAt), sql`${tokens.revokedAt} > now() - make_interval(secs => ${seconds})`)
