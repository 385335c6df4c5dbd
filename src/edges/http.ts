import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { describe, NotFoundError, UnavailableError, type Waiting } from '../errors.js'

/** Headers, CORS and errors: what every reply has in common. */
export async function addCommonHttp (app: FastifyInstance, { corsOrigins, embedded }: { corsOrigins: string[], embedded: boolean }): Promise<void> {
  await app.register(helmet, { contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } } })
  await app.register(cors, {
    origin: (origin, answer) => { answer(null, origin !== undefined && (corsOrigins.includes(origin) || (embedded && isLoopback(origin)))) },
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type'],
    exposedHeaders: ['Retry-After', 'WWW-Authenticate'],
    maxAge: 600
  })
  app.addHook('onRequest', async (_request, reply) => { reply.header('cache-control', 'no-store') })
  app.setNotFoundHandler((_request, reply) => { answer(reply, new NotFoundError()) })
  app.setErrorHandler((error: FastifyError, request, reply) => {
    if ((error.statusCode ?? 500) >= 500) report(request, error)
    answer(reply, error)
  })
}

/** JSON bodies alone, strictly; an empty one counts as none, as clients send it along with DELETE and POST. */
export function addJsonBodies (app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parse(request, body as string, done)
  })
}

/** A request that never became one, as Fastify would have answered it. */
export function refuseMalformed (error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const body = JSON.stringify({ statusCode: status, code: 'FST_ERR_BAD_REQUEST', error: STATUS_CODES[status], message: 'The request is not well-formed HTTP' })
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`)
}

function answer (reply: FastifyReply, error: FastifyError & Waiting): void {
  const known = error.statusCode !== undefined && (error.statusCode < 500 || error instanceof UnavailableError)
  const status = known ? error.statusCode as number : 500
  if (status === 401) reply.header('www-authenticate', challenge(error.code))
  if (status === 429 || status === 503) reply.header('retry-after', String(error.retryAfterSeconds ?? 1))
  reply.code(status).send({
    statusCode: status,
    code: known ? error.code ?? 'FST_ERR' : 'AUTH_INTERNAL',
    error: STATUS_CODES[status] ?? 'Error',
    // Of a 5xx the client learns nothing: its message may carry a query, a path, an address.
    message: known ? error.message : 'Something went wrong on our side'
  })
}

/** RFC 6750 3: no error code when the request carried no token. */
function challenge (code: string): string {
  return code === 'AUTH_INVALID_TOKEN' ? 'Bearer realm="latchkey", error="invalid_token", error_description="The access token is malformed, unknown, expired or revoked"' : 'Bearer realm="latchkey"'
}

function report (request: FastifyRequest, error: FastifyError & { detail?: string, constraint?: string }): void {
  const fields = { failure: describe(error), detail: error.detail, constraint: error.constraint }
  if (error instanceof UnavailableError) request.log.warn(fields, 'answered 503')
  // A stack has no parameters in it, but its first lines repeat the message.
  else request.log.error({ ...fields, at: error.stack?.split('\n').filter(line => /^\s+at /.test(line)).slice(0, 8) }, 'answered 500')
}

function isLoopback (origin: string): boolean {
  return URL.canParse(origin) && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(new URL(origin).hostname) && new URL(origin).origin === origin
}
