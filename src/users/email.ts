import { EmailRejectedError } from '../shared/errors.js'

/** The one spelling of an address under which its account is stored: NFKC, lower case, and a final sigma as a plain sigma. */
export function normaliseEmail (email: string): string {
  return email.normalize('NFKC').toLowerCase().replaceAll('ς', 'σ')
}

/** The same for an address that an account is to have. Throws EmailRejectedError. */
export function requireEmail (email: string): string {
  const address = normaliseEmail(email)
  // NFKC can turn a single character into several, a space or an @ among them.
  if (!/^[^\s@]+@[^\s@]+$/.test(address)) throw new EmailRejectedError()
  return address
}
