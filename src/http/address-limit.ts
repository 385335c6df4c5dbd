import fastifyRateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RateLimiterRes } from 'rate-limiter-flexible'
import type { Limit } from '../config/values.js'
import { type CounterStorage, createCounter } from '../redis/counter.js'
import { addressOf, networkOf } from '../shared/address.js'
import { rateLimited } from '../shared/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether requests count against ADDRESS_LIMIT: all of them, or those for which the function says so. */
    limitByAddress?: true | ((request: FastifyRequest) => boolean)
  }
}

const noHeaders = { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }

/**
 * ADDRESS_LIMIT for the routes declared in `scope` after this call that have `limitByAddress` in their config: one count for a client,
 * whatever the route. With null there is no limit. The plugin counts with our store, because its own fails or limits nobody while
 * Redis is down.
 */
export async function addAddressLimit (scope: FastifyInstance, limit: Limit | null, storage: CounterStorage): Promise<void> {
  if (limit === null) return
  const counter = createCounter(limit, 'address', { ...storage, final: true })
  const { points } = limit

  class Store {
    incr (key: string, callback: (error: Error | null, result?: { current: number, ttl: number }) => void): void {
      const report = (consumed: number, ttl: number) => callback(null, { current: consumed, ttl })
      counter.consume(key).then(
        ({ consumedPoints, msBeforeNext }) => report(consumedPoints, msBeforeNext),
        ({ msBeforeNext = 60_000 }: Partial<RateLimiterRes>) => report(points + 1, msBeforeNext)
      )
    }

    child (): this { return this }
  }

  // The plugin limits each route that has `rateLimit` in its config. The routes don't set it themselves: an application that mounts
  // Latchkey may have registered the plugin too, and its hook, which runs before this one, must not see our options.
  scope.addHook('onRoute', route => {
    const when = route.config?.limitByAddress
    if (when !== undefined) route.config = { ...route.config, rateLimit: when === true ? {} : { allowList: request => !when(request) } }
  })
  await scope.register(fastifyRateLimit, {
    global: false,
    max: points,
    timeWindow: limit.seconds * 1000,
    store: Store,
    keyGenerator: request => networkOf(addressOf(request)),
    addHeaders: noHeaders,
    addHeadersOnExceeding: noHeaders,
    errorResponseBuilder: (_request, { ttl }) => rateLimited(ttl / 1000)
  })
}
