import { randomFillSync } from 'node:crypto'
import { Recent } from '../shared/repeat-cache.js'
import { type AnyPrincipal, frozen, isPrincipal } from '../tokens/principal.js'

const nonceBytes = 12
const random = Buffer.alloc(nonceBytes * 512)
let used = random.length

/** 96 random bits: nobody else's compare-and-set matches it. They are drawn many at a time, as each call of the system costs. */
export function newLease (): string {
  if (used === random.length) {
    randomFillSync(random)
    used = 0
  }
  used += nonceBytes
  return `L${random.toString('base64url', used - nonceBytes, used)}`
}

/**
 * Reads entries: an entry that is the same text as at the last look-up is the same principal, which costs a comparison in place of parsing and
 * checking it. What is remembered is what a text means, never whether it counts: that is the cache's to say, each time.
 */
export function createReader () {
  const last = new Recent<{ json: string, principal: AnyPrincipal }>()
  return {
    read (key: string, json: string): AnyPrincipal | null {
      const same = last.get(key)
      if (same?.json === json) return same.principal
      const principal = parseEntry(json)
      if (principal !== null) last.set(key, { json, principal })
      return principal
    }
  }
}

/** Null for whatever isn't an entry of ours, in whole: the database will know. */
function parseEntry (json: string): AnyPrincipal | null {
  try {
    const entry: unknown = JSON.parse(json)
    return isPrincipal(entry) ? frozen(entry) : null
  } catch {
    return null
  }
}
