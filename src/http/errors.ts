import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { describe, NotFoundError, UnavailableError, type Waiting } from '../shared/errors.js'
import { logRefusal } from './refusal-log.js'

/** The error handler of our routes: a 5xx tells the client nothing, and is logged without what a database puts into its messages. */
export function answerError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  if ((error.statusCode ?? 500) >= 500) report(request, error)
  else logRefusal(request, error)
  sendError(reply, error)
}

/** The 404 of a URL that has no route. */
export function answerNotFound (reply: FastifyReply): void {
  sendError(reply, new NotFoundError())
}

/** Sends `error` in the shape of all errors, and masks one that no client may see. */
export function sendError (reply: FastifyReply, error: FastifyError & Waiting): void {
  const known = error.statusCode !== undefined && (error.statusCode < 500 || error instanceof UnavailableError)
  const status = known ? error.statusCode as number : 500
  if (known) setRefusalHeaders(reply, error)
  reply.code(status).send({
    statusCode: status,
    code: known ? error.code ?? 'FST_ERR' : 'AUTH_INTERNAL',
    error: STATUS_CODES[status] ?? 'Error',
    // The message of a 5xx may carry a query, a path or an address.
    message: known ? error.message : 'Something went wrong on our side'
  })
}

/** The headers of a refusal, whoever writes its body: the challenge of a 401, how long to wait on 429 and 503. */
export function setRefusalHeaders (reply: FastifyReply, error: Partial<FastifyError> & Partial<Waiting>): void {
  const { statusCode, code, retryAfterSeconds } = error
  if (statusCode === 401) reply.header('www-authenticate', challenge(code))
  if (statusCode === 429 || statusCode === 503) reply.header('retry-after', String(retryAfterSeconds ?? 1))
}

/** RFC 6750 3: no error code when the request carried no token. */
function challenge (code: string | undefined): string {
  if (code !== 'AUTH_INVALID_TOKEN' && code !== 'AUTH_SESSION_REPLACED') return 'Bearer realm="latchkey"'
  return 'Bearer realm="latchkey", error="invalid_token", error_description="The access token is malformed, unknown, expired or revoked"'
}

function report (request: FastifyRequest, error: FastifyError & { detail?: string, constraint?: string }): void {
  const fields = { failure: describe(error), detail: error.detail, constraint: error.constraint }
  if (error instanceof UnavailableError) request.log.warn(fields, 'answered 503')
  else request.log.error({ ...fields, at: stackOf(error) }, 'answered 500')
}

/** The first frames of the stack. The lines before them repeat the message, which may carry parameters. */
function stackOf ({ stack, message }: Error): string[] | undefined {
  const frames = stack?.slice(stack.indexOf(message) + message.length).split('\n').filter(line => /^\s+at /.test(line))
  return frames?.slice(0, 8).map(withoutFolders)
}

/** A line of a stack with its file and folder, but not where they are installed. */
function withoutFolders (line: string): string {
  return line.replace(/^(\s+at (?:.* \()?(?:async )?)(?:file:\/\/)?\/.*\/(?=[^/]+\/[^/]+$)/, '$1')
}
