import { hash } from 'node:crypto'
import type { Device } from '../shared/device.js'
import { PlainToken, randomBase62, secretLength } from '../tokens/token.js'

/** Stands for a login whose password was right and whose second factor is asked for. No other route accepts it. */
export type PlainChallenge = PlainToken<'challenge'>

const prefix = 'lkc_'
const secret = new RegExp(`^[0-9A-Za-z]{${secretLength}}$`)

/** A new challenge: the prefix and 256 random bits in base62. */
export function mintChallenge (): PlainChallenge {
  return new PlainToken(prefix + randomBase62(secretLength), 'challenge')
}

/** Null when `candidate` can't be a challenge. */
export function parseChallenge (candidate: string): PlainChallenge | null {
  return candidate.startsWith(prefix) && secret.test(candidate.slice(prefix.length)) ? new PlainToken(candidate, 'challenge') : null
}

/** What a challenge is bound to: the network and the user agent that it was given to. */
export function bindingOf ({ address, userAgent }: Device, networkOf: (address: string) => string): Buffer {
  return Buffer.from(hash('sha256', `${networkOf(address)}\n${userAgent ?? ''}`, 'hex'), 'hex')
}
