import { createHash } from 'node:crypto'
import type { Log } from '../observability/logger.js'
import { describe } from '../shared/errors.js'
import type { BreachCheck } from './password-policy.js'

/** A registration waits for the answer. */
const timeoutMs = 1_000
/** A padded answer is about 40 KB long. */
const maxBytes = 1_048_576

/**
 * Asks a k-anonymity range API whether a password is known from breaches. The server only learns the first five hexadecimal digits of its
 * SHA-1, which about a thousand passwords share, and padding hides the size of the answer (Add-Padding). Without a `url` nothing is asked.
 */
export function createBreachCheck (url: string | null, log: Pick<Log, 'warn'>): BreachCheck {
  if (url === null) return async () => false
  const base = url.replace(/\/*$/, '/')

  return async password => {
    const digest = createHash('sha1').update(password.normalize('NFC')).digest('hex').toUpperCase()
    try {
      const counts = await fetchRange(base + digest.slice(0, 5))
      return (counts.get(digest.slice(5)) ?? 0) > 0
    } catch (error) {
      log.warn(
        { failure: describe(error instanceof Error && error.cause instanceof Error ? error.cause : error) },
        'the breached-password service did not answer: the local list alone decided'
      )
      return false
    }
  }
}

/** How often each suffix was seen; padding has 0. Throws unless a complete and valid answer comes in time. */
async function fetchRange (url: string): Promise<Map<string, number>> {
  const signal = AbortSignal.timeout(timeoutMs)
  const reply = await fetch(
    url,
    { signal, redirect: 'error', headers: { 'add-padding': 'true', accept: 'text/plain', 'user-agent': 'latchkey' } }
  )
  if (reply.status !== 200 || reply.body === null) {
    await reply.body?.cancel()
    throw new Error('not a range')
  }
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of reply.body) {
    size += part.length
    if (size > maxBytes) throw new Error('too long')
    parts.push(part)
  }
  const lines = Buffer.concat(parts).toString('latin1').split(/\r?\n/).filter(line => line !== '')
  return new Map(lines.map(line => {
    const [, suffix, count] = /^([0-9A-Fa-f]{35}):(\d{1,15})$/.exec(line) ?? []
    if (suffix === undefined) throw new Error('not a range')
    return [suffix.toUpperCase(), Number(count)]
  }))
}
