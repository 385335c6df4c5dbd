import { and, eq, gt } from 'drizzle-orm'
import { setupLinks } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { TokenHash } from '../tokens/token.js'

/** The link that makes the first administrator, known by the hash of its token. There is one at most. */
export interface SetupStore {
  /** Puts a link in the place of whichever there is. */
  replace (tx: Tx, link: { hash: TokenHash, createdAt: Date, expiresAt: Date }): Promise<void>
  clear (tx: Tx): Promise<void>
  /** Whether the link is there and lasts longer than until `now`. */
  isGood (hash: TokenHash, now: Date): Promise<boolean>
  /** Deletes the link; false when it is gone or doesn't last longer than until `now`. Of several at once, one gets true. */
  take (tx: Tx, hash: TokenHash, now: Date): Promise<boolean>
}

export function createSetupStore (database: Database): SetupStore {
  const bytes = (hash: TokenHash) => Buffer.from(hash.hex(), 'hex')
  const good = (hash: TokenHash, now: Date) => and(eq(setupLinks.hash, bytes(hash)), gt(setupLinks.expiresAt, now))

  return {
    async replace (tx, { hash, ...times }) {
      await within(tx).delete(setupLinks)
      await within(tx).insert(setupLinks).values({ hash: bytes(hash), ...times })
    },

    async clear (tx) {
      await within(tx).delete(setupLinks)
    },

    async isGood (hash, now) {
      const rows = await database.query(db => db.select({ hash: setupLinks.hash }).from(setupLinks).where(good(hash, now)))
      return rows.length > 0
    },

    async take (tx, hash, now) {
      return (await within(tx).delete(setupLinks).where(good(hash, now)).returning({ hash: setupLinks.hash })).length > 0
    }
  }
}
