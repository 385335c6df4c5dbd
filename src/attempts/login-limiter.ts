import { createHash } from 'node:crypto'
import type { Limit } from '../config/values.js'
import { type CounterStorage, consume, createCounter } from '../redis/counter.js'
import { networkOf } from '../shared/address.js'

/** LOGIN_LIMIT: attempts on an account from one network. `consume` throws RateLimitedError past the limit; a success clears the count. */
export function createLoginLimiter (limit: Limit, storage: CounterStorage) {
  const counter = createCounter(limit, 'login', { ...storage, final: false })
  return {
    consume: (email: string, address: string): Promise<void> => consume(counter, loginKey(email, address)),
    async clear (email: string, address: string): Promise<void> {
      await counter.delete(loginKey(email, address)).catch(() => {})
    }
  }
}

/** The key of an account and a network in Redis: a hash, so that no email address can be read there. */
export function loginKey (email: string, address: string): string {
  return createHash('sha256').update(`${email}\n${networkOf(address)}`).digest('base64url')
}
