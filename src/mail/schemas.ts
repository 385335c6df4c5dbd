import Type from 'typebox'
import { closed, Email, factorProof, NewPassword, Password } from '../http/schemas.js'

const Token = Type.String({ minLength: 1, maxLength: 256, examples: ['lkmv_…'], description: 'Out of the mail; it works once' })

export const ForgotBody = Type.Object({ email: Email }, { ...closed, title: 'Forgotten', examples: [{ email: 'ada@example.com' }] })
export const ResetBody = Type.Object({
  token: Token,
  password: NewPassword,
  keepPersonalTokens: Type.Optional(Type.Boolean({
    default: false,
    description: 'Keeps personal tokens made after the address was verified and before the reset was asked for; others end'
  })),
  ...factorProof
}, { ...closed, title: 'PasswordReset', examples: [{ token: 'lkmr_…', password: 'seven quiet lanterns at noon' }] })
export const VerifyBody = Type.Object({
  token: Token,
  password: Type.Optional(Type.String({ ...Password, description: 'For a registration: the password that was chosen then' }))
}, { ...closed, title: 'Verification', examples: [{ token: 'lkmv_…' }] })
