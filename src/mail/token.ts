import { PlainToken, randomBase62, secretLength } from '../tokens/token.js'

/** What an app does with the token of a mail. The token's prefix says which, so a link needs no other parameter. */
export type MailPurpose = 'reset' | 'verify'

/** A token that one mail carries. Only the routes for mail tokens accept it. */
export type MailToken = PlainToken<MailPurpose>

const prefixes: Record<MailPurpose, string> = { reset: 'lkmr_', verify: 'lkmv_' }
const secret = new RegExp(`^[0-9A-Za-z]{${secretLength}}$`)

/** A new token: the prefix and 256 random bits in base62. */
export function mintMailToken (purpose: MailPurpose): MailToken {
  return new PlainToken(prefixes[purpose] + randomBase62(secretLength), purpose)
}

/** Null when `candidate` can't be a token for this purpose. */
export function parseMailToken (candidate: string, purpose: MailPurpose): MailToken | null {
  const prefix = prefixes[purpose]
  return candidate.startsWith(prefix) && secret.test(candidate.slice(prefix.length)) ? new PlainToken(candidate, purpose) : null
}
