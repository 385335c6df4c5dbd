import { randomUUID } from 'node:crypto'
import { eq, inArray, lte, sql } from 'drizzle-orm'
import { mails } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import { type MailLanguage, toLanguage } from './language.js'
import type { MailKind } from './messages.js'

/**
 * A mail to be sent: to an account, for a registration, or to an address that may have no account. Without a language it is written in the
 * account's.
 */
export interface NewMail {
  kind: MailKind
  email: string
  userId?: string
  registrationId?: string
  eventId?: string
  language?: MailLanguage | null
}

/** A mail that was claimed for sending; `attempts` includes this one. */
export interface Mail {
  id: string
  kind: MailKind
  email: string
  userId: string | null
  registrationId: string | null
  eventId: string | null
  language: MailLanguage | null
  attempts: number
  ageSeconds: number
}

/** The outbox: mails to be sent. It uses the database's clock, because instances have to agree on what is due. */
export interface OutboxStore {
  enqueue (tx: Tx, mail: NewMail): Promise<void>
  /** Claims up to `limit` mails that are due, oldest first, in one statement: for `leaseSeconds` nobody else gets them. */
  claim (limit: number, leaseSeconds: number): Promise<Mail[]>
  /** Locks the row of a claimed mail; false when the mail has been cancelled. */
  hold (tx: Tx, id: string): Promise<boolean>
  remove (id: string): Promise<void>
  postpone (id: string, seconds: number): Promise<void>
  /** How many mails are in the outbox (counted up to 10,000) and the age of the oldest one; 0 when it is empty. */
  waiting (): Promise<{ mails: number, oldestSeconds: number }>
}

export function createOutboxStore (database: Database): OutboxStore {
  return {
    async enqueue (tx: Tx, mail: NewMail): Promise<void> {
      await within(tx).insert(mails).values({ ...mail, id: randomUUID(), createdAt: sql`now()`, nextAttemptAt: sql`now()` })
    },

    async claim (limit: number, leaseSeconds: number): Promise<Mail[]> {
      const rows = await database.query(db => {
        const due = db.select({ id: mails.id }).from(mails).where(lte(mails.nextAttemptAt, sql`now()`))
          .orderBy(mails.nextAttemptAt).limit(limit).for('update', { skipLocked: true })
        return db.update(mails)
          .set({ attempts: sql`${mails.attempts} + 1`, nextAttemptAt: sql`now() + make_interval(secs => ${leaseSeconds})` })
          .where(inArray(mails.id, due))
          .returning({ row: mails, ageSeconds: sql<number>`extract(epoch from now() - ${mails.createdAt})::float8` })
      })
      return rows.map(({ row: { id, kind, email, userId, registrationId, eventId, language, attempts }, ageSeconds }) =>
        ({ id, kind: kind as MailKind, email, userId, registrationId, eventId, language: toLanguage(language), attempts, ageSeconds }))
    },

    async hold (tx: Tx, id: string): Promise<boolean> {
      return (await within(tx).select({ id: mails.id }).from(mails).where(eq(mails.id, id)).for('update')).length > 0
    },

    async remove (id: string): Promise<void> {
      await database.query(db => db.delete(mails).where(eq(mails.id, id)))
    },

    async waiting (): Promise<{ mails: number, oldestSeconds: number }> {
      const [row] = await database.query(db => {
        const some = db.select({ createdAt: mails.createdAt }).from(mails).orderBy(mails.nextAttemptAt).limit(10_000).as('some')
        const oldestSeconds = sql<number>`coalesce(extract(epoch from now() - min(${some.createdAt})), 0)::float8`
        return db.select({ mails: sql<number>`count(*)::int`, oldestSeconds }).from(some)
      })
      return row ?? { mails: 0, oldestSeconds: 0 }
    },

    async postpone (id: string, seconds: number): Promise<void> {
      const nextAttemptAt = sql`now() + make_interval(secs => ${seconds})`
      await database.query(db => db.update(mails).set({ nextAttemptAt }).where(eq(mails.id, id)))
    }
  }
}
