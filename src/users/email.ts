import { EmailRejectedError } from '../shared/errors.js'

/** The one spelling of an address under which its account is stored: NFKC, lower case, and a final sigma as a plain sigma. */
export function normaliseEmail (email: string): string {
  return email.normalize('NFKC').toLowerCase().replaceAll('ς', 'σ')
}

/**
 * Whether a normalised address can be an account's. NFKC can turn one character into several, a space or an @ among them, and 254 into
 * thousands.
 */
export const isAddress = (address: string): boolean => [...address].length <= 254 && /^[^\s@]+@[^\s@]+$/.test(address)

/** The same for an address that an account is to have. Throws EmailRejectedError. */
export function requireEmail (email: string): string {
  const address = normaliseEmail(email)
  if (!isAddress(address)) throw new EmailRejectedError()
  return address
}
