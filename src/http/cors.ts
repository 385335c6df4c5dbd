import type { FastifyInstance, FastifyReply } from 'fastify'
import { isWebOrigin } from '../config/values.js'
import { answerNotFound } from './errors.js'
import type { PageLog } from './page-log.js'

const methods = 'GET, POST, PUT, PATCH, DELETE'
/** The last three are what browsers' tracing sends (W3C Trace Context, Baggage). */
const requestHeaders = ['Authorization', 'Content-Type', 'traceparent', 'tracestate', 'baggage']
/** Conditions (RFC 9110 13.1): allowed where they are asked for, since one route alone knows them. */
const conditions = ', If-Match, If-None-Match'
const exposedHeaders = 'ETag, Retry-After, WWW-Authenticate'
const preflightSeconds = 600

/** `headers` may be sent beside those that every page may send. */
export interface CorsOptions { origins: string[], headers: string[], embedded: boolean, pages: Pick<PageLog, 'preflight'> }

/**
 * CORS (https://fetch.spec.whatwg.org/#http-cors-protocol): pages of `origins` may read replies and send cookies, apps
 * (`capacitor://localhost`) without cookies; with the embedded database, pages on loopback may read replies. A request without an
 * Origin costs one comparison here; with @fastify/cors it took 5 µs of 45, measured.
 */
export function addCors (app: FastifyInstance, { origins, headers, embedded, pages }: CorsOptions): void {
  const trusted = new Set(origins)
  const allowedHeaders = [...requestHeaders, ...headers].join(', ')

  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers
    const isOptions = request.method === 'OPTIONS'
    if (origin !== undefined || isOptions) reply.header('vary', 'Origin')
    if (isOptions && origin !== undefined && !trusted.has(origin)) pages.preflight(request)
    if (origin === undefined || !(trusted.has(origin) || (embedded && isLoopback(origin)))) {
      done()
      return
    }
    reply.header('access-control-allow-origin', origin)
    reply.header('access-control-expose-headers', exposedHeaders)
    if (trusted.has(origin) && isWebOrigin(origin)) reply.header('access-control-allow-credentials', 'true')
    const asked = request.headers['access-control-request-headers'] ?? ''
    if (isOptions) answerPreflight(reply, allowedHeaders + (/\bif-(none-)?match\b/i.test(asked) ? conditions : ''))
    else done()
  })
  // A route, so that the metrics count preflights as such; whoever may not send one learns nothing about the routes.
  app.options('*', { schema: { hide: true } }, (_request, reply) => { answerNotFound(reply) })
}

function answerPreflight (reply: FastifyReply, allowedHeaders: string): void {
  reply.header('access-control-allow-methods', methods)
  reply.header('access-control-allow-headers', allowedHeaders)
  reply.header('access-control-max-age', String(preflightSeconds))
  reply.code(204).send()
}

function isLoopback (origin: string): boolean {
  return URL.canParse(origin) && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(new URL(origin).hostname) && new URL(origin).origin === origin
}
