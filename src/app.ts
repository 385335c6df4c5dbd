import { randomUUID } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { adminRoutes } from './admin/routes.js'
import { auditRoutes } from './audit/routes.js'
import type { Config } from './config.js'
import { addCommonHttp, addJsonBodies, refuseMalformed, refuseUrl } from './edges/http.js'
import { addOpenapi } from './edges/openapi.js'
import { createAddressLimit } from './edges/rate-limit.js'
import { personalTokenRoutes } from './personal-tokens/routes.js'
import { serviceRoutes } from './routes.js'
import { createServices, type Services, type Foundation as ServicesFoundation } from './services.js'
import { createCookies } from './sessions/cookies.js'
import { sessionRoutes } from './sessions/routes.js'
import { createAuthenticate } from './tokens/authenticate.js'
import { userRoutes } from './users/routes.js'

/** What the app stands on. */
export interface Foundation extends ServicesFoundation { logger: FastifyBaseLogger }

export interface Latchkey extends Services { app: FastifyInstance }

/** The services behind their routes. The database is migrated; closing the app closes neither it nor Redis. */
export async function buildApp (config: Config, foundation: Foundation): Promise<Latchkey> {
  const { database, redis, logger } = foundation
  const services = await createServices(config, foundation)
  const app = fastify({
    loggerInstance: logger,
    trustProxy: config.trustProxy.length > 0 ? config.trustProxy : false,
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    genReqId: () => randomUUID(),
    clientErrorHandler: refuseMalformed,
    frameworkErrors: refuseUrl,
    // Longer than any URL: past it Fastify 5.12 throws outside of any handler.
    routerOptions: { maxParamLength: 65_536 },
    http: { requireHostHeader: false },
    // What still arrives on an open connection is served, and the connection then closed.
    return503OnClosing: false,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } }
  })
  app.decorateRequest('token', null)
  app.decorateRequest('byCookie', false)
  await app.register(fastifyCookie, { hook: false })
  const cookies = createCookies({ app, secure: config.cookieSecure, publicUrl: config.publicUrl, corsOrigins: config.corsOrigins })
  const authenticate = createAuthenticate(services.tokens, cookies)
  addJsonBodies(app)
  await addCommonHttp(app, { corsOrigins: config.corsOrigins, embedded: database.embedded })
  await addOpenapi(app, config.publicUrl)
  const limitByAddress = await createAddressLimit(app, config.addressLimit, { redis, keyPrefix: config.redisKeyPrefix })

  await app.register(serviceRoutes, services)
  await app.register(userRoutes, { ...services, cookies, authenticate })
  await app.register(sessionRoutes, { ...services, cookies, authenticate, limitByAddress })
  await app.register(personalTokenRoutes, { ...services, authenticate })
  await app.register(auditRoutes, { ...services, authenticate })
  await app.register(adminRoutes, { ...services, authenticate })

  app.addHook('onReady', async () => services.start())
  app.addHook('onClose', services.stop)
  return { ...services, app }
}
