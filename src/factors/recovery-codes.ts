import { hash, randomBytes } from 'node:crypto'

const howMany = 10
const letters = 'abcdefghijklmnopqrstuvwxyz234567'
/** 120 bits: from 112 on a plain hash is enough for look-up secrets (NIST SP 800-63B-4 3.1.2.2). */
const length = 24

/** Ten new codes, as people see them: four groups of six letters and digits. */
export function newRecoveryCodes (): string[] {
  return Array.from({ length: howMany }, () =>
    Array.from(randomBytes(length), byte => letters[byte % 32]).join('').replace(/(.{6})(?=.)/g, '$1-'))
}

/** What the database knows a code by. Spaces, hyphens and capitals don't count. Bound to its user: no two accounts share a row. */
export function hashRecoveryCode (userId: string, code: string): Buffer {
  return Buffer.from(hash('sha256', `recovery:${userId}:${code.toLowerCase().replace(/[\s-]+/g, '')}`, 'hex'), 'hex')
}
