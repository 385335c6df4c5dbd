import { randomUUID } from 'node:crypto'
import { and, desc, eq, inArray, lt, sql } from 'drizzle-orm'
import { mails, mailTokens, registrations, users } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { TokenHash } from '../tokens/token.js'
import { type MailLanguage, toLanguage } from './language.js'
import type { MailKind, MailTokenKind } from './messages.js'

/** A token that a mail carries; its hash is the key. `createdAt` is when the mail was asked for. */
export interface MailTokenRow {
  kind: MailTokenKind
  email: string
  userId: string | null
  registrationId: string | null
  createdAt: Date
  expiresAt: Date
}

export interface Registration { id: string, email: string, name: string | null, passwordHash: string, createdAt: Date, expiresAt: Date }

/** Rows that have expired and can be pruned. */
export interface ExpiredMailRows { mailTokens: number, registrations: number }

/** `language`: null until it is known. */
export interface Recipient { email: string, verified: boolean, language: MailLanguage | null }

/** Mail tokens and registrations that wait for their mail. */
export interface MailStore {
  /** Where the account's mails go, and in which language; null without such an account. */
  findRecipient (tx: Tx, userId: string): Promise<Recipient | null>
  /** The language of the account's mails from now on. */
  setLanguage (tx: Tx, userId: string, language: MailLanguage): Promise<void>
  insertToken (tx: Tx, token: MailTokenRow & { hash: TokenHash }): Promise<void>
  findToken (hash: TokenHash): Promise<MailTokenRow | null>
  /** Deletes a token and returns it; if several try at once, one gets it and the others null. */
  takeToken (tx: Tx, hash: TokenHash): Promise<MailTokenRow | null>
  /** Deletes the accounts' tokens of these kinds and the mails that would carry one. */
  cancel (tx: Tx, userIds: string[], tokenKinds: MailTokenKind[], mailKinds: MailKind[]): Promise<void>
  /** Returns its id. */
  insertRegistration (tx: Tx, registration: Omit<Registration, 'id'>): Promise<string>
  /** Puts a registration into the place of another one of the same address, whose mails and tokens stay. Returns its id. */
  replaceRegistration (tx: Tx, id: string, registration: Omit<Registration, 'id'>): Promise<string>
  /** Every registration of `email`, newest first, without locking it. */
  findRegistrations (email: string): Promise<Registration[]>
  /** Locks the registration; null when it is gone. */
  lockRegistration (tx: Tx, id: string): Promise<Registration | null>
  /** Locks every registration of `email`, always in the same order, so that transactions that confirm one take turns. */
  lockRegistrations (tx: Tx, email: string): Promise<Registration[]>
  /** Deletes registrations with their mails and tokens. */
  deleteRegistrations (tx: Tx, ids: string[]): Promise<void>
  countExpired (now: Date): Promise<ExpiredMailRows>
  /** Deletes up to `limit` rows of each table that expired before `now`. Skips rows that are locked. */
  deleteExpired (now: Date, limit: number): Promise<ExpiredMailRows>
}

export function createMailStore (database: Database): MailStore {
  const bytes = (hash: TokenHash) => Buffer.from(hash.hex(), 'hex')

  return {
    async findRecipient (tx: Tx, userId: string): Promise<Recipient | null> {
      const columns = { email: users.email, verifiedAt: users.emailVerifiedAt, language: users.language }
      const [row] = await within(tx).select(columns).from(users).where(eq(users.id, userId))
      return row === undefined ? null : { email: row.email, verified: row.verifiedAt !== null, language: toLanguage(row.language) }
    },

    async setLanguage (tx: Tx, userId: string, language: MailLanguage): Promise<void> {
      // Most logins change nothing, and then write nothing.
      await within(tx).update(users).set({ language }).where(and(eq(users.id, userId), sql`${users.language} is distinct from ${language}`))
    },

    async insertToken (tx: Tx, token: MailTokenRow & { hash: TokenHash }): Promise<void> {
      await within(tx).insert(mailTokens).values({ ...token, hash: bytes(token.hash) })
    },

    async findToken (hash: TokenHash): Promise<MailTokenRow | null> {
      const [row] = await database.query(db => db.select().from(mailTokens).where(eq(mailTokens.hash, bytes(hash))))
      return row === undefined ? null : toToken(row)
    },

    async takeToken (tx: Tx, hash: TokenHash): Promise<MailTokenRow | null> {
      const [row] = await within(tx).delete(mailTokens).where(eq(mailTokens.hash, bytes(hash))).returning()
      return row === undefined ? null : toToken(row)
    },

    async cancel (tx: Tx, userIds: string[], tokenKinds: MailTokenKind[], mailKinds: MailKind[]): Promise<void> {
      // Mails first: a mail that is being sent may be inserting its token.
      const db = within(tx)
      if (mailKinds.length > 0) await db.delete(mails).where(and(inArray(mails.userId, userIds), inArray(mails.kind, mailKinds)))
      if (tokenKinds.includes('reset')) {
        // These name an address and not an account, as there may be none.
        const addresses = db.select({ email: users.email }).from(users).where(inArray(users.id, userIds))
        await db.delete(mails).where(and(eq(mails.kind, 'reset_password'), inArray(mails.email, addresses)))
      }
      if (tokenKinds.length > 0) await db.delete(mailTokens).where(and(
        inArray(mailTokens.userId, userIds),
        inArray(mailTokens.kind, tokenKinds)
      ))
    },

    async replaceRegistration (
      tx: Tx,
      id: string,
      { name, passwordHash, createdAt, expiresAt }: Omit<Registration, 'id'>
    ): Promise<string> {
      await within(tx).update(registrations).set({ name, passwordHash, createdAt, expiresAt }).where(eq(registrations.id, id))
      return id
    },

    async findRegistrations (email: string): Promise<Registration[]> {
      return await database.query(db =>
        db.select().from(registrations).where(eq(registrations.email, email)).orderBy(desc(registrations.createdAt)))
    },

    async insertRegistration (tx: Tx, registration: Omit<Registration, 'id'>): Promise<string> {
      const id = randomUUID()
      await within(tx).insert(registrations).values({ ...registration, id })
      return id
    },

    async lockRegistration (tx: Tx, id: string): Promise<Registration | null> {
      const [row] = await within(tx).select().from(registrations).where(eq(registrations.id, id)).for('update')
      return row ?? null
    },

    async lockRegistrations (tx: Tx, email: string): Promise<Registration[]> {
      return await within(tx).select().from(registrations).where(eq(registrations.email, email)).orderBy(registrations.id).for('update')
    },

    async deleteRegistrations (tx: Tx, ids: string[]): Promise<void> {
      if (ids.length > 0) await within(tx).delete(registrations).where(inArray(registrations.id, ids))
    },

    async countExpired (now: Date): Promise<ExpiredMailRows> {
      return await database.query(async db => ({
        mailTokens: await db.$count(mailTokens, lt(mailTokens.expiresAt, now)),
        registrations: await db.$count(registrations, lt(registrations.expiresAt, now))
      }))
    },

    async deleteExpired (now: Date, limit: number): Promise<ExpiredMailRows> {
      return await database.query(async db => {
        const tokens = db.select({ hash: mailTokens.hash }).from(mailTokens).where(lt(mailTokens.expiresAt, now))
          .orderBy(mailTokens.expiresAt).limit(limit).for('update', { skipLocked: true })
        const pending = db.select({ id: registrations.id }).from(registrations).where(lt(registrations.expiresAt, now))
          .orderBy(registrations.expiresAt).limit(limit).for('update', { skipLocked: true })
        const deletedTokens = await db.delete(mailTokens).where(inArray(mailTokens.hash, tokens)).returning({ kind: mailTokens.kind })
        const deleted = await db.delete(registrations).where(inArray(registrations.id, pending)).returning({ id: registrations.id })
        return { mailTokens: deletedTokens.length, registrations: deleted.length }
      })
    }
  }
}

function toToken ({ hash: _hash, kind, ...row }: typeof mailTokens.$inferSelect): MailTokenRow {
  return { ...row, kind: kind as MailTokenKind }
}
