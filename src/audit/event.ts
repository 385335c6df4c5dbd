/** What can happen to an account. The names are part of the wire: new ones may be added, none may change. */
export const eventTypes = [
  'registered', 'login_succeeded', 'login_failed', 'session_ended', 'refresh_token_reused',
  'password_changed', 'password_reset_requested', 'password_reset', 'email_change_requested', 'email_changed', 'email_verified', 'name_changed',
  'personal_token_created', 'personal_token_ended', 'service_created', 'service_ended',
  'user_created', 'first_admin_created', 'user_disabled', 'user_enabled', 'role_changed', 'account_deleted',
  'login_failures_cleared', 'cache_cleared', 'users_imported',
  'totp_added', 'totp_removed', 'recovery_codes_created', 'recovery_code_used', 'factors_reset'
] as const

/** Why: what ended a session, or why a login failed. */
export const eventCauses = [
  'logout', 'logout_all', 'ended_by_user', 'session_limit', 'refresh_token_reused', 'password_changed', 'password_reset', 'ended_by_admin', 'disabled', 'deleted',
  'unknown_account', 'wrong_password', 'too_many_failures', 'token_revoked', 'command', 'import', 'wrong_second_factor', 'factor_removed'
] as const

export type EventType = typeof eventTypes[number]
export type EventCause = typeof eventCauses[number]

/**
 * An event to be recorded: what happened to the account `userId` (null when no account is meant, or none exists), done by `actorId` if not
 * by its own user.
 */
export interface Happening {
  type: EventType
  userId: string | null
  actorId?: string | null
  sessionId?: string | null
  tokenId?: string | null
  cause?: EventCause | null
  /** The role that was given; of `role_changed`, `first_admin_created`, and `user_created` by an import. */
  role?: 'user' | 'admin' | null
  /** The address before the change; of `email_changed`. */
  previousEmail?: string | null
}
