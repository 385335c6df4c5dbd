import Type from 'typebox'
import { closed, Moment, nullable, Password, RecoveryCode, TotpCode } from '../http/schemas.js'

/** What proves that the caller is the owner; the body may be left out shortly after a login by the strongest factor. */
export const ProofBody = Type.Unsafe<{ password?: string, totp?: string, recoveryCode?: string } | null>({
  type: ['object', 'null'],
  properties: {
    password: { ...Password, description: 'Of accounts without a second factor' },
    totp: TotpCode,
    recoveryCode: RecoveryCode
  },
  ...closed,
  examples: [{ password: 'correct horse battery staple' }]
})

export const ConfirmBody = Type.Object({ code: TotpCode }, { ...closed, title: 'TotpConfirmation', examples: [{ code: '492039' }] })

export const FactorList = Type.Object({
  totp: nullable(Type.Object({ confirmedAt: Moment })),
  recoveryCodesLeft: Type.Integer()
}, { title: 'Factors' })

export const NewTotp = Type.Object({
  secret: Type.String({ description: 'Base32, for typing; shown once' }),
  uri: Type.String({ description: 'otpauth://totp/…, for a QR code' })
}, { title: 'NewTotp' })

export const RecoveryCodes = Type.Object({
  recoveryCodes: Type.Array(Type.String(), { description: 'Ten, shown once; earlier ones are void' })
}, { title: 'RecoveryCodes' })
