import Type from 'typebox'
import {
  Abilities, closed, Email, factorProof, Id, Moment, Name, NewPassword, nullable, Password, SessionSummary, User
} from '../http/schemas.js'
import type { ListPage } from '../shared/pagination.js'
import type { IssuedTokens } from './opening.js'
import type { Session } from './service.js'

const loginOptions = {
  deviceName: Type.Optional(Name),
  abilities: Type.Optional(Abilities),
  refresh: Type.Optional(Type.Boolean({ default: false, description: 'A short access token, and a refresh token to renew it with' })),
  cookies: Type.Optional(Type.Boolean({
    default: false,
    description: 'Tokens in HttpOnly cookies instead of the body: for a single-page app on the same site'
  }))
}

export const RegisterBody = Type.Object({ email: Email, password: NewPassword, name: Type.Optional(Name), ...loginOptions }, {
  ...closed,
  title: 'Registration',
  examples: [{ email: 'ada@example.com', password: 'correct horse battery staple', name: 'Ada', deviceName: "Ada's phone" }]
})
export const LoginBody = Type.Object({ email: Email, password: Password, ...loginOptions }, {
  ...closed,
  title: 'Login',
  examples: [{ email: 'ada@example.com', password: 'correct horse battery staple', deviceName: "Ada's laptop" }]
})
export const SecondStepBody = Type.Object({
  challenge: Type.String({ minLength: 1, maxLength: 256, examples: ['lkc_…'], description: 'Out of the answer to POST /v1/login' }),
  ...factorProof,
  ...loginOptions
}, {
  ...closed,
  title: 'SecondStep',
  examples: [{ challenge: 'lkc_…', totp: '492039', deviceName: "Ada's laptop" }]
})
export const ChangePasswordBody = Type.Object({
  currentPassword: Password,
  newPassword: NewPassword,
  revokePersonalTokens: Type.Optional(Type.Boolean({ default: false }))
}, {
  ...closed,
  title: 'PasswordChange',
  examples: [{ currentPassword: 'correct horse battery staple', newPassword: 'seven quiet lanterns at noon' }]
})
/** Optional as a whole: a cookie or a header may be enough. */
export const RefreshBody = Type.Unsafe<{ refreshToken?: string } | null>({
  type: ['object', 'null'],
  properties: { refreshToken: Type.String({ maxLength: 256 }) },
  ...closed,
  examples: [{ refreshToken: 'lkr_…' }]
})
export const SessionParams = Type.Object({ id: Type.String() })

export const TokenReply = Type.Object({
  tokenType: Type.Literal('Bearer'),
  accessToken: Type.Optional(Type.String({ description: 'Shown once; send it as Authorization: Bearer …. Absent when cookies carry it' })),
  expiresIn: Type.Integer({ description: 'Seconds' }),
  refreshToken: Type.Optional(Type.String({ description: 'With refresh: true; absent when cookies carry it' })),
  refreshExpiresIn: Type.Optional(Type.Integer({ description: 'Seconds; with refresh: true' })),
  session: SessionSummary,
  user: User,
  endedSessions: Type.Integer({ description: 'Sessions that ended for this one: by SESSION_LIMIT, or by a changed password' })
}, { title: 'Tokens' })

/** Tokens as replies show them: not at all where cookies carry them. */
export const toTokenReply = ({ access, refresh, session, user, endedSessions }: IssuedTokens, byCookie: boolean) => ({
  tokenType: 'Bearer' as const,
  ...byCookie ? {} : { accessToken: access.plain.reveal() },
  expiresIn: access.expiresInSeconds,
  ...refresh === null ? {} : { ...byCookie ? {} : { refreshToken: refresh.plain.reveal() }, refreshExpiresIn: refresh.expiresInSeconds },
  session: {
    id: session.id,
    deviceName: session.deviceName,
    createdAt: session.createdAt.toISOString(),
    expiresAt: session.expiresAt.toISOString()
  },
  user,
  endedSessions
})

/** All null where no live token came. */
export const CurrentSession = Type.Object({
  user: nullable(User),
  session: nullable(SessionSummary),
  refreshable: Type.Boolean({ description: 'A refresh cookie came along: POST /v1/refresh may open a session again' }),
  expiresIn: Type.Optional(Type.Integer({ description: 'Seconds that the access token still lives, where there is a session' }))
}, { title: 'CurrentSession' })

export const SessionList = Type.Object({
  sessions: Type.Array(Type.Object({
    id: Id,
    deviceName: nullable(Type.String()),
    userAgent: nullable(Type.String()),
    ip: nullable(Type.String()),
    createdAt: Moment,
    lastUsedAt: Moment,
    expiresAt: Moment,
    current: Type.Boolean()
  }, { title: 'Session' })),
  nextCursor: nullable(Type.String())
})

/** A page of sessions as replies show it; `current` is the id of the caller's own. */
export const toSessionList = ({ entries, nextCursor }: ListPage<Session>, current: string | undefined) =>
  ({ sessions: entries.map(session => toSession(session, current)), nextCursor })

/** A session as replies show it; `current` is the id of the caller's own. */
export const toSession = ({ createdAt, lastUsedAt, expiresAt, ...session }: Session, current: string | undefined) => ({
  ...session,
  createdAt: createdAt.toISOString(),
  lastUsedAt: lastUsedAt.toISOString(),
  expiresAt: expiresAt.toISOString(),
  current: session.id === current
})
