import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest, LogController } from 'fastify'
import { adminRoutes } from './admin/routes.js'
import { auditRoutes } from './audit/routes.js'
import type { Config } from './config/config.js'
import { ownOrigins } from './config/values.js'
import { factorRoutes } from './factors/routes.js'
import { createForwardedReader, isUnsafe } from './forward-auth/forwarded.js'
import { forwardAuthRoutes } from './forward-auth/routes.js'
import { createSignIn } from './forward-auth/sign-in.js'
import { addAddressLimit } from './http/address-limit.js'
import { addCors } from './http/cors.js'
import { answerNotFound } from './http/errors.js'
import { addCommonHeaders, closeConnectionsOnLeave } from './http/headers.js'
import { refuseMalformed, refuseUnclearRequests, refuseUrl } from './http/malformed.js'
import { addOpenapi } from './http/openapi.js'
import { createPageLog } from './http/page-log.js'
import { addRedisClient } from './http/redis-client.js'
import { createRequestIds, RequestLogger } from './http/request-log.js'
import { prepareScope } from './http/route-scope.js'
import { serviceRoutes } from './http/routes.js'
import { mailRoutes } from './mail/routes.js'
import { introspectionsRoute, metadataRoutes, oauthRoutes } from './oauth/routes.js'
import { addTraffic } from './observability/metrics.js'
import { findTracing } from './observability/tracing.js'
import { countTraffic } from './observability/traffic.js'
import { createPages } from './pages/index.js'
import { pageRoutes } from './pages/routes.js'
import { personalTokenRoutes } from './personal-tokens/routes.js'
import { serviceTokenRoutes } from './service-tokens/routes.js'
import { createServices, type Services, type Foundation as ServicesFoundation } from './services.js'
import { createSessionDataAccess } from './session-data/for-handlers.js'
import { sessionDataRoutes } from './session-data/routes.js'
import { type Cookies, createCookies } from './sessions/cookies.js'
import { sessionRoutes } from './sessions/routes.js'
import { setupRoutes } from './setup/routes.js'
import { createNetworkMatcher } from './shared/address.js'
import { systemClock } from './shared/clock.js'
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
    trustProxy: config.trustProxy.length > 0 ? createNetworkMatcher(config.trustProxy) : false,
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
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
  closeConnectionsOnLeave(app, services.health)
  addCommonHeaders(app)
  refuseUnclearRequests(app)
  const pages = createPageLog({ secure: config.cookieSecure, clock: foundation.clock ?? systemClock })
  addCors(app, { origins: config.corsOrigins, headers: config.corsHeaders, embedded: database.embedded, pages })
  app.setNotFoundHandler((_request, reply) => { answerNotFound(reply) })
  await addOpenapi(app, config.publicUrl)
  await addRedisClient(app, redis?.limiter ?? null)
  await app.register(serviceRoutes, services)
  await app.register(metadataRoutes, { config })
  await addAddressLimit(app, config.addressLimit, { redis: redis?.limiter ?? null, keyPrefix: config.redisKeyPrefix })
  await addRoutes(app, services, addAuthentication(app, config, services, pages))
  if (config.pages) await addPages(app, config)
  return { ...services, app }
}

async function addPages (app: FastifyInstance, config: Config): Promise<void> {
  const pages = createPages(config, ownOrigins(config))
  if (pages === null) app.log.warn('/account and /admin are missing, because they have not been built: npm run build')
  else await app.register(pageRoutes, { pages })
}

/** What routes use to find out whose request they answer. */
export interface Authentication {
  authenticate (request: FastifyRequest): Promise<void>
  cookies: Cookies
  forwardAuth: Parameters<typeof forwardAuthRoutes>[1]['forwardAuth']
}

/** Gives `app` its `request.token` and `latchkey`, and lets the services run for as long as it does. */
export function addAuthentication (
  app: FastifyInstance, config: Config, services: Services, pages = createPageLog({ secure: config.cookieSecure, clock: systemClock })
): Authentication {
  const { tokens, sessions: { isReplaced }, owesFactor } = services
  const origins = ownOrigins(config)
  const cookies = createCookies({ secure: config.cookieSecure, origins, pages })
  const authenticate = createAuthenticate(tokens, cookies, { isReplaced, owesFactor })
  const forwarded = createForwardedReader(config.trustProxy)
  const forwardAuth = {
    authenticate: createAuthenticate(tokens, cookies, { isReplaced, owesFactor }, request => isUnsafe(forwarded(request), request)),
    forwarded,
    signIn: createSignIn(config, origins)
  }
  app.decorateRequest('token', null)
  app.decorateRequest('byCookie', false)
  app.decorate('latchkey', {
    authenticate,
    health: services.health,
    metrics: services.metrics,
    sessionData: createSessionDataAccess(services.sessionData)
  })
  app.addHook('onReady', async () => services.start())
  app.addHook('onClose', services.stop)
  return { authenticate, cookies, forwardAuth }
}

/** The routes of the API, in a scope that has been prepared for them. */
export async function addRoutes (scope: FastifyInstance, services: Services, authentication: Authentication): Promise<void> {
  await scope.register(userRoutes, { ...services, ...authentication })
  await scope.register(sessionRoutes, { ...services, ...authentication })
  await scope.register(sessionDataRoutes, { ...services, ...authentication })
  await scope.register(factorRoutes, { ...services, ...authentication })
  await scope.register(personalTokenRoutes, { ...services, ...authentication })
  await scope.register(serviceTokenRoutes, { ...services, ...authentication })
  await scope.register(oauthRoutes, { ...services, ...authentication })
  await scope.register(introspectionsRoute, services)
  await scope.register(forwardAuthRoutes, authentication)
  await scope.register(mailRoutes, { ...services, ...authentication })
  await scope.register(auditRoutes, { ...services, ...authentication })
  await scope.register(adminRoutes, { ...services, ...authentication })
  await scope.register(setupRoutes, { ...services, ...authentication })
}
