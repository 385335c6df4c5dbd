import Type, { type Static, type TSchema } from 'typebox'
import { InvalidRequestError, type Reason } from '../shared/errors.js'
import type { PageQuery } from '../shared/pagination.js'

/*
 * A schema with a `title` is a component of the OpenAPI document by that name: see components.ts. The `examples` of a body are requests
 * that can be sent as they are.
 */

/** Text for people: no control characters (PostgreSQL refuses NUL, terminals obey ESC), no lone surrogates. */
const printable = '^[^\\p{Cc}\\p{Cs}]*$'

export const Email = Type.String({
  minLength: 3,
  maxLength: 254,
  pattern: '^[^\\s@\\p{Cc}\\p{Cs}]+@[^\\s@\\p{Cc}\\p{Cs}]+$',
  examples: ['ada@example.com'],
  description: 'Two addresses are the same if they are after NFKC and lower case'
})
/** Taken as it is: no trimming, no composition rules. No lone surrogates: in UTF-8 they would all become the same character. */
export const Password = Type.String({ minLength: 1, maxLength: 1024, pattern: '^\\P{Cs}*$', examples: ['correct horse battery staple'] })
/** A password that is being chosen; the password policy decides about it beside this schema. */
export const NewPassword = Type.String({
  ...Password,
  description: 'At least PASSWORD_MIN_LENGTH code points; not common, breached, your address or your name: else 400 AUTH_PASSWORD_REJECTED'
})
/** A code of an authenticator app; people type spaces into it. */
export const TotpCode = Type.String({
  pattern: '^[0-9]{3} ?[0-9]{3}$', examples: ['492039'], description: 'A code of the authenticator app; each works once'
})
export const RecoveryCode = Type.String({
  minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9 -]+$', examples: ['k3x7qa-mm2f4d-zzpw6c-h5tn2e'], description: 'One of the ten; each works once'
})
/** Of accounts with a second factor, beside the password or in its place; one of them is enough. */
export const factorProof = { totp: Type.Optional(TotpCode), recoveryCode: Type.Optional(RecoveryCode) }
export const Name = Type.String({ minLength: 1, maxLength: 200, pattern: printable })
/** RFC 6749 3.3 scope-token. */
export const Ability = Type.String({ minLength: 1, maxLength: 64, pattern: '^[\\x21\\x23-\\x5B\\x5D-\\x7E]+$' })
export const Abilities = Type.Array(Ability, { maxItems: 64, uniqueItems: true, description: 'What the token may do; all (*) when absent' })
export const Id = Type.String({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$', description: 'UUID' })
export const Moment = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' })

/** A string that is one of `words`. */
export const choice = <Word extends string> (words: readonly Word[]) => Type.Unsafe<Word>({ type: 'string', enum: words })

/** `schema` or null, as a list of types: for an `anyOf` the serialiser would run ajv each time to find out which it is. */
export function nullable<T extends TSchema> (schema: T) {
  const { type, enum: words } = schema as { type?: string, enum?: string[] }
  return Type.Unsafe<Static<T> | null>({ ...schema, type: [type, 'null'], ...words === undefined ? {} : { enum: [...words, null] } })
}
export const closed = { additionalProperties: false } as const

const pageOf = (usual: '50' | '100') => Type.Object({
  cursor: Type.Optional(Type.String({ maxLength: 128, description: 'nextCursor of the page before' })),
  limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]?|100)$', default: usual, description: 'Entries on a page, 1 to 100' }))
}, closed)

/** The query of a list that comes in pages. */
export const Page = pageOf('50')
/** The same for lists that most callers want as a whole. */
export const LongPage = pageOf('100')

/** How many entries a page has: 50 unless the query says otherwise. */
export const limitOf = ({ limit = '50' }: { limit?: string }): number => Number(limit)

/** The page that a query of `LongPage` asks for. */
export const longPageOf = ({ cursor, limit = '100' }: Static<typeof LongPage>): PageQuery => ({ cursor, limit: Number(limit) })

/** The point in time that a query gives in `field` as `Moment`, or null; throws InvalidRequestError for one that no database can hold. */
export function momentOf (text: string | undefined, field: string): Date | null {
  if (text === undefined) return null
  const moment = new Date(text)
  const year = moment.getUTCFullYear()
  if (!(year >= 1 && year <= 9999)) throw new InvalidRequestError('There is no such point in time', field, 'out_of_range')
  return moment
}

export const Role = choice(['user', 'admin'])
export const User = Type.Object({
  id: Id, email: Type.String(), emailVerifiedAt: nullable(Moment), name: nullable(Type.String()), role: Role, createdAt: Moment
}, { title: 'User' })
export const SessionSummary = Type.Object({
  id: Id, deviceName: nullable(Type.String()), createdAt: Moment, expiresAt: Moment
}, { title: 'SessionSummary' })

/** Doesn't tell whether there is such an account, nor whether a mail is sent. */
export const Accepted = Type.Object({}, { ...closed, description: 'Accepted; a mail says the rest' })

/** Fastify's shape of an error, with a code that never changes. */
export const Failure = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  error: Type.String(),
  message: Type.String(),
  field: Type.Optional(Type.String({
    description: "Where the caller's password or code goes: with AUTH_REAUTHENTICATE, AUTH_WRONG_PASSWORD and AUTH_SECOND_FACTOR_INVALID"
  })),
  factors: Type.Optional(Type.Array(choice(['totp', 'recovery']), {
    description: 'What the account can answer with: with AUTH_SECOND_FACTOR_REQUIRED, and AUTH_REAUTHENTICATE that asks for a second factor'
  })),
  challenge: Type.Optional(Type.String({ description: 'Of a login: for POST /v1/login/second-factor', examples: ['lkc_…'] })),
  expiresIn: Type.Optional(Type.Integer({ description: 'Seconds that the challenge lives' }))
}, { title: 'Failure' })

/** Which field of the request a 400 is about, where it is about one, and why it is refused. */
export const about = {
  field: Type.Optional(Type.String({ description: 'The field refused, its parents before it with dots; body, query or path for the whole' })),
  reason: Type.Optional(choice<Reason>([
    'missing', 'unknown', 'wrong_type', 'too_short', 'too_long', 'malformed', 'not_allowed', 'duplicate', 'out_of_range',
    'common', 'breached', 'personal'
  ]))
}
const Refusal = Type.Object({ ...Failure.properties, ...about }, { title: 'Refusal' })

/** The failures of a route, for its OpenAPI. */
export function failures (...statuses: number[]) {
  return Object.fromEntries(statuses.map(status => [status, {
    description: titles[status] ?? 'Error', ...status === 400 ? Refusal : Failure
  }]))
}

const titles: Record<number, string> = {
  400: 'Malformed or refused input', 401: 'No token, or none that is live', 403: 'Not allowed', 404: 'Not found', 409: 'Conflict',
  412: 'Not what If-Match says', 413: 'Body too large', 415: 'Not JSON', 429: 'Too many attempts: see Retry-After',
  503: 'Not now: see Retry-After'
}
