import Type from 'typebox'
import { Abilities, closed, Email, Id, Moment, Name, nullable, Password, User } from '../schemas.js'

const loginOptions = {
  deviceName: Type.Optional(Name),
  abilities: Type.Optional(Abilities),
  refresh: Type.Optional(Type.Boolean({ default: false, description: 'A short access token with a refresh token; not supported yet' })),
  cookies: Type.Optional(Type.Boolean({ default: false, description: 'Tokens in cookies instead of the body; not supported yet' }))
}

export const RegisterBody = Type.Object({ email: Email, password: Password, name: Type.Optional(Name), ...loginOptions }, closed)
export const LoginBody = Type.Object({ email: Email, password: Password, ...loginOptions }, closed)
export const ChangePasswordBody = Type.Object({ currentPassword: Password, newPassword: Password }, closed)
export const SessionParams = Type.Object({ id: Type.String() })

export const TokenReply = Type.Object({
  tokenType: Type.Literal('Bearer'),
  accessToken: Type.String({ description: 'Shown once; send it as Authorization: Bearer …' }),
  expiresIn: Type.Integer({ description: 'Seconds' }),
  session: Type.Object({ id: Id, deviceName: nullable(Type.String()), createdAt: Moment, expiresAt: Moment }),
  user: User
})

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
  }))
})
