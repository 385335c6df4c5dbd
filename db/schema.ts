import { sql } from 'drizzle-orm'
import { bigint, boolean, customType, index, pgTable, smallint, text, timestamp, uuid } from 'drizzle-orm/pg-core'

const bytea = customType<{ data: Buffer, driverData: Uint8Array }>({
  dataType: () => 'bytea',
  fromDriver: value => Buffer.from(value)
})

const moment = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })

/** Keys that belong to this database: they are made at the first migration and outlive every process. */
export const secrets = pgTable('secrets', {
  name: text('name').primaryKey(),
  value: bytea('value').notNull()
})

export const users = pgTable('users', {
  id: uuid('id').primaryKey(),
  email: text('email').notNull().unique(),
  emailVerifiedAt: moment('email_verified_at'),
  name: text('name'),
  role: text('role').$type<'user' | 'admin'>().notNull().default('user'),
  passwordHash: text('password_hash').notNull(),
  disabledAt: moment('disabled_at'),
  createdAt: moment('created_at').notNull()
})

/** One log-in, parent of its tokens. */
export const sessions = pgTable('sessions', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull().references(() => users.id),
  deviceName: text('device_name'),
  userAgent: text('user_agent'),
  ip: text('ip'),
  createdAt: moment('created_at').notNull(),
  lastUsedAt: moment('last_used_at').notNull(),
  expiresAt: moment('expires_at').notNull(),
  endedAt: moment('ended_at'),
  /** Whether it was opened with a refresh token: a password change then renews both. */
  refreshes: boolean('refreshes').notNull().default(false)
}, table => [
  index('sessions_user_id').on(table.userId),
  index('sessions_expires_at').on(table.expiresAt)
])

/** A revoked token keeps its row until it is pruned: `revoked_at` not null means revoked, whatever any clock says. */
export const tokens = pgTable('tokens', {
  id: uuid('id').primaryKey(),
  hash: bytea('hash').notNull().unique(),
  kind: text('kind').$type<'access' | 'refresh' | 'personal'>().notNull(),
  userId: uuid('user_id').notNull().references(() => users.id),
  sessionId: uuid('session_id').references(() => sessions.id),
  abilities: text('abilities').array().notNull(),
  createdAt: moment('created_at').notNull(),
  /** Null: until it is revoked. Personal tokens alone. */
  expiresAt: moment('expires_at'),
  revokedAt: moment('revoked_at'),
  /** A personal token's name. */
  name: text('name'),
  /** A personal token's; a session's tokens count as the session's use. */
  lastUsedAt: moment('last_used_at'),
  /** When a refresh token was exchanged for its successor. */
  consumedAt: moment('consumed_at'),
  /** Keys the successors' MACs for as long as the grace lasts; then it is erased. */
  successorSecret: bytea('successor_secret')
}, table => [
  index('tokens_successor_secret').on(table.consumedAt).where(sql`${table.successorSecret} is not null`),
  index('tokens_user_id').on(table.userId),
  index('tokens_session_id').on(table.sessionId),
  index('tokens_expires_at').on(table.expiresAt),
  index('tokens_revoked_at').on(table.revokedAt).where(sql`${table.revokedAt} is not null`)
])

/** ONE row: which cache entries count, and in which Redis server. */
export const cacheEpoch = pgTable('cache_epoch', {
  id: smallint('id').primaryKey(),
  generation: bigint('generation', { mode: 'number' }).notNull(),
  incarnation: text('incarnation'),
  confirmedAt: moment('confirmed_at'),
  /** Servers that were registered before and replaced, newest last. */
  retired: text('retired').array().notNull()
})

/** Revocations committed whose cache entries are not yet known to be dead. Normally empty. */
export const cacheSettlements = pgTable('cache_settlements', {
  id: uuid('id').primaryKey(),
  tokenHashes: bytea('token_hashes').array().notNull(),
  createdAt: moment('created_at').notNull(),
  help: boolean('help').notNull()
})
