import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import { adminRoutes } from './admin/routes.js'
import { auditRoutes } from './audit/routes.js'
import type { Config } from './config/config.js'
import { addCommonHttp, refuseMalformed, refuseUrl } from './http/common.js'
import { addOpenapi } from './http/openapi.js'
import { createAddressLimit } from './http/rate-limit.js'
import { createRequestIds, RequestLogger } from './http/request-log.js'
import { prepareScope } from './http/route-scope.js'
import { serviceRoutes } from './http/routes.js'
import { mailRoutes } from './mail/routes.js'
import { metadataRoutes, oauthRoutes } from './oauth/routes.js'
import { addTraffic } from './observability/metrics.js'
import { findTracing } from './observability/tracing.js'
import { countTraffic } from './observability/traffic.js'
import { personalTokenRoutes } from './personal-tokens/routes.js'
import { serviceTokenRoutes } from './service-tokens/routes.js'
import { createServices, type Services, type Foundation as ServicesFoundation } from './services.js'
import { type Cookies, createCookies } from './sessions/cookies.js'
import { sessionRoutes } from './sessions/routes.js'
import { createAuthenticate } from './tokens/authenticate.js'
import { userRoutes } from './users/routes.js'

/** What the app stands on. */
export interface Foundation extends ServicesFoundation { logger: FastifyBaseLogger }

export interface Latchkey extends Services { app: FastifyInstance }

/** The services behind their routes, as a server of their own. The database is migrated; closing the app closes neither it nor Redis. */
export async function buildApp (config: Config, foundation: Foundation): Promise<Latchkey> {
  const { database, redis, logger } = foundation
  const tracing = findTracing()
  const services = await createServices(config, { ...foundation, tracing })
  const app = fastify({
    loggerInstance: logger,
    trustProxy: config.trustProxy.length > 0 ? config.trustProxy : false,
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    genReqId: createRequestIds(),
    // Two lines a request cost more than the request. What goes wrong is logged all the same.
    logController: new LogController({ disableRequestLogging: !/^(debug|trace)$/.test(config.logLevel) }),
    childLoggerFactory: (parent, bindings, options) => new RequestLogger(parent, bindings, options),
    clientErrorHandler: refuseMalformed,
    frameworkErrors: refuseUrl,
    // Longer than any URL: past it Fastify 5.12 throws outside of any handler.
    routerOptions: { maxParamLength: 65_536 },
    http: { requireHostHeader: false },
    // What still arrives on an open connection is served, and the connection then closed.
    return503OnClosing: false
  })
  tracing?.follow(app)
  if (config.metricsPort !== undefined) addTraffic(services.metrics, countTraffic(app))
  prepareScope(app)
  await addCommonHttp(app, { corsOrigins: config.corsOrigins, embedded: database.embedded, health: services.health })
  await addOpenapi(app, config.publicUrl)
  await app.register(serviceRoutes, services)
  await app.register(metadataRoutes, { config })
  const limitByAddress = await createAddressLimit(app, config.addressLimit, { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
  await addRoutes(app, services, { ...addAuthentication(app, config, services), limitByAddress })
  return { ...services, app }
}

/** What routes ask before they answer. */
export interface Doors extends Authentication { limitByAddress (request: FastifyRequest, reply: FastifyReply): Promise<void> }

interface Authentication { authenticate (request: FastifyRequest): Promise<void>, cookies: Cookies }

/** Gives `app` its `request.token` and `latchkey`, and lets the services run for as long as it does. */
export function addAuthentication (app: FastifyInstance, config: Config, services: Services): Authentication {
  const cookies = createCookies({ secure: config.cookieSecure, publicUrl: config.publicUrl, corsOrigins: config.corsOrigins })
  const authenticate = createAuthenticate(services.tokens, cookies)
  app.decorateRequest('token', null)
  app.decorateRequest('byCookie', false)
  app.decorate('latchkey', { authenticate, health: services.health, metrics: services.metrics })
  app.addHook('onReady', async () => services.start())
  app.addHook('onClose', services.stop)
  return { authenticate, cookies }
}

/** The routes of the API, in a scope that has been prepared for them. */
export async function addRoutes (scope: FastifyInstance, services: Services, doors: Doors): Promise<void> {
  await scope.register(userRoutes, { ...services, ...doors })
  await scope.register(sessionRoutes, { ...services, ...doors })
  await scope.register(personalTokenRoutes, { ...services, ...doors })
  await scope.register(serviceTokenRoutes, { ...services, ...doors })
  await scope.register(oauthRoutes, { ...services, ...doors })
  await scope.register(mailRoutes, { ...services, ...doors })
  await scope.register(auditRoutes, { ...services, ...doors })
  await scope.register(adminRoutes, { ...services, ...doors })
}
