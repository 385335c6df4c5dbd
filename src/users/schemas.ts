import Type from 'typebox'
import {
  closed, Email, factorProof, Id, Moment, Name, nullable, Password, RecoveryCode, SessionSummary, TotpCode, User
} from '../http/schemas.js'

export const Me = Type.Object({
  user: User,
  session: nullable(SessionSummary),
  token: Type.Object({ id: Id, kind: Type.String(), abilities: Type.Array(Type.String()), expiresAt: nullable(Moment) }),
  amr: Type.Array(Type.String(), { description: 'How the session was opened (RFC 8176): pwd, otp; empty for a personal token' }),
  acr: nullable(Type.String({ description: 'aal2: a second factor helped to open the session; aal1: none did. null for a personal token' })),
  emailVerified: Type.Boolean()
}, { title: 'Me' })

export const ChangeBody = Type.Object(
  { name: Type.Optional(nullable(Name)), email: Type.Optional(Email), password: Type.Optional(Password), ...factorProof },
  { ...closed, title: 'AccountChange', examples: [{ name: 'Ada Lovelace' }] }
)

export const Changed = Type.Object({ user: User })

/** The body may be left out shortly after a login. */
export const RemoveBody = Type.Unsafe<{ password?: string, totp?: string, recoveryCode?: string } | null>({
  type: ['object', 'null'],
  properties: { password: Password, totp: TotpCode, recoveryCode: RecoveryCode },
  ...closed,
  examples: [{ password: 'correct horse battery staple' }]
})
