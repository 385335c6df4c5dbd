import { createHash } from 'node:crypto'
import type { Log } from '../observability/logger.js'
import { describe } from '../shared/errors.js'
import type { BreachCheck } from './password-policy.js'

/** A registration waits for it. */
const patienceMs = 1_000
/** A padded answer has about 40 KB. */
const longestBytes = 1_048_576

/**
 * Asks a range API whether a password is known from breaches. The server learns the first five hexadecimal digits of its SHA-1, which a thousand
 * others share, and how long the answer is tells nothing (Add-Padding). Null: nobody is asked.
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
      log.warn({ failure: describe(error instanceof Error && error.cause instanceof Error ? error.cause : error) }, 'the breached-password service did not answer: the local list alone decided')
      return false
    }
  }
}

/** How often each suffix was seen; padding has 0. Throws on anything else than such an answer, whole and in time. */
async function fetchRange (url: string): Promise<Map<string, number>> {
  const signal = AbortSignal.timeout(patienceMs)
  const reply = await fetch(url, { signal, redirect: 'error', headers: { 'add-padding': 'true', accept: 'text/plain', 'user-agent': 'latchkey' } })
  if (reply.status !== 200 || reply.body === null) {
    await reply.body?.cancel()
    throw new Error('no range')
  }
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of reply.body) {
    size += part.length
    if (size > longestBytes) throw new Error('too long')
    parts.push(part)
  }
  const lines = Buffer.concat(parts).toString('latin1').split(/\r?\n/).filter(line => line !== '')
  return new Map(lines.map(line => {
    const [, suffix, count] = /^([0-9A-Fa-f]{35}):(\d{1,15})$/.exec(line) ?? []
    if (suffix === undefined) throw new Error('no range')
    return [suffix.toUpperCase(), Number(count)]
  }))
}
