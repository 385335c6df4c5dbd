import createError from '@fastify/error'

/** Nobody reads where a refusal was made, and finding out costs as much as the rest of it: a flood of made-up tokens gets one each. */
const traced = false

/** What a 400 says about the field that it refuses; a reason is part of the contract as a code is. */
export type Reason =
  | 'missing' | 'unknown' | 'wrong_type' | 'too_short' | 'too_long' | 'malformed' | 'not_allowed' | 'duplicate' | 'out_of_range'
  | PasswordReason
/** Why a password may not be chosen. */
export type PasswordReason = 'too_short' | 'common' | 'breached' | 'personal'

/** An error about one field of the request; `body` and `query` stand for the whole of it. */
export type AboutField = Error & { field?: string, reason?: Reason }

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
/** The same for an account with a second factor, which its password doesn't stand in for. */
const ReauthenticateByFactorError = createError(
  'AUTH_REAUTHENTICATE',
  'This needs the second factor, or a login with it of less than 15 minutes ago',
  403,
  Error,
  traced
)
/** What an account with a second factor is asked for, and by which of `factors` it may answer. */
export type AboutFactors = Error & { factors?: string[], challenge?: string, expiresIn?: number }

export function reauthenticateByFactor (factors: string[]): AboutField & AboutFactors {
  return Object.assign(new ReauthenticateByFactorError(), { field: 'totp', factors })
}
export const SecondFactorRequiredError = createError(
  'AUTH_SECOND_FACTOR_REQUIRED',
  'This needs a second factor',
  403,
  Error,
  traced
)
/** `asked`: the challenge of a login and how many seconds it lives, where there is one. */
export function secondFactorRequired (factors: string[], asked: { challenge: string, expiresIn: number } | null = null): AboutFactors {
  return Object.assign(new SecondFactorRequiredError(), { factors, ...asked })
}
const invalidFactor = 'The code is wrong or used, or the challenge is unknown, used, expired, void or from another device'
export const SecondFactorInvalidError = createError('AUTH_SECOND_FACTOR_INVALID', invalidFactor, 401, Error, traced)
/** For a caller who is signed in: a 401 would say that the token is at fault. */
const WrongFactorError = createError('AUTH_SECOND_FACTOR_INVALID', 'The code is wrong, or it has been used', 403, Error, traced)

/** `field`: where the request has the code. */
export function wrongFactor (field: string): AboutField {
  return Object.assign(new WrongFactorError(), { field })
}
export const FactorOwedError = createError(
  'AUTH_SECOND_FACTOR_ENROLMENT',
  'This account must have a second factor: enrol one, or log in again with the one that it has',
  403,
  Error,
  traced
)
export const FactorExistsError = createError(
  'AUTH_FACTOR_EXISTS',
  'The account has one already: remove it first',
  409,
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
export class EmailRejectedError extends createError('AUTH_EMAIL_REJECTED', 'This is no email address', 400, Error, traced) {
  readonly field = 'email'
  readonly reason = 'malformed'
}
/** `why` completes a sentence that begins with "The password"; `field` is where the request has it. */
export class PasswordRejectedError extends createError('AUTH_PASSWORD_REJECTED', 'The password %s', 400, Error, traced) {
  readonly field: string
  readonly reason: PasswordReason

  constructor (why: string, reason: PasswordReason, field = 'password') {
    super(why)
    this.field = field
    this.reason = reason
  }
}
export const MailTokenInvalidError = createError(
  'AUTH_MAIL_TOKEN_INVALID',
  'The token is malformed, unknown, used, expired or void: ask for another mail',
  400,
  Error,
  traced
)
export const SetupTokenInvalidError = createError(
  'AUTH_SETUP_TOKEN_INVALID',
  'The token is malformed, unknown, used, expired or void, or there is an administrator by now',
  400,
  Error,
  traced
)
export class CursorRejectedError extends createError('AUTH_CURSOR_REJECTED', 'The cursor is none that this list gave', 400, Error, traced) {
  readonly field = 'cursor'
  readonly reason = 'malformed'
}
export const InvalidRequestError = errorAboutField('AUTH_INVALID_REQUEST')
/** A field of the request is not as its schema says; Fastify's own code for that. */
export const ValidationError = errorAboutField('FST_ERR_VALIDATION')
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
export const ConflictError = createError('AUTH_CONFLICT', 'It has changed: read it again, and decide anew', 412, Error, traced)
export const TooLargeError = createError('AUTH_TOO_LARGE', 'The data of a session may have 16 KB as JSON without white space', 413, Error, traced)
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

/** A 503 of the database; `detail` says why, for the operator only. */
export function unavailable (detail: string, retryAfterSeconds = 2): Error & { detail: string } {
  return Object.assign(new UnavailableError(), { retryAfterSeconds, detail })
}

/** The 503 where a standby has answered: it may lag, and would accept what the primary has revoked. */
export const standby = () => unavailable('STANDBY')

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

function errorAboutField (code: string) {
  return class extends createError(code, '%s', 400, Error, traced) {
    readonly field: string
    readonly reason: Reason

    constructor (message: string, field: string, reason: Reason) {
      super(message)
      this.field = field
      this.reason = reason
    }
  }
}

/** What a `%s` of the log may say about `error`: never a query, a parameter or a path. */
export function describe (error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && code.length > 0 ? `${error.name} ${code}` : error.name
}
