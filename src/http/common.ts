import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import cors from '@fastify/cors'
import createError from '@fastify/error'
import helmet from '@fastify/helmet'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, type onRequestHookHandler } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { describe, NotFoundError, UnavailableError, type Waiting } from '../shared/errors.js'
import type { Health } from './health.js'

const MalformedError = createError('FST_ERR_BAD_REQUEST', 'The request is not well-formed HTTP', 400)

/** What helmet and the hooks add to every other reply. */
const bareHeaders = { 'cache-control': 'no-store', 'strict-transport-security': 'max-age=31536000; includeSubDomains', 'x-content-type-options': 'nosniff' }

/** Headers, CORS and errors: what every reply has in common. */
export async function addCommonHttp (app: FastifyInstance, { corsOrigins, embedded, health }: { corsOrigins: string[], embedded: boolean, health: Pick<Health, 'leaving' | 'leave'> }): Promise<void> {
  // A kept-alive connection would hold up the close; and a request that its client sends in the moment of the close would be lost.
  app.addHook('preClose', async () => health.leave())
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (health.leaving) reply.header('connection', 'close')
    done()
  })
  // Before CORS, which answers a preflight itself. RFC 9112 3.2: Node's own refusal would have no body.
  const headers = await commonHeaders()
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(headers)
    const { host, origin } = request.headers
    if (host === undefined && request.raw.httpVersion === '1.1') {
      reply.header('connection', 'close')
      done(new MalformedError())
      return
    }
    if (origin === undefined && request.method !== 'OPTIONS') {
      done()
      return
    }
    if (origin !== undefined && corsOrigins.includes(origin)) reply.header('access-control-allow-credentials', 'true')
    answerOrigin.call(app, request, reply, done)
  })
  app.server.on('checkExpectation', (_request, response) => {
    const { headers, body } = refusal(417)
    response.writeHead(417, headers).end(body)
  })
  // Told apart from where it hooks in: it would work out for each request what it has to say of an Origin that isn't there.
  let answerOrigin: onRequestHookHandler = () => {}
  const catching = Object.assign(Object.create(app) as FastifyInstance, { addHook (_name: 'onRequest', hook: onRequestHookHandler) { answerOrigin = hook } })
  await app.register(fastifyPlugin(async () => cors(catching, {
    origin: (origin, answer) => { answer(null, origin !== undefined && (corsOrigins.includes(origin) || (embedded && isLoopback(origin)))) },
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type'],
    exposedHeaders: ['Retry-After', 'WWW-Authenticate'],
    maxAge: 600,
    strictPreflight: false
  }, () => {})))
  app.setNotFoundHandler((_request, reply) => { answer(reply, new NotFoundError()) })
}

/** What every reply carries. helmet's headers are the same each time, so it is asked once: as a hook it would work them out anew for each request. */
async function commonHeaders (): Promise<Record<string, string>> {
  const app = fastify()
  await app.register(helmet, { contentSecurityPolicy: { useDefaults: false, directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] } }, frameguard: { action: 'deny' }, referrerPolicy: false, crossOriginOpenerPolicy: false, crossOriginResourcePolicy: false, originAgentCluster: false, dnsPrefetchControl: false, ieNoOpen: false, permittedCrossDomainPolicies: false, xssFilter: false })
  const { headers } = await app.inject('/')
  await app.close()
  const { date: _date, connection: _connection, 'content-type': _type, 'content-length': _length, ...common } = headers
  return { 'cache-control': 'no-store', ...common as Record<string, string> }
}

/** A request that never became one, as Fastify would have answered it. */
export function refuseMalformed (error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const { headers, body } = refusal(status)
  const head = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`)
}

/** A URL that no route can be found for; no hook has run. The reply doesn't quote it, as Fastify would: somebody may have put a secret there. */
export function refuseUrl (error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(bareHeaders)
  answer(reply, Object.assign(error, { message: 'The URL is not well-formed' }))
}

function refusal (status: number) {
  const body = JSON.stringify({ statusCode: status, code: 'FST_ERR_BAD_REQUEST', error: STATUS_CODES[status], message: 'The request is not well-formed HTTP' })
  return { headers: { ...bareHeaders, 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) }, body }
}

/** The error handler of our routes: no 5xx tells anything, and each is logged without what a database puts into its messages. */
export function answerError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  if ((error.statusCode ?? 500) >= 500) report(request, error)
  answer(reply, error)
}

/** The headers that belong to a refusal, whoever words its body: the challenge of a 401, how long to wait on 429 and 503. */
export function setRefusalHeaders (reply: FastifyReply, { statusCode, code, retryAfterSeconds }: Partial<FastifyError> & { retryAfterSeconds?: number }): void {
  if (statusCode === 401) reply.header('www-authenticate', challenge(code))
  if (statusCode === 429 || statusCode === 503) reply.header('retry-after', String(retryAfterSeconds ?? 1))
}

function answer (reply: FastifyReply, error: FastifyError & Waiting): void {
  const known = error.statusCode !== undefined && (error.statusCode < 500 || error instanceof UnavailableError)
  const status = known ? error.statusCode as number : 500
  if (known) setRefusalHeaders(reply, error)
  reply.code(status).send({
    statusCode: status,
    code: known ? error.code ?? 'FST_ERR' : 'AUTH_INTERNAL',
    error: STATUS_CODES[status] ?? 'Error',
    // Of a 5xx the client learns nothing: its message may carry a query, a path, an address.
    message: known ? error.message : 'Something went wrong on our side'
  })
}

/** RFC 6750 3: no error code when the request carried no token. */
function challenge (code: string | undefined): string {
  return code === 'AUTH_INVALID_TOKEN' ? 'Bearer realm="latchkey", error="invalid_token", error_description="The access token is malformed, unknown, expired or revoked"' : 'Bearer realm="latchkey"'
}

function report (request: FastifyRequest, error: FastifyError & { detail?: string, constraint?: string }): void {
  const fields = { failure: describe(error), detail: error.detail, constraint: error.constraint }
  if (error instanceof UnavailableError) request.log.warn(fields, 'answered 503')
  // A stack has no parameters in it, but its first lines repeat the message.
  else request.log.error({ ...fields, at: error.stack?.slice(error.stack.indexOf(error.message) + error.message.length).split('\n').filter(line => /^\s+at /.test(line)).slice(0, 8).map(withoutFolders) }, 'answered 500')
}

/** A line of a stack, with file and folder but not where they are installed. */
function withoutFolders (line: string): string {
  return line.replace(/^(\s+at (?:.* \()?(?:async )?)(?:file:\/\/)?\/.*\/(?=[^/]+\/[^/]+$)/, '$1')
}

function isLoopback (origin: string): boolean {
  return URL.canParse(origin) && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(new URL(origin).hostname) && new URL(origin).origin === origin
}
