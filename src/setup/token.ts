import { PlainToken, randomBase62, secretLength } from '../tokens/token.js'

/** The secret of the link that makes the first administrator. */
export type SetupToken = PlainToken<'setup'>

const prefix = 'lksu_'
const secret = new RegExp(`^[0-9A-Za-z]{${secretLength}}$`)

/** A new token: the prefix and 256 random bits in base62. */
export function mintSetupToken (): SetupToken {
  return new PlainToken(prefix + randomBase62(secretLength), 'setup')
}

/** Null when `candidate` can't be such a token. */
export function parseSetupToken (candidate: string): SetupToken | null {
  return candidate.startsWith(prefix) && secret.test(candidate.slice(prefix.length)) ? new PlainToken(candidate, 'setup') : null
}
