import { dictionary } from '@zxcvbn-ts/language-common'

/** Passwords that many people have, most frequent first, in lower case: tens of thousands, from public breaches. */
export const commonPasswords: readonly string[] = dictionary['passwords-common']
