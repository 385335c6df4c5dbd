import { inArray, sql } from 'drizzle-orm'
import {
  bigint, boolean, customType, index, integer, pgTable, pgView, primaryKey, smallint, text, uuid
} from 'drizzle-orm/pg-core'

const bytea = customType<{ data: Buffer, driverData: Uint8Array }>({
  dataType: () => 'bytea',
  fromDriver: value => Buffer.from(value)
})

/** With another DateStyle the text would be read as another time, so it is refused (503). */
const moment = customType<{ data: Date, driverData: string }>({
  dataType: () => 'timestamp (3) with time zone',
  toDriver: value => value.toISOString(),
  fromDriver (value) {
    const text = String(value)
    if (!/^\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:?\d\d)*$/.test(text)) {
      throw Object.assign(new Error('the database writes times in another format than ISO'), { code: 'CONNECTION_SETTINGS' })
    }
    return new Date(text)
  }
})

/** Keys of this database. They are created by the first migration and never change. */
export const secrets = pgTable('secrets', {
  name: text('name').primaryKey(),
  value: bytea('value').notNull()
})

/** Those that a verifier may read: without the check of tokens it would look up made-up ones, and the other names the database. */
export const verifierKeys = pgView('verifier_keys').with({ securityBarrier: true })
  .as(db => db.select().from(secrets).where(inArray(secrets.name, ['token-check', 'database'])))

export const users = pgTable('users', {
  id: uuid('id').primaryKey(),
  email: text('email').notNull().unique(),
  emailVerifiedAt: moment('email_verified_at'),
  name: text('name'),
  role: text('role').$type<'user' | 'admin'>().notNull().default('user'),
  passwordHash: text('password_hash').notNull(),
  /** Whether a login needs more than the password; written with the factors themselves. */
  secondFactor: boolean('second_factor').notNull().default(false),
  disabledAt: moment('disabled_at'),
  /** Of the mails to it; null until a sign-in has told. */
  language: text('language'),
  createdAt: moment('created_at').notNull()
}, table => [
  index('users_created_at').on(table.createdAt, table.id),
  // For searching by the beginning of an address, whatever the collation.
  index('users_email_prefix').on(table.email.op('text_pattern_ops')),
  // The dearest hash decides how long every failed login takes.
  index('users_password_cost').on(sql`substring(${table.passwordHash} from '^(?:sha384:)?\\$2[aby]\\$([0-9]{2})\\$') desc nulls last`),
  // Before an administrator is demoted or deleted, another one must exist; there are few.
  index('users_admins').on(table.id).where(sql`${table.role} = 'admin'`)
])

/** The two digits of bcrypt's cost in a hash. */
export const passwordCost = sql<string | null>`substring(${users.passwordHash} from '^(?:sha384:)?\\$2[aby]\\$([0-9]{2})\\$')`

/** One login; its tokens belong to it. */
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
  /** Whether the login asked for a refresh token: a password change then issues a new one too. */
  refreshes: boolean('refreshes').notNull().default(false),
  /** How its user proved who they are: names of RFC 8176. Before second factors there was the password alone. */
  amr: text('amr').array().$type<Array<'pwd' | 'otp' | 'hwk' | 'swk' | 'fed'>>().notNull().default(sql`'{pwd}'`)
}, table => [
  index('sessions_user_id').on(table.userId),
  index('sessions_expires_at').on(table.expiresAt),
  index('sessions_ended_at').on(table.endedAt).where(sql`${table.endedAt} is not null`)
])

/** What an application keeps with a session: a JSON object. Its row goes with the session's. */
export const sessionData = pgTable('session_data', {
  sessionId: uuid('session_id').primaryKey().references(() => sessions.id, { onDelete: 'cascade' }),
  /** Another one after each write. */
  version: uuid('version').notNull(),
  /** JSON as text, which keeps U+0000 in strings. */
  data: text('data').notNull(),
  /** When the session ended, by this database's clock, and the data with it. The row stays: a repeated end has to name the same entry. */
  erasedAt: moment('erased_at')
})

/** A revoked token keeps its row until it is pruned. If `revoked_at` is not null the token is revoked, whatever any clock says. */
export const tokens = pgTable('tokens', {
  id: uuid('id').primaryKey(),
  hash: bytea('hash').notNull().unique(),
  kind: text('kind').$type<'access' | 'refresh' | 'personal' | 'service'>().notNull(),
  /** Null for service tokens, which belong to no user. */
  userId: uuid('user_id').references(() => users.id),
  sessionId: uuid('session_id').references(() => sessions.id),
  abilities: text('abilities').array().notNull(),
  createdAt: moment('created_at').notNull(),
  /** Null for a token that never expires: only personal and service tokens may. */
  expiresAt: moment('expires_at'),
  revokedAt: moment('revoked_at'),
  /** Of personal tokens their name, of service tokens the service's. */
  name: text('name'),
  /** Of personal and service tokens; the use of a session's tokens is in `sessions`. */
  lastUsedAt: moment('last_used_at'),
  /** When a refresh token was exchanged for the next one. */
  consumedAt: moment('consumed_at'),
  /** The key from which the next tokens are derived, until REFRESH_GRACE is over; then it is erased. */
  successorSecret: bytea('successor_secret')
}, table => [
  index('tokens_successor_secret').on(table.consumedAt).where(sql`${table.successorSecret} is not null`),
  index('tokens_user_id').on(table.userId),
  // Superfluous since the next one; a later version may drop it.
  index('tokens_session_id').on(table.sessionId),
  // A session's tokens of one kind by age: a refresh looks at the newest, and deletes of the oldest.
  index('tokens_session').on(table.sessionId, table.kind, table.createdAt),
  index('tokens_expires_at').on(table.expiresAt),
  index('tokens_revoked_at').on(table.revokedAt).where(sql`${table.revokedAt} is not null`)
])

/** One row: which generation of cache entries is valid, and in which Redis server. */
export const cacheEpoch = pgTable('cache_epoch', {
  id: smallint('id').primaryKey(),
  generation: bigint('generation', { mode: 'number' }).notNull(),
  incarnation: text('incarnation'),
  confirmedAt: moment('confirmed_at'),
  /** Servers that were registered earlier, newest last. */
  retired: text('retired').array().notNull()
})

/** Committed revocations whose cache entries may still be alive. Normally empty. */
export const cacheSettlements = pgTable('cache_settlements', {
  id: uuid('id').primaryKey(),
  tokenHashes: bytea('token_hashes').array().notNull(),
  createdAt: moment('created_at').notNull(),
  help: boolean('help').notNull()
})

/** The audit trail. Rows are added and deleted by age; a trigger prevents changes. Ids have no foreign keys: their rows may be gone. */
export const events = pgTable('events', {
  id: uuid('id').primaryKey(),
  createdAt: moment('created_at').notNull(),
  type: text('type').notNull(),
  /** The account it is about; null if it is about none, or about one that does not exist. */
  userId: uuid('user_id'),
  /** The user who did it, if it was another one. */
  actorId: uuid('actor_id'),
  sessionId: uuid('session_id'),
  tokenId: uuid('token_id'),
  ip: text('ip'),
  userAgent: text('user_agent'),
  cause: text('cause'),
  /** The role that was given, of `role_changed`, `first_admin_created`, and `user_created` by an import. */
  role: text('role').$type<'user' | 'admin'>(),
  /** The address before, of `email_changed`. */
  previousEmail: text('previous_email')
}, table => [
  index('events_user_id').on(table.userId, table.createdAt, table.id),
  index('events_created_at').on(table.createdAt, table.id)
])

/** Consecutive failed logins to an account, or to an account from a network it knows. The key is a hash; the account need not exist. */
export const loginFailures = pgTable('login_failures', {
  key: bytea('key').primaryKey(),
  failures: integer('failures').notNull(),
  lastFailedAt: moment('last_failed_at').notNull()
}, table => [
  index('login_failures_last_failed_at').on(table.lastFailedAt)
])

/** Hashes of the networks from which users have logged in. */
export const knownNetworks = pgTable('known_networks', {
  userId: uuid('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  network: bytea('network').notNull(),
  lastSeenAt: moment('last_seen_at').notNull()
}, table => [
  primaryKey({ columns: [table.userId, table.network] })
])

/** Time-based one-time codes (RFC 6238): one app for an account. */
export const totpFactors = pgTable('totp_factors', {
  userId: uuid('user_id').primaryKey().references(() => users.id, { onDelete: 'cascade' }),
  /** Sealed by the vault. */
  secret: bytea('secret').notNull(),
  createdAt: moment('created_at').notNull(),
  /** Null until the first code has shown that the app has the secret: before that it counts for nothing. */
  confirmedAt: moment('confirmed_at'),
  /** The step of the newest code that was accepted; it and those before it are refused. */
  lastStep: bigint('last_step', { mode: 'number' })
})

/** SHA-256 of an account's recovery codes. Using one deletes its row. */
export const recoveryCodes = pgTable('recovery_codes', {
  hash: bytea('hash').primaryKey(),
  userId: uuid('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  createdAt: moment('created_at').notNull()
}, table => [
  index('recovery_codes_user_id').on(table.userId)
])

/** Logins whose password was right and whose second factor is still asked for. Answering one deletes its row. */
export const loginChallenges = pgTable('login_challenges', {
  /** SHA-256 of the challenge. */
  hash: bytea('hash').primaryKey(),
  userId: uuid('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  /** SHA-256 of the network and the user agent that it was given to. */
  device: bytea('device').notNull(),
  createdAt: moment('created_at').notNull(),
  expiresAt: moment('expires_at').notNull()
}, table => [
  index('login_challenges_user_id').on(table.userId),
  index('login_challenges_expires_at').on(table.expiresAt)
])

/** Registrations that are not confirmed yet. */
export const registrations = pgTable('registrations', {
  id: uuid('id').primaryKey(),
  email: text('email').notNull(),
  name: text('name'),
  passwordHash: text('password_hash').notNull(),
  createdAt: moment('created_at').notNull(),
  expiresAt: moment('expires_at').notNull()
}, table => [
  index('registrations_email').on(table.email),
  index('registrations_expires_at').on(table.expiresAt)
])

/** The outbox: mail to be sent. A row has the kind of mail and the recipient. Its token is created only when the mail is sent. */
export const mails = pgTable('mails', {
  id: uuid('id').primaryKey(),
  kind: text('kind').notNull(),
  email: text('email').notNull(),
  userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
  registrationId: uuid('registration_id').references(() => registrations.id, { onDelete: 'cascade' }),
  /** The event that the mail is about. */
  eventId: uuid('event_id'),
  /** Null: the account's. */
  language: text('language'),
  createdAt: moment('created_at').notNull(),
  attempts: integer('attempts').notNull().default(0),
  nextAttemptAt: moment('next_attempt_at').notNull()
}, table => [
  index('mails_next_attempt_at').on(table.nextAttemptAt),
  index('mails_user_id').on(table.userId),
  index('mails_registration_id').on(table.registrationId)
])

/** SHA-256 of the token in the link that makes the first administrator. One row at most. */
export const setupLinks = pgTable('setup_links', {
  hash: bytea('hash').primaryKey(),
  createdAt: moment('created_at').notNull(),
  expiresAt: moment('expires_at').notNull()
})

/** SHA-256 of the tokens in mails. Using one deletes its row. */
export const mailTokens = pgTable('mail_tokens', {
  hash: bytea('hash').primaryKey(),
  kind: text('kind').notNull(),
  /** The address that its holder has proved to own. */
  email: text('email').notNull(),
  userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
  registrationId: uuid('registration_id').references(() => registrations.id, { onDelete: 'cascade' }),
  createdAt: moment('created_at').notNull(),
  expiresAt: moment('expires_at').notNull()
}, table => [
  index('mail_tokens_user_id').on(table.userId),
  index('mail_tokens_registration_id').on(table.registrationId),
  index('mail_tokens_expires_at').on(table.expiresAt)
])
