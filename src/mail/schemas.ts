import Type from 'typebox'
import { closed, Email, NewPassword } from '../http/schemas.js'

const Token = Type.String({ minLength: 1, maxLength: 256, examples: ['lkmv_…'], description: 'Out of the mail; it works once' })

export const ForgotBody = Type.Object({ email: Email }, closed)
export const ResetBody = Type.Object({ token: Token, password: NewPassword }, closed)
export const VerifyBody = Type.Object({ token: Token }, closed)
