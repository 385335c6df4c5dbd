import { type PasswordReason, PasswordRejectedError } from '../shared/errors.js'
import { commonPasswords } from './common-passwords.js'
import type { User } from './user.js'

/** Whether a password is known from breaches; false when the answer doesn't come in time. */
export type BreachCheck = (password: string) => Promise<boolean>

/** Code points that must remain of a password without the words of its owner's address and name. */
const minRemaining = 5

/** What a new password must meet. Existing passwords and imported hashes are not checked. */
export interface PasswordPolicy {
  /**
   * Throws PasswordRejectedError, which says why and names the field. No rules of composition: they make passwords worse
   * (NIST SP 800-63B 3.1.1.2).
   */
  requireAcceptable (password: string, owner: Pick<User, 'email' | 'name'>, field?: 'password' | 'newPassword'): Promise<void>
}

export function createPasswordPolicy ({ minLength, isBreached }: { minLength: number, isBreached: BreachCheck }): PasswordPolicy {
  const common = new Set(commonPasswords.map(fold).filter(password => lengthOf(password) >= minLength))

  return {
    async requireAcceptable (password, owner, field) {
      const refuse = (why: string, reason: PasswordReason) => { throw new PasswordRejectedError(why, reason, field) }
      if (lengthOf(password) < minLength) refuse(`must have at least ${minLength} characters`, 'too_short')
      if (common.has(fold(password))) refuse('is one of the most common ones: choose another', 'common')
      if (isOwnersWords(fold(password), owner)) refuse('must be more than your email address or name', 'personal')
      if (await isBreached(password)) refuse('is known from a data breach: choose another', 'breached')
    }
  }
}

/** In code points, the closest to what people call characters (NIST SP 800-63B 3.1.1.2). */
function lengthOf (password: string): number {
  return [...password.normalize('NFC')].length
}

function fold (text: string): string {
  return text.normalize('NFC').toLowerCase()
}

/** Whether too little is left of `password` without the words of its owner's address and name. */
function isOwnersWords (password: string, { email, name }: Pick<User, 'email' | 'name'>): boolean {
  const address = fold(email)
  const at = address.lastIndexOf('@')
  const [local, domain, called] = [address.slice(0, at), address.slice(at + 1), fold(name ?? '')]
  const words = [
    address,
    local,
    domain,
    called,
    ...[local, domain, called].flatMap(text => text.split(/[^\p{L}\p{M}\p{N}]+/u)),
    called.replace(/\s+/g, '')
  ]
  const left = words.filter(word => lengthOf(word) >= 3).sort((one, other) => other.length - one.length)
    .reduce((rest, word) => rest.replaceAll(word, ''), password)
  return left !== password && lengthOf(left.replace(/[\s._+-]+/g, '')) < minRemaining
}
