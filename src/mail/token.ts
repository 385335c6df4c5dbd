import { PlainToken, randomBase62, secretLength } from '../tokens/token.js'

/** What an app does with a token out of a mail: the prefix tells, so a link needs nothing beside it. */
export type MailPurpose = 'reset' | 'verify'

/** A token that leaves in one mail; the other routes know nothing of it. */
export type MailToken = PlainToken<MailPurpose>

const prefixes: Record<MailPurpose, string> = { reset: 'lkmr_', verify: 'lkmv_' }
const secret = new RegExp(`^[0-9A-Za-z]{${secretLength}}$`)

/** A fresh token: prefix and 256 random bits in base62. */
export function mintMailToken (purpose: MailPurpose): MailToken {
  return new PlainToken(prefixes[purpose] + randomBase62(secretLength), purpose)
}

/** Null for whatever cannot be a token for this purpose. */
export function parseMailToken (candidate: string, purpose: MailPurpose): MailToken | null {
  const prefix = prefixes[purpose]
  return candidate.startsWith(prefix) && secret.test(candidate.slice(prefix.length)) ? new PlainToken(candidate, purpose) : null
}
