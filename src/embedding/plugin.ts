import type { FastifyPluginAsync } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { addAuthentication, addRoutes } from '../app.js'
import { loadConfig } from '../config/config.js'
import { openFoundation } from '../foundation.js'
import { addAddressLimit } from '../http/address-limit.js'
import { addMountedHeaders } from '../http/headers.js'
import { addRedisClient } from '../http/redis-client.js'
import { prepareScope } from '../http/route-scope.js'
import { describeRequest } from '../observability/logger.js'
import { findTracing } from '../observability/tracing.js'
import { createServices } from '../services.js'
import { type Opener, rememberInstance } from './instances.js'

/** How to mount Latchkey. */
export interface LatchkeyOptions {
  /** Goes before the routes: `/auth` makes `/auth/v1/login`. */
  prefix?: string
  /** The variables of the README's table; by default those of the process. */
  env?: Record<string, string | undefined>
}

/** Fastify's types want serialisers that return strings, though its own return objects. */
const logSerializers = { req: describeRequest as unknown as (request: unknown) => string }

type TestOptions = LatchkeyOptions & { open?: Opener }

/**
 * Mounts Latchkey in an application: its routes below `prefix`, in a scope of their own; `request.token`, `authenticate` and
 * `requireAbility` for the application's routes, and `app.redis` where REDIS_URL is set. Opens and migrates the database, and closes
 * it with the application.
 */
export const latchkey: FastifyPluginAsync<LatchkeyOptions> = fastifyPlugin(async (host, options: TestOptions) => {
  const { prefix = '', env, open = openFoundation } = options
  // The application has its own.
  const config = { ...loadConfig(env), pages: false }
  const foundation = await open(config, host.log)
  host.addHook('onClose', foundation.close)
  const services = await createServices(config, { ...foundation, logger: host.log, tracing: findTracing() })
  await addRedisClient(host, foundation.redis?.limiter ?? null)
  const authentication = addAuthentication(host, config, services)
  rememberInstance(host, { ...foundation, config, services })

  await host.register(async scope => {
    prepareScope(scope)
    addMountedHeaders(scope)
    await addAddressLimit(scope, config.addressLimit, { redis: foundation.redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
    await addRoutes(scope, services, authentication)
  }, { prefix, logSerializers })
}, { fastify: '5.x', name: 'latchkey' })
