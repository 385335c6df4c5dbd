import { randomUUID } from 'node:crypto'
import { and, eq, inArray, lt, lte, sql } from 'drizzle-orm'
import { mails, mailTokens, registrations, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { TokenHash } from '../tokens/token.js'
import type { MailKind, MailTokenKind } from './messages.js'

/** A mail to be written: of an account, of a registration, or of neither: then there may be nobody of that address. */
export interface NewMail { kind: MailKind, email: string, userId?: string, registrationId?: string, eventId?: string }

/** A mail claimed for sending; `attempts` counts this one. */
export interface Mail { id: string, kind: MailKind, email: string, userId: string | null, registrationId: string | null, eventId: string | null, attempts: number, ageSeconds: number }

/** What the database knows a token by, and what it stands for. */
export interface MailTokenRow { kind: MailTokenKind, email: string, userId: string | null, registrationId: string | null, expiresAt: Date }

export interface Registration { id: string, email: string, name: string | null, passwordHash: string, expiresAt: Date }

/** The outbox keeps the database's time: instances whose clocks differ must agree on whose turn a mail is. */
export type MailStore = ReturnType<typeof createMailStore>

export function createMailStore (database: Database) {
  const bytes = (hash: TokenHash) => Buffer.from(hash.hex(), 'hex')

  return {
    async enqueue (tx: Tx, mail: NewMail): Promise<void> {
      await within(tx).insert(mails).values({ ...mail, id: randomUUID(), createdAt: sql`now()`, nextAttemptAt: sql`now()` })
    },

    /** Takes up to `limit` mails that are due, oldest first, and keeps them from everybody else for `leaseSeconds`, in one statement. */
    async claim (limit: number, leaseSeconds: number): Promise<Mail[]> {
      const rows = await database.query(db => {
        const due = db.select({ id: mails.id }).from(mails).where(lte(mails.nextAttemptAt, sql`now()`))
          .orderBy(mails.nextAttemptAt).limit(limit).for('update', { skipLocked: true })
        return db.update(mails)
          .set({ attempts: sql`${mails.attempts} + 1`, nextAttemptAt: sql`now() + make_interval(secs => ${leaseSeconds})` })
          .where(inArray(mails.id, due))
          .returning({ row: mails, ageSeconds: sql<number>`extract(epoch from now() - ${mails.createdAt})::float8` })
      })
      return rows.map(({ row: { id, kind, email, userId, registrationId, eventId, attempts }, ageSeconds }) =>
        ({ id, kind: kind as MailKind, email, userId, registrationId, eventId, attempts, ageSeconds }))
    },

    /** Takes a claimed mail's row until the end of `tx`; false when what it was about has been made void. */
    async hold (tx: Tx, id: string): Promise<boolean> {
      return (await within(tx).select({ id: mails.id }).from(mails).where(eq(mails.id, id)).for('update')).length > 0
    },

    async remove (id: string): Promise<void> {
      await database.query(db => db.delete(mails).where(eq(mails.id, id)))
    },

    /** Mails in the outbox (counted up to 10 000) and the age of the oldest of these; 0 when it is empty. */
    async waiting (): Promise<{ mails: number, oldestSeconds: number }> {
      const [row] = await database.query(db => {
        const some = db.select({ createdAt: mails.createdAt }).from(mails).orderBy(mails.nextAttemptAt).limit(10_000).as('some')
        return db.select({ mails: sql<number>`count(*)::int`, oldestSeconds: sql<number>`coalesce(extract(epoch from now() - min(${some.createdAt})), 0)::float8` }).from(some)
      })
      return row ?? { mails: 0, oldestSeconds: 0 }
    },

    async postpone (id: string, seconds: number): Promise<void> {
      await database.query(db => db.update(mails).set({ nextAttemptAt: sql`now() + make_interval(secs => ${seconds})` }).where(eq(mails.id, id)))
    },

    /** Where the mails of an account go. */
    async findRecipient (tx: Tx, userId: string): Promise<{ email: string, verified: boolean } | null> {
      const [row] = await within(tx).select({ email: users.email, verifiedAt: users.emailVerifiedAt }).from(users).where(eq(users.id, userId))
      return row === undefined ? null : { email: row.email, verified: row.verifiedAt !== null }
    },

    async insertToken (tx: Tx, token: MailTokenRow & { hash: TokenHash, createdAt: Date }): Promise<void> {
      await within(tx).insert(mailTokens).values({ ...token, hash: bytes(token.hash) })
    },

    async findToken (hash: TokenHash): Promise<MailTokenRow | null> {
      const [row] = await database.query(db => db.select().from(mailTokens).where(eq(mailTokens.hash, bytes(hash))))
      return row === undefined ? null : toToken(row)
    },

    /** Uses a token up: of several at once, one gets it and the others null. */
    async takeToken (tx: Tx, hash: TokenHash): Promise<MailTokenRow | null> {
      const [row] = await within(tx).delete(mailTokens).where(eq(mailTokens.hash, bytes(hash))).returning()
      return row === undefined ? null : toToken(row)
    },

    /** Makes an account's tokens of these kinds void, and its mails that would carry one. First the mails: a token may be in the making. */
    async forget (tx: Tx, userId: string, tokenKinds: MailTokenKind[], mailKinds: MailKind[]): Promise<void> {
      if (mailKinds.length > 0) await within(tx).delete(mails).where(and(eq(mails.userId, userId), inArray(mails.kind, mailKinds)))
      if (tokenKinds.length > 0) await within(tx).delete(mailTokens).where(and(eq(mailTokens.userId, userId), inArray(mailTokens.kind, tokenKinds)))
    },

    async insertRegistration (tx: Tx, registration: Omit<Registration, 'id'> & { createdAt: Date }): Promise<string> {
      const id = randomUUID()
      await within(tx).insert(registrations).values({ ...registration, id })
      return id
    },

    /** Takes a registration's row until the end of `tx`. */
    async lockRegistration (tx: Tx, id: string): Promise<Registration | null> {
      const [row] = await within(tx).select().from(registrations).where(eq(registrations.id, id)).for('update')
      return row ?? null
    },

    /** Takes all registrations of `email`, in one order for everybody: those who confirm them take turns. */
    async lockRegistrations (tx: Tx, email: string): Promise<Registration[]> {
      return await within(tx).select().from(registrations).where(eq(registrations.email, email)).orderBy(registrations.id).for('update')
    },

    /** With their mails and tokens. */
    async deleteRegistrations (tx: Tx, ids: string[]): Promise<void> {
      if (ids.length > 0) await within(tx).delete(registrations).where(inArray(registrations.id, ids))
    },

    async countExpired (now: Date): Promise<{ mailTokens: number, registrations: number }> {
      return await database.query(async db => ({
        mailTokens: await db.$count(mailTokens, lt(mailTokens.expiresAt, now)),
        registrations: await db.$count(registrations, lt(registrations.expiresAt, now))
      }))
    },

    /** Deletes up to `limit` of each that expired before `now`. Rows that somebody holds are left for the next run. */
    async deleteExpired (now: Date, limit: number): Promise<{ mailTokens: number, registrations: number }> {
      return await database.query(async db => {
        const tokens = db.select({ hash: mailTokens.hash }).from(mailTokens).where(lt(mailTokens.expiresAt, now)).orderBy(mailTokens.expiresAt).limit(limit).for('update', { skipLocked: true })
        const pending = db.select({ id: registrations.id }).from(registrations).where(lt(registrations.expiresAt, now)).orderBy(registrations.expiresAt).limit(limit).for('update', { skipLocked: true })
        return {
          mailTokens: (await db.delete(mailTokens).where(inArray(mailTokens.hash, tokens)).returning({ kind: mailTokens.kind })).length,
          registrations: (await db.delete(registrations).where(inArray(registrations.id, pending)).returning({ id: registrations.id })).length
        }
      })
    }
  }
}

function toToken ({ kind, email, userId, registrationId, expiresAt }: typeof mailTokens.$inferSelect): MailTokenRow {
  return { kind: kind as MailTokenKind, email, userId, registrationId, expiresAt }
}
