import type { AnyPrincipal } from '../tokens/principal.js'

/** SECOND_FACTOR: who must have one. */
export type FactorPolicy = 'optional' | 'admins' | 'everyone'

/** Whether this token may do nothing but enrol: its user must have a second factor, and it was made without one. */
export type OwesFactor = (principal: AnyPrincipal) => boolean

export function createOwesFactor (policy: FactorPolicy): OwesFactor {
  return ({ user, hasFactor }) => !hasFactor && user !== null && (policy === 'everyone' || (policy === 'admins' && user.role === 'admin'))
}
