import { dictionary } from '@zxcvbn-ts/language-common'

/** Tens of thousands of passwords from public breaches, the most frequent first, in lower case. */
export const commonPasswords: readonly string[] = dictionary['passwords-common']
