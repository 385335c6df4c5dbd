import fastifyRedis from '@fastify/redis'
import type { FastifyInstance } from 'fastify'
import type { OpenRedis } from '../redis/open.js'

/**
 * Sets `app.redis` to our client, through @fastify/redis; an `app.redis` that is already there stays. Never waits for Redis, and closing
 * the app does not close the client.
 */
export async function addRedisClient (app: FastifyInstance, client: OpenRedis['limiter'] | null): Promise<void> {
  if (client === null || app.hasDecorator('redis')) return
  let registering = true
  // The plugin waits for a client that is not ready: the boot would fail while Redis is away. It also quits a client that ends meanwhile.
  const alwaysReady = new Proxy(client, {
    get (target, name) {
      if (registering && name === 'status') return 'ready'
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) as unknown : value
    }
  })
  await app.register(fastifyRedis, { client: alwaysReady as FastifyInstance['redis'] })
  registering = false
}
