import Type from 'typebox'
import { closed, Email, Id, Moment, Name, nullable, Password, SessionSummary, User } from '../http/schemas.js'

export const Me = Type.Object({
  user: User,
  session: nullable(SessionSummary),
  token: Type.Object({ id: Id, kind: Type.String(), abilities: Type.Array(Type.String()), expiresAt: nullable(Moment) })
}, { title: 'Me' })

export const ChangeBody = Type.Object(
  { name: Type.Optional(nullable(Name)), email: Type.Optional(Email), password: Type.Optional(Password) },
  { ...closed, title: 'AccountChange', examples: [{ name: 'Ada Lovelace' }] }
)

export const Changed = Type.Object({ user: User })

/** The body may be left out shortly after a login. */
export const RemoveBody = Type.Unsafe<{ password?: string } | null>({
  type: ['object', 'null'],
  properties: { password: Password },
  ...closed,
  examples: [{ password: 'correct horse battery staple' }]
})
