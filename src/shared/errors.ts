import createError from '@fastify/error'

/** Nobody reads where a refusal was made, and finding out costs as much as the rest of it: a flood of made-up tokens gets one each. */
const traced = false

/** Every error that a client can meet by name; `code` is part of the contract and never changes. */
export const MissingTokenError = createError(
  'AUTH_MISSING_TOKEN',
  'This route needs an access token: send "Authorization: Bearer lk_…"',
  401,
  Error,
  traced
)
export const InvalidTokenError = createError(
  'AUTH_INVALID_TOKEN',
  'The access token is malformed, unknown, expired or revoked',
  401,
  Error,
  traced
)
/** An InvalidTokenError that says why, so that an app can tell its user. */
export const SessionReplacedError = createError(
  'AUTH_SESSION_REPLACED',
  'A later login ended this session: SESSION_LIMIT allows no more',
  401,
  InvalidTokenError as unknown as ErrorConstructor,
  traced
)
export const InvalidCredentialsError = createError('AUTH_INVALID_CREDENTIALS', 'The email or the password is wrong', 401, Error, traced)
export const TokenReusedError = createError(
  'AUTH_TOKEN_REUSED',
  'This refresh token was used before: the session has been ended',
  401,
  Error,
  traced
)
export const CrossSiteError = createError(
  'AUTH_CROSS_SITE',
  'Cookies count only for requests from this origin or one in CORS_ORIGINS',
  403,
  Error,
  traced
)
export const WrongPasswordError = createError('AUTH_WRONG_PASSWORD', 'The current password is wrong', 403, Error, traced)
export const RegistrationClosedError = createError('AUTH_REGISTRATION_CLOSED', 'Registration is closed on this server', 403, Error, traced)
export const InsufficientAbilityError = createError('AUTH_INSUFFICIENT_ABILITY', 'The token lacks the ability %s', 403, Error, traced)
export const MissingServiceTokenError = createError(
  'AUTH_MISSING_TOKEN',
  'This route needs a service token: as Bearer, or as the password of Basic',
  401,
  Error,
  traced
)
export const ForbiddenError = createError('AUTH_FORBIDDEN', 'This route is for administrators', 403, Error, traced)
export const ReauthenticateError = createError(
  'AUTH_REAUTHENTICATE',
  'This needs the password, or a login of less than 15 minutes ago',
  403,
  Error,
  traced
)
export const SessionRequiredError = createError('AUTH_SESSION_REQUIRED', 'This route needs the token of a session', 403, Error, traced)
export const EmailUnverifiedError = createError(
  'AUTH_EMAIL_UNVERIFIED',
  'This needs a verified email address: ask for the mail that confirms it',
  403,
  Error,
  traced
)
export const EmailTakenError = createError('AUTH_EMAIL_TAKEN', 'An account with this email exists', 409, Error, traced)
export const TokenLimitError = createError(
  'AUTH_TOKEN_LIMIT',
  'This account has as many personal tokens as it may have: end one first',
  409,
  Error,
  traced
)
export const LastAdminError = createError('AUTH_LAST_ADMIN', 'This is the last administrator: make another one first', 409, Error, traced)
export const EmailRejectedError = createError('AUTH_EMAIL_REJECTED', 'This is no email address', 400, Error, traced)
export const PasswordRejectedError = createError('AUTH_PASSWORD_REJECTED', 'The password %s', 400, Error, traced)
export const MailTokenInvalidError = createError(
  'AUTH_MAIL_TOKEN_INVALID',
  'The token is malformed, unknown, used, expired or void: ask for another mail',
  400,
  Error,
  traced
)
export const CursorRejectedError = createError('AUTH_CURSOR_REJECTED', 'The cursor is none that this list gave', 400, Error, traced)
export const InvalidRequestError = createError('AUTH_INVALID_REQUEST', '%s', 400, Error, traced)
export const InvalidGrantError = createError(
  'AUTH_INVALID_GRANT',
  'The refresh token is malformed, unknown, expired, revoked or used before',
  400,
  Error,
  traced
)
export const InvalidScopeError = createError(
  'AUTH_INVALID_SCOPE',
  'The scope is not that of the refresh token: leave it out',
  400,
  Error,
  traced
)
export const UnsupportedGrantTypeError = createError(
  'AUTH_UNSUPPORTED_GRANT_TYPE',
  'The only grant_type is refresh_token',
  400,
  Error,
  traced
)
export const NotSupportedError = createError('AUTH_NOT_SUPPORTED', '%s', 400, Error, traced)
export const NotFoundError = createError('AUTH_NOT_FOUND', 'There is nothing here by that name', 404, Error, traced)
export const RateLimitedError = createError(
  'AUTH_RATE_LIMITED',
  'Too many attempts: wait for the seconds in Retry-After',
  429,
  Error,
  traced
)
export const UnavailableError = createError(
  'AUTH_UNAVAILABLE',
  'The service cannot answer this at the moment: try again soon',
  503,
  Error,
  traced
)

/** Seconds a client is asked to wait, on 429 and 503 (RFC 9110 10.2.3). */
export type Waiting = Error & { retryAfterSeconds?: number }

/** The 429 of a limit that opens again after `seconds`. */
export function rateLimited (seconds: number): Error {
  return Object.assign(new RateLimitedError(), { retryAfterSeconds: Math.max(1, Math.ceil(seconds)) })
}

/** An InvalidTokenError of which our own routes alone know more: the session goes on, under tokens that came after the refused one. */
export type Superseded = Error & { sessionGoesOn?: true }

/** The refusal of a refresh token that others have come after. */
export function superseded (): Superseded {
  return Object.assign(new InvalidTokenError(), { sessionGoesOn: true as const })
}

/** What a `%s` of the log may say about `error`: never a query, a parameter or a path. */
export function describe (error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && code.length > 0 ? `${error.name} ${code}` : error.name
}
